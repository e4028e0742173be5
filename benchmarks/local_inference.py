"""How far from the optimum each recipe of the inner loop ends, on a trained run's decoder:

    python benchmarks/local_inference.py --run=runs/mnist_gap

The run must have been trained on the diagonal family. Each recipe starts from the run's encoder, or from the
prior, at the first test points. Its loss is the ELBO of a long run (2,000 steps of 20 draws; 1,500 of 50 for
the full family) less its own, on shared draws that no solver saw. Prints one JSON line: for each recipe the
gradients of log p(x, z) it takes a point, one decoder evaluation each, and the mean loss with its standard
error over the points and its maximum, nats. The convergence estimate comes on top, alike for all.
"""

import argparse
import json
import os
import sys
from functools import partial
from pathlib import Path

POINTS, SCORE_DRAWS, CHUNK, DRAWS = 100, 2000, 50, 10
# family: [(solver, learning rate, steps, start)]
RECIPES = {
    "diagonal": [
        ("quasi_newton", 0.5, 40, "encoder"),
        ("quasi_newton", 0.5, 100, "encoder"),
        ("quasi_newton", 0.5, 100, "prior"),
        ("natural_gradient", 0.2, 40, "encoder"),
        ("natural_gradient", 0.2, 100, "encoder"),
        ("natural_gradient", 0.2, 100, "prior"),
        ("adam", 3e-2, 100, "encoder"),
    ],
    "full": [
        ("natural_gradient", 0.2, 100, "encoder"),
        ("natural_gradient", 0.2, 400, "encoder"),
        ("natural_gradient", 0.2, 100, "prior"),
        ("quasi_newton", 0.2, 100, "encoder"),
        ("adam", 2e-2, 100, "encoder"),
    ],
}
# (solver, learning rate, steps, draws)
REFERENCE = {"diagonal": ("quasi_newton", 0.3, 2000, 20), "full": ("natural_gradient", 0.1, 1500, 50)}


def main() -> None:
    import jax
    import numpy as np
    import optax
    from ml_collections import ConfigDict

    from vaelab import gap, local_fit, posterior
    from vaelab.build import build
    from vaelab.checkpoint import Checkpointer
    from vaelab.objective import stick_the_landing
    from vaelab.solver import Solver, natural_gradient, quasi_newton, stochastic_gradient
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

    def solver(name: str, rate: float, steps: int, draws: int, family: PosteriorFamily) -> Solver:
        schedule = optax.cosine_decay_schedule(rate, steps)
        if name == "quasi_newton":
            return quasi_newton(family, schedule, num_samples=draws, max_norm=5.0)
        natural = optax.chain(natural_gradient(family, max_norm=5.0), optax.scale_by_learning_rate(schedule))
        objective = partial(stick_the_landing, num_samples=draws, antithetic=True)
        optimizer = natural if name == "natural_gradient" else optax.adam(schedule, b2=0.9)
        return stochastic_gradient(family, objective, optimizer, num_samples=draws)

    def elbo(
        family: PosteriorFamily, name: str, rate: float, steps: int, draws: int, start: str
    ) -> np.ndarray:
        settings = local_fit.InferenceSettings(
            solver=partial(solver, name, rate, steps, draws),
            num_steps=steps,
            max_rounds=1,
            certificate_groups=3,
            tolerance=1.0,
            elbo_samples=SCORE_DRAWS,
            elbo_chunk_size=100,
        )
        phi_NxP = jax.vmap(lambda phi_P: family.project(*system.family.location_scale(phi_P)))(encoded_NxP)
        fitted = local_fit.fit_locally(
            experiment.latent_model,
            family,
            settings,
            state.theta,
            (x_NxD, index_N),
            np.asarray(phi_NxP),
            jax.random.key(0),
            starts=(start,),
            chunk_size=CHUNK,
        )
        return fitted.elbo_optimal.value

    rows = []
    for family_name, recipes in RECIPES.items():
        family = getattr(posterior, family_name)(system.family.latent_dim)
        reference_N = elbo(family, *REFERENCE[family_name], "encoder")
        for name, rate, steps, start in recipes:
            loss_N = reference_N - elbo(family, name, rate, steps, DRAWS, start)
            loss = gap.mean_and_stderr(loss_N)
            about = {"family": family_name, "solver": name, "rate": rate, "start": start}
            found = {"loss": loss["mean"], "stderr": loss["stderr"], "max": float(loss_N.max())}
            rows.append({**about, "evaluations": steps * DRAWS, **found})
            print(rows[-1], file=sys.stderr)
    print(json.dumps({"benchmark": "local_inference", "points": POINTS, "rows": rows}))


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main()
