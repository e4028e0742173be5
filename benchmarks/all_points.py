"""The amortization gap of every test point of a trained run, from a cold start:

    python benchmarks/all_points.py --run=runs/mnist_gap

In a process that has compiled nothing: the diagonal family's q* and both bounds for each of the test points,
at the run's own settings. Prints one JSON line: seconds from the first call to the last result, compilation
included, the gap with its standard error, and how many points have not converged.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    import jax
    import numpy as np

    from benchmarks.trained import load
    from vaelab import gap, local_fit
    from vaelab.parallel import map_datapoints

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, type=Path, help="directory of a finished run")
    parser.add_argument("--points", type=int, default=0, help="the first so many; 0 is all")
    arguments = parser.parse_args()
    experiment, state = load(arguments.run, "diagonal", max_points=arguments.points)
    system, settings = experiment.systems["diagonal"], experiment.evaluate
    inputs = experiment.inputs["test"]

    began = time.perf_counter()
    encoded_NxP = map_datapoints(system.encoder.apply, state.psi, inputs.x_NxD, chunk_size=1000)
    fitted = local_fit.fit_locally(
        experiment.latent_model,
        system.family,
        settings.inference["diagonal"],
        state.theta,
        inputs,
        encoded_NxP,
        experiment.keys.inference,
        chunk_size=settings.memory,
    )
    seconds = time.perf_counter() - began
    measured = gap.mean_and_stderr(fitted.elbo_optimal.value - fitted.elbo_start.value)
    result = {
        "benchmark": "all_points",
        "device": str(jax.devices()[0]),
        "cores": os.cpu_count(),
        "points": len(inputs.index_N),
        "seconds": seconds,
        "amortization_gap": measured,
        "unconverged": int(np.sum(~fitted.inference.converged)),
        "mean_rounds": float(np.mean(fitted.rounds)),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main()
