"""log p(x) by every estimator, on a trained run's decoder:

    python benchmarks/log_evidence.py --run=runs/mnist_gap --points=50 [--reference]

At the first test points, from the q* of the diagonal and the full family, fitted at the run's own settings:
importance sampling from the mixture of both, from the full one, and from Student-t distributions in their
place; annealing from the full one and from the prior; sequential Monte Carlo from the full one. With
--reference also annealing from the prior as the published code has it, 10,000 temperatures, 100 chains,
10 leapfrog steps, on the first --reference_points of them.

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
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import jax
import numpy as np

from benchmarks.trained import encode, load, nearest
from vaelab import evidence, posterior
from vaelab.config.experiment import Experiment
from vaelab.evidence import Estimator
from vaelab.evidence.annealing import Annealing
from vaelab.evidence.smc import Tempering
from vaelab.measure.evidence import estimate_log_evidence
from vaelab.measure.fit import fit_locally
from vaelab.measure.gap import mean_and_stderr
from vaelab.types import Params, PosteriorFamily

SAMPLES, DRAW_CHUNK, DEGREES_OF_FREEDOM, EXPECTED_TEMPERATURES = 5000, 100, 10, 10.0
PUBLISHED = Annealing(num_temperatures=10_000, num_chains=100, num_leapfrogs=10, target_acceptance=0.65)


class Subject(NamedTuple):
    """Where log p(x) is estimated; phis: phi_NxP of the q* of each family that estimators are given."""

    experiment: Experiment
    theta: Params
    phis: tuple[np.ndarray, ...]


def optimum(
    experiment: Experiment, theta: Params, encoded_NxP: np.ndarray, family: PosteriorFamily
) -> np.ndarray:
    """phi of the family's q* at each test point, from the encoder's phi."""
    settings = experiment.evaluate
    return fit_locally(
        experiment.latent_model,
        family,
        settings.inference[family.name],
        theta,
        experiment.inputs["test"],
        nearest(encoded_NxP, experiment.families["diagonal"], family),
        experiment.keys.inference,
        tolerance=settings.tolerance,
        chunk_size=settings.memory,
    ).inference.phi_P


def estimators_of(families: tuple[PosteriorFamily, PosteriorFamily]) -> list[Estimator]:
    numbers = {"num_samples": SAMPLES, "chunk_size": DRAW_CHUNK}
    alone = evidence.by_importance(families[1:], **numbers)
    return [
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


def measure(
    subject: Subject, estimator: Estimator, count: int, *, times: int = 2
) -> tuple[dict[str, Any], np.ndarray]:
    """(statistics at the first `count` test points, its bounds there); the first of the times compiles."""
    experiment, seconds = subject.experiment, []
    for _ in range(times):
        began = time.perf_counter()
        estimates = estimate_log_evidence(
            experiment.latent_model,
            estimator,
            subject.theta,
            tuple(array[:count] for array in experiment.inputs["test"]),
            tuple(phi_NxP[:count] for phi_NxP in subject.phis),
            experiment.keys.evidence,
            chunk_size=experiment.evaluate.memory,
        )
        seconds.append(time.perf_counter() - began)
    k_N = estimates.pareto_k
    statistics = {
        "estimator": estimator.name,
        "points": count,
        "log_evidence": mean_and_stderr(estimates.log_evidence),
        "stderr_of_draws": float(np.sqrt(np.sum(np.float64(estimates.stderr) ** 2)) / count),
        "stderr_a_point": float(np.mean(estimates.stderr)),
        "evaluations": estimator.evaluations,
        "seconds": seconds[-1],
        "seconds_with_compilation": seconds[0],
        "share_of_k_over_0.7": None if np.isinf(k_N).all() else float(np.mean(k_N > 0.7)),
        "not_finite": int(np.sum(~np.isfinite(estimates.log_evidence))),
    }
    print(statistics, file=sys.stderr, flush=True)
    return statistics, estimates.log_evidence


def against_published(
    subject: Subject,
    families: tuple[PosteriorFamily, ...],
    estimators: list[Estimator],
    values: tuple[np.ndarray, ...],
    count: int,
) -> dict[str, Any]:
    """The published protocol at the first `count` test points, and how far each estimator is behind it."""
    published = evidence.by_annealing(families, PUBLISHED, start="prior")
    statistics, published_N = measure(subject, published, count, times=1)
    behind = {
        estimator.name: mean_and_stderr(published_N - value_N[:count])
        | {"times_less_work": published.evaluations / estimator.evaluations}
        for value_N, estimator in zip(values, estimators, strict=True)
    }
    return {"reference": statistics, "behind_reference": behind}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, type=Path, help="directory of a finished run")
    parser.add_argument("--points", type=int, default=50, help="the first POINTS test points")
    parser.add_argument(
        "--reference", action="store_true", help="the published protocol too: a minute a point"
    )
    parser.add_argument("--reference_points", type=int, default=3)
    arguments = parser.parse_args()
    experiment, run = load(arguments.run, "diagonal", evaluate={"max_points": arguments.points})
    inputs = experiment.inputs["test"]
    encoded_NxP = encode(experiment, run, inputs.x_NxD)
    families = experiment.families["diagonal"], posterior.full(experiment.latent_model.latent_dim)
    phis = tuple(optimum(experiment, run.theta, encoded_NxP, family) for family in families)
    subject = Subject(experiment, run.theta, phis)
    estimators, count = estimators_of(families), len(inputs.index_N)
    statistics, values = zip(*(measure(subject, one, count) for one in estimators), strict=True)
    names = [estimator.name for estimator in estimators]
    pairs = [
        {"higher": b, "lower": a, "difference": mean_and_stderr(value_b - value_a)}
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
        few = min(arguments.reference_points, count)
        result |= against_published(subject, families, estimators, values, few)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
