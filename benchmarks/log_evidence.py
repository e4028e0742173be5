"""log p(x) by every estimator, on a trained run's decoder:

    python benchmarks/log_evidence.py --run=runs/mnist_gap --points=50 [--reference]

At the first test points, from the q* of the diagonal and the full family, found at the run's own settings:
importance sampling from the mixture of both, from the full one, and from Student-t laws in their place;
annealing from the full one and from the prior; sequential Monte Carlo from the full one. With --reference
also annealing from the prior as the published code has it, 10,000 temperatures, 100 chains, 10 leapfrog
steps, on the first --reference_points of them.

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

SAMPLES, DRAW_CHUNK, DEGREES_OF_FREEDOM, EXPECTED_TEMPERATURES = 5000, 100, 10, 10.0


def main() -> None:
    import jax
    import numpy as np

    from benchmarks.trained import encode, load
    from vaelab import evidence, posterior
    from vaelab.evidence import Estimator
    from vaelab.evidence.annealing import Annealing
    from vaelab.evidence.smc import Tempering
    from vaelab.measure import fit as local_fit
    from vaelab.measure import gap

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, type=Path, help="directory of a finished run")
    parser.add_argument("--points", type=int, default=50, help="the first so many test points")
    parser.add_argument(
        "--reference", action="store_true", help="the published protocol too: a minute a point"
    )
    parser.add_argument("--reference_points", type=int, default=3)
    arguments = parser.parse_args()
    experiment, state = load(arguments.run, "diagonal", evaluate={"max_points": arguments.points})
    system, model, settings = experiment.stages[0].system, experiment.latent_model, experiment.evaluate
    inputs = experiment.inputs["test"]
    encoded_NxP = encode(system, state, inputs.x_NxD)
    families = system.family, posterior.full(model.latent_dim)

    def optimum(family) -> np.ndarray:
        project, split = family.gaussian.project, system.family.gaussian.location_scale
        starts = jax.vmap(lambda phi_P: project(*split(phi_P)))(encoded_NxP)
        return local_fit.fit_locally(
            model,
            family,
            settings.inference[family.name],
            state.theta,
            inputs,
            np.asarray(starts),
            experiment.keys.inference,
            chunk_size=settings.memory,
        ).inference.phi_P

    phis = tuple(optimum(family) for family in families)
    numbers = {"num_samples": SAMPLES, "chunk_size": DRAW_CHUNK}
    alone = evidence.by_importance(families[1:], **numbers)
    estimators = [
        evidence.by_importance(families, **numbers),
        alone._replace(
            name="importance sampling from full alone",
            estimate=lambda log_joint, phis, key: alone.estimate(log_joint, phis[1:], key),
        ),
        evidence.by_importance(families, degrees_of_freedom=DEGREES_OF_FREEDOM, **numbers),
        evidence.by_annealing(families, Annealing(), start="full"),
        evidence.by_annealing(families, Annealing(), start="prior"),
        evidence.by_smc(families, Tempering(), start="full", expected_temperatures=EXPECTED_TEMPERATURES),
    ]

    def measure(estimator: Estimator, count: int, *, times: int = 2) -> tuple[dict, np.ndarray]:
        seconds = []
        for _ in range(times):
            began = time.perf_counter()
            found = evidence.estimate_log_evidence(
                model,
                estimator,
                state.theta,
                tuple(array[:count] for array in inputs),
                tuple(phi_NxP[:count] for phi_NxP in phis),
                experiment.keys.evidence,
                chunk_size=settings.memory,
            )
            seconds.append(time.perf_counter() - began)
        k_N = found.pareto_k
        statistics = {
            "estimator": estimator.name,
            "points": count,
            "log_evidence": gap.mean_and_stderr(found.log_evidence),
            "stderr_of_draws": float(np.sqrt(np.sum(np.float64(found.stderr) ** 2)) / count),
            "stderr_a_point": float(np.mean(found.stderr)),
            "evaluations": estimator.evaluations,
            "seconds": seconds[-1],
            "seconds_with_compilation": seconds[0],
            "share_of_k_over_0.7": None if np.isinf(k_N).all() else float(np.mean(k_N > 0.7)),
            "not_finite": int(np.sum(~np.isfinite(found.log_evidence))),
        }
        print(statistics, file=sys.stderr, flush=True)
        return statistics, found.log_evidence

    count = len(inputs.index_N)
    statistics, values = zip(*(measure(estimator, count) for estimator in estimators), strict=True)
    names = [estimator.name for estimator in estimators]
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
        published = Annealing(
            num_temperatures=10_000, num_chains=100, num_leapfrogs=10, target_acceptance=0.65
        )
        reference = evidence.by_annealing(families, published, start="prior")
        few = min(arguments.reference_points, count)
        result["reference"], reference_N = measure(reference, few, times=1)
        result["behind_reference"] = {
            name: gap.mean_and_stderr(reference_N - value_N[:few])
            | {"times_less_work": reference.evaluations / estimator.evaluations}
            for name, value_N, estimator in zip(names, values, estimators, strict=True)
        }
    print(json.dumps(result))


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main()
