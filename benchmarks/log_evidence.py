"""log p(x) by every estimator, on a trained run's decoder:

    python benchmarks/log_evidence.py --run=runs/mnist_gap --points=50 [--reference]

At the first test points: importance sampling from q*, its mixture with the encoder's q, and its Student-t;
annealing from q* and from the prior; sequential Monte Carlo from q*; all on the diagonal family's q*, found
at the run's own settings. With --reference also annealing from the prior as the published code has it, 10,000
temperatures, 100 chains, 10 leapfrog steps, on the first --reference_points of them.

Prints one JSON line: for each estimator the mean lower bound with the standard errors over the points and of
its draws alone, evaluations of the decoder a point, seconds with and without compilation, the share of
points with a Pareto k-hat over 0.7 (none of the few runs of SMC), and for each pair the mean difference at
the same points with its standard error. Higher is better: all are low in expectation.
"""

import argparse
import itertools
import json
import os
import sys
import time
from pathlib import Path

SAMPLES, DRAW_CHUNK, DEGREES_OF_FREEDOM = 5000, 100, 5.0


def main() -> None:
    import jax
    import numpy as np
    from ml_collections import ConfigDict

    from vaelab import gap
    from vaelab.build import build
    from vaelab.checkpoint import Checkpointer
    from vaelab.evidence import annealing, choose, importance, smc
    from vaelab.evidence.choose import Estimator
    from vaelab.model import bind
    from vaelab.parallel import map_datapoints
    from vaelab.train import init_state

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, type=Path, help="directory of a finished run")
    parser.add_argument("--points", type=int, default=50, help="the first so many test points")
    parser.add_argument("--chunk_size", type=int, default=50, help="points at a time")
    parser.add_argument("--reference", action="store_true", help="the published protocol too: hours on a CPU")
    parser.add_argument("--reference_points", type=int, default=5)
    arguments = parser.parse_args()
    config = ConfigDict(json.loads((arguments.run / "config.json").read_text()))
    config.evaluate.max_points = arguments.points
    experiment = build(config)
    system, model = experiment.systems["diagonal"], experiment.latent_model
    family = system.family
    template = init_state(system, experiment.keys.encoder, experiment.theta)
    with Checkpointer(arguments.run / "checkpoints" / "train", max_to_keep=2) as checkpoints:
        _, state = checkpoints.restore_latest(template)
    inputs = experiment.inputs["test"]
    encoded_NxP = map_datapoints(system.encoder.apply, state.psi, inputs.x_NxD, chunk_size=1000)
    fitted = gap.fit_locally(
        model,
        family,
        experiment.evaluate.inference["diagonal"],
        state.theta,
        inputs,
        encoded_NxP,
        experiment.keys.inference,
        chunk_size=experiment.evaluate.chunk_size,
    )
    rows = (*inputs, (fitted.inference.phi_P, encoded_NxP))
    numbers = {"num_samples": SAMPLES, "chunk_size": DRAW_CHUNK}

    def of_optimum(estimator: Estimator) -> Estimator:
        return estimator._replace(
            estimate=lambda log_joint, phis, key: estimator.estimate(log_joint, phis[0], key)
        )

    def num_temperatures() -> float:
        """Of SMC at the first few points, for its cost."""

        def one(theta, row):
            x_D, index, phis = row
            key = jax.random.fold_in(jax.random.key(0), index)
            log_joint = bind(model, theta, x_D)
            return smc.sequential_monte_carlo(
                log_joint, family, phis[0], key, settings=smc.Tempering()
            ).num_temperatures

        few = jax.tree.map(lambda array: array[:5], rows)
        return float(np.mean(map_datapoints(one, state.theta, few, chunk_size=5)))

    mixture = Estimator(
        "importance sampling from q* and the encoder's q",
        lambda log_joint, phis, key: importance.importance_sampling(
            log_joint, tuple((family, phi_P) for phi_P in phis), key, **numbers
        ),
        importance.evaluations(2, **numbers),
    )
    estimators = [
        of_optimum(choose.by_importance(family, **numbers)),
        mixture,
        of_optimum(choose.by_student_t(family, degrees_of_freedom=DEGREES_OF_FREEDOM, **numbers)),
        of_optimum(choose.by_annealing(family, annealing.Annealing())),
        of_optimum(choose.by_annealing(family, annealing.Annealing(), from_prior=True)),
        of_optimum(choose.by_smc(family, smc.Tempering(), expected_temperatures=num_temperatures())),
    ]
    names = [estimator.name for estimator in estimators]

    def measure(estimator: Estimator, rows: tuple, *, times: int = 2) -> tuple[dict, np.ndarray]:
        one, shared = choose.mapped(model, estimator), (state.theta, experiment.keys.evidence)
        seconds = []
        with jax.default_matmul_precision("highest"):
            for _ in range(times):
                began = time.perf_counter()
                found = map_datapoints(one, shared, rows, chunk_size=arguments.chunk_size)
                seconds.append(time.perf_counter() - began)
        count, k_N = len(found.log_evidence), found.pareto_k
        statistics = {
            "estimator": estimator.name,
            "points": count,
            "log_evidence": gap.mean_and_stderr(found.log_evidence),
            "stderr_of_draws": float(np.sqrt(np.sum(np.float64(found.stderr) ** 2)) / count),
            "evaluations": estimator.evaluations,
            "seconds": seconds[-1],
            "seconds_with_compilation": seconds[0],
            "share_of_k_over_0.7": None if np.isinf(k_N).all() else float(np.mean(k_N > 0.7)),
            "not_finite": int(np.sum(~np.isfinite(found.log_evidence))),
        }
        print(statistics, file=sys.stderr)
        return statistics, found.log_evidence

    statistics, values = zip(*(measure(estimator, rows) for estimator in estimators), strict=True)
    pairs = [
        {"higher": b, "lower": a, "difference": gap.mean_and_stderr(value_b - value_a)}
        for (a, value_a), (b, value_b) in itertools.combinations(zip(names, values, strict=True), 2)
    ]
    result = {
        "benchmark": "log_evidence",
        "device": str(jax.devices()[0]),
        "cores": os.cpu_count(),
        "rows": list(statistics),
        "pairs": pairs,
    }
    if arguments.reference:
        settings = annealing.Annealing(
            num_temperatures=10_000, num_chains=100, num_leapfrogs=10, target_acceptance=0.65
        )
        reference = of_optimum(choose.by_annealing(family, settings, from_prior=True))
        few = jax.tree.map(lambda array: array[: arguments.reference_points], rows)
        result["reference"], reference_N = measure(reference, few, times=1)
        result["behind_reference"] = {
            name: gap.mean_and_stderr(reference_N - value_N[: len(reference_N)])
            | {"times_less_work": reference.evaluations / estimator.evaluations}
            for name, value_N, estimator in zip(names, values, estimators, strict=True)
        }
    print(json.dumps(result))


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main()
