"""The amortization gap of every test point of a trained run, from a cold start:

    python benchmarks/all_points.py --run=runs/mnist_gap

In a process that has compiled nothing: the diagonal family's q* and both bounds for each of the test points,
at the run's own settings but for the draws of the two bounds, --elbo_samples: over ten thousand points the
error of the gap is that of its spread, 2 nats a point, and not that of draws. Prints one JSON line: seconds
from the first call to the last result, compilation included, the gap with its standard error, and how many
points have not converged.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import jax
import numpy as np

from benchmarks.trained import encode, load
from vaelab.measure.fit import fit_locally
from vaelab.measure.gap import mean_and_stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, type=Path, help="directory of a finished run")
    parser.add_argument("--points", type=int, default=0, help="only the first POINTS; 0 is all")
    parser.add_argument("--elbo_samples", type=int, default=100, help="of each bound of a point")
    arguments = parser.parse_args()
    changes = {"max_points": arguments.points, "elbo_samples": arguments.elbo_samples}
    experiment, run = load(arguments.run, "diagonal", evaluate=changes)
    settings, inputs = experiment.evaluate, experiment.inputs["test"]

    began = time.perf_counter()
    fitted = fit_locally(
        experiment.latent_model,
        experiment.families["diagonal"],
        settings.inference["diagonal"],
        run.theta,
        inputs,
        encode(experiment, run, inputs.x_NxD),
        experiment.keys.inference,
        tolerance=settings.tolerance,
        chunk_size=settings.memory,
    )
    seconds = time.perf_counter() - began
    result = {
        "benchmark": "all_points",
        "device": str(jax.devices()[0]),
        "cores": os.cpu_count(),
        "points": len(inputs.index_N),
        "elbo_samples": arguments.elbo_samples,
        "seconds": seconds,
        "amortization_gap": mean_and_stderr(fitted.elbo_optimal.value - fitted.elbo_start.value),
        "unconverged": int(np.sum(~fitted.inference.converged)),
        "mean_rounds": float(np.mean(fitted.rounds)),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
