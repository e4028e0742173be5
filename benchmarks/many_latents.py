"""Local inference with latents in the hundreds and thousands: loss, certificate, time and memory.

    python launch.py --config=experiments/mnist_gap.py --config.model.latent_dim=1024 --workdir=runs/k1024 ...
    python benchmarks/many_latents.py --run=runs/k1024

The run must have been trained on the diagonal family. From its encoder's phi at the first test points
each recipe takes its steps; its loss is the ELBO of a long run (`REFERENCE`) less its own, on shared draws
that no solver saw. Prints one JSON line: for each recipe the gradient evaluations of its steps and with those
of the certificate, mean loss with its standard error, the mean of what the certificate says and of its
errors, milliseconds with all compiled, and the most memory that the process had resident. `--dense`: the
K x K quasi-Newton loop too.
"""

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import jax
import numpy as np

from benchmarks.local_inference import Recipe, solver
from benchmarks.trained import encode, load
from vaelab.config.experiment import Experiment
from vaelab.inference.loop import evaluations
from vaelab.measure.fit import InferenceSettings, LocalFit, fit_locally
from vaelab.measure.gap import mean_and_stderr
from vaelab.runtime.memory import most_resident
from vaelab.types import PosteriorFamily

GROUPS = 16


REFERENCE = Recipe("limited_memory", 0.1, 500, 40)
RECIPES = [
    Recipe("limited_memory", 0.5, 40, 10),
    Recipe("limited_memory", 0.3, 100, 10),
    Recipe("limited_memory", 0.3, 50, 20),
    Recipe("natural_gradient", 0.2, 100, 10),
]
DENSE = Recipe("quasi_newton", 0.5, 40, 10)


def fit(experiment: Experiment, theta: Any, phi_NxP: np.ndarray, recipe: Recipe, *, chunk: int) -> LocalFit:
    """One round of the recipe at the experiment's test points."""
    settings = InferenceSettings(partial(solver, recipe), recipe.steps, 1, GROUPS, 1000, 100)
    data, family = tuple(experiment.inputs["test"]), experiment.families["diagonal"]
    model, key = experiment.latent_model, jax.random.key(0)
    return fit_locally(model, family, settings, theta, data, phi_NxP, key, chunk_size=chunk)


def row(recipe: Recipe, family: PosteriorFamily, fits: tuple[LocalFit, LocalFit], seconds: float) -> dict:
    """Figures of one recipe; fits: the reference's, and its own."""
    loss_N = np.float64(fits[0].elbo_optimal.value) - np.float64(fits[1].elbo_optimal.value)
    loss, excess = mean_and_stderr(loss_N), fits[1].inference.excess
    counted = {"num_steps": recipe.steps, "certificate_groups": GROUPS}
    return {
        **{name: getattr(recipe, name) for name in ("solver", "rate", "steps", "draws")},
        "evaluations": recipe.steps * recipe.draws,
        "with_certificate": evaluations(solver(recipe, family), family, **counted),
        "loss": loss["mean"],
        "stderr": loss["stderr"],
        "largest": float(loss_N.max()),
        "excess": float(np.mean(excess.value)),
        "excess_stderr": float(np.mean(excess.stderr)),
        "ms_per_point": 1000.0 * seconds / len(loss_N),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, type=Path, help="directory of a finished run")
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--chunk", type=int, default=20, help="datapoints at a time")
    parser.add_argument("--dense", action="store_true", help="the K x K quasi-Newton loop too")
    arguments = parser.parse_args()
    experiment, run = load(arguments.run, "diagonal", evaluate={"max_points": arguments.points})
    family = experiment.families["diagonal"]
    phi_NxP = encode(experiment, run, experiment.inputs["test"][0])
    reference, rows = fit(experiment, run.theta, phi_NxP, REFERENCE, chunk=arguments.chunk), []
    for recipe in RECIPES + [DENSE] * arguments.dense:
        fit(experiment, run.theta, phi_NxP, recipe, chunk=arguments.chunk)
        start = time.perf_counter()
        fitted = fit(experiment, run.theta, phi_NxP, recipe, chunk=arguments.chunk)
        rows.append(row(recipe, family, (reference, fitted), time.perf_counter() - start))
        print(rows[-1], file=sys.stderr, flush=True)
    about = {"benchmark": "many_latents", "device": str(jax.devices()[0]), "latent_dim": family.latent_dim}
    print(json.dumps({**about, "points": len(phi_NxP), "peak_bytes": most_resident(), "rows": rows}))


if __name__ == "__main__":
    main()
