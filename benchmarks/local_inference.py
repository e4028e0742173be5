"""How far from the optimum each recipe of the inner loop ends, on a trained run's decoder:

    python benchmarks/local_inference.py --run=runs/mnist_gap

The run must have been trained on the diagonal family. Each recipe starts from the run's encoder, or from the
prior, at the first test points. Its loss is the ELBO of a long run of the natural gradient (2,000 steps of
20 draws; 800 of 50 for the full family) less its own, on shared draws that no optimizer saw. Prints one JSON
line: for each recipe the decoder evaluations a point, and the mean loss with its standard error over the
points, nats.
"""

import argparse
import json
import os
import sys
from functools import partial
from pathlib import Path

POINTS, SCORE_DRAWS, CHUNK = 100, 2000, 50
# family: [(optimizer, learning rate, steps, draws a step, start)]
RECIPES = {
    "diagonal": [
        ("natural_gradient", 0.2, 100, 10, "encoder"),
        ("natural_gradient", 0.2, 100, 10, "prior"),
        ("adam", 3e-2, 100, 10, "encoder"),
    ],
    "full": [
        ("natural_gradient", 0.2, 100, 10, "encoder"),
        ("natural_gradient", 0.2, 100, 10, "prior"),
        ("adam", 2e-2, 100, 10, "encoder"),
        ("adam", 3e-2, 300, 10, "encoder"),
    ],
}
REFERENCE = {"diagonal": (0.2, 2000, 20), "full": (0.1, 800, 50)}


def main() -> None:
    import jax
    import numpy as np
    import optax
    from ml_collections import ConfigDict

    from vaelab import gap, posterior
    from vaelab.build import build
    from vaelab.checkpoint import Checkpointer
    from vaelab.inference import natural_gradient
    from vaelab.objective import stick_the_landing
    from vaelab.train import init_state
    from vaelab.types import PosteriorFamily

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, type=Path, help="directory of a finished run")
    run = parser.parse_args().run
    config = ConfigDict(json.loads((run / "config.json").read_text()))
    experiment = build(config)
    system = experiment.systems["diagonal"]
    template = init_state(system, experiment.keys.encoder, experiment.theta)
    with Checkpointer(run / "checkpoints" / "train", max_to_keep=2) as checkpoints:
        _, state = checkpoints.restore_latest(template)
    x_NxD, index_N = (array[:POINTS] for array in experiment.inputs["test"])
    encoded_NxP = jax.vmap(system.encoder.apply, (None, 0))(state.psi, x_NxD)

    def optimizer(name: str, rate: float, steps: int, family: PosteriorFamily):
        schedule = optax.cosine_decay_schedule(rate, steps)
        if name == "adam":
            return optax.adam(schedule, b2=0.9)
        return optax.chain(natural_gradient(family, max_norm=5.0), optax.scale_by_learning_rate(schedule))

    def elbo(family, name, rate, steps, draws, start) -> np.ndarray:
        settings = gap.InferenceSettings(
            objective=partial(stick_the_landing, num_samples=draws, antithetic=True),
            optimizer=partial(optimizer, name, rate, steps),
            num_steps=steps,
            certificate_groups=3,
            tolerance=1.0,
            elbo_samples=SCORE_DRAWS,
            elbo_chunk_size=100,
        )
        phi_NxP = jax.vmap(lambda phi_P: family.project(*system.family.location_scale(phi_P)))(encoded_NxP)
        fitted = gap.fit_locally(
            experiment.latent_model,
            family,
            settings,
            state.theta,
            (x_NxD, index_N),
            np.asarray(phi_NxP),
            jax.random.key(0),
            from_prior=start == "prior",
            chunk_size=CHUNK,
        )
        return fitted.elbo_optimal.value

    rows = []
    for family_name, recipes in RECIPES.items():
        family = getattr(posterior, family_name)(system.family.latent_dim)
        reference_N = elbo(family, "natural_gradient", *REFERENCE[family_name], "encoder")
        for name, rate, steps, draws, start in recipes:
            loss = gap.mean_and_stderr(reference_N - elbo(family, name, rate, steps, draws, start))
            about = {"family": family_name, "optimizer": name, "rate": rate, "start": start}
            rows.append(
                {**about, "evaluations": steps * draws, "loss": loss["mean"], "stderr": loss["stderr"]}
            )
    print(json.dumps({"benchmark": "local_inference", "points": POINTS, "rows": rows}))


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main()
