"""log_evidence = "auto": which estimator to use for a split, tried out on a part of it.

The candidates are weighed on a few datapoints with draws of their own; the chosen one then starts afresh, so
that nothing is reported on the draws that it was chosen by, and no maximum is taken over noise.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from vaelab.evidence import annealing, importance, smc
from vaelab.evidence.annealing import Annealing, annealed_importance_sampling
from vaelab.evidence.importance import importance_sampling
from vaelab.evidence.smc import Tempering, sequential_monte_carlo
from vaelab.evidence.weights import Evidence
from vaelab.model import bind
from vaelab.parallel import Progress, map_datapoints
from vaelab.types import Array, Key, LatentModel, LogJoint, Params, PosteriorFamily


class Estimator(NamedTuple):
    """A way to a lower bound on log p(x) for one datapoint.

    estimate(log_joint, phi_P, key) -> Evidence
    evaluations: of the decoder, for one datapoint; an expected number where it is random
    """

    name: str
    estimate: Callable[[LogJoint, Array, Key], Evidence]
    evaluations: float


def by_importance(family: PosteriorFamily, *, num_samples: int, chunk_size: int) -> Estimator:
    return Estimator(
        f"importance sampling from {family.name}",
        lambda log_joint, phi_P, key: importance_sampling(
            log_joint, ((family, phi_P),), key, num_samples=num_samples, chunk_size=chunk_size
        ),
        importance.evaluations(1, num_samples=num_samples, chunk_size=chunk_size),
    )


def by_student_t(
    family: PosteriorFamily, *, degrees_of_freedom: float, num_samples: int, chunk_size: int
) -> Estimator:
    def estimate(log_joint: LogJoint, phi_P: Array, key: Key) -> Evidence:
        heavy = importance.student_t(family, phi_P, degrees_of_freedom=degrees_of_freedom)
        return importance_sampling(log_joint, (heavy,), key, num_samples=num_samples, chunk_size=chunk_size)

    evaluations = importance.evaluations(1, num_samples=num_samples, chunk_size=chunk_size)
    return Estimator(f"importance sampling from Student-t {family.name}", estimate, evaluations)


def by_annealing(family: PosteriorFamily, settings: Annealing, *, from_prior: bool = False) -> Estimator:
    def estimate(log_joint: LogJoint, phi_P: Array, key: Key) -> Evidence:
        start_P = family.init() if from_prior else phi_P
        return annealed_importance_sampling(log_joint, family, start_P, key, settings=settings).evidence

    start = "the prior" if from_prior else family.name
    return Estimator(f"annealing from {start}", estimate, annealing.evaluations(settings))


def by_smc(family: PosteriorFamily, settings: Tempering, *, expected_temperatures: float) -> Estimator:
    """`expected_temperatures` is for the cost alone; see `Tempered.num_temperatures`."""
    return Estimator(
        f"sequential Monte Carlo from {family.name}",
        lambda log_joint, phi_P, key: (
            sequential_monte_carlo(log_joint, family, phi_P, key, settings=settings).evidence
        ),
        smc.evaluations(settings, expected_temperatures),
    )


class Trial(NamedTuple):
    """One candidate on the pilot's datapoints.

    mean: of its lower bounds, nats
    stderr: of their own draws, without the spread between datapoints, which all candidates share
    behind, behind_stderr: how far below the highest mean, from differences at the same datapoints
    """

    name: str
    mean: float
    stderr: float
    behind: float
    behind_stderr: float
    evaluations: float


class Choice(NamedTuple):
    """winner: index among the trials; reason: one line."""

    trials: tuple[Trial, ...]
    winner: int
    reason: str


def judge(
    names: list[str], evaluations: list[float], bounds_MxN: np.ndarray, stderrs_MxN: np.ndarray
) -> Choice:
    """The cheapest of those that are not below the highest mean by two standard errors of the difference.

    A candidate with a datapoint whose bound or error is not finite is out, unless all are. The highest of
    several lower bounds is the best of them, up to noise: that is what the errors are for.
    """
    bounds_MxN, stderrs_MxN = np.asarray(bounds_MxN, np.float64), np.asarray(stderrs_MxN, np.float64)
    sound_M = np.all(np.isfinite(bounds_MxN) & np.isfinite(stderrs_MxN), axis=1)
    if not sound_M.any():
        raise ValueError(f"no estimate of log p(x) is finite on the pilot: tried {', '.join(names)}")
    count = bounds_MxN.shape[1]
    mean_M = np.where(sound_M, np.mean(bounds_MxN, axis=1), -np.inf)
    error_M = np.sqrt(np.sum(stderrs_MxN**2, axis=1)) / count
    best = int(np.argmax(mean_M))
    behind_MxN = bounds_MxN[best] - bounds_MxN
    # The draws of two candidates are independent; between datapoints there may be more spread than theirs.
    spread_M = np.std(behind_MxN, axis=1, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(len(names))
    behind_M = np.where(np.arange(len(names)) == best, 0.0, np.mean(behind_MxN, axis=1))
    behind_error_M = np.where(behind_M == 0.0, 0.0, np.maximum(spread_M, np.hypot(error_M, error_M[best])))
    close_M = sound_M & (behind_M <= 2.0 * behind_error_M)
    cost_M = np.asarray(evaluations, np.float64)
    winner = int(np.argmin(np.where(close_M, cost_M, np.inf)))
    if winner == best:
        reason = f"{names[best]}: the highest lower bound"
    else:
        reason = (
            f"{names[winner]}: {behind_M[winner]:.4f} +- {behind_error_M[winner]:.4f} nats below "
            f"the highest, {names[best]}, which costs {cost_M[best] / cost_M[winner]:.1f} times as much"
        )
    if not sound_M.all():
        reason += f"; not finite: {', '.join(n for n, s in zip(names, sound_M, strict=True) if not s)}"
    rows = zip(names, mean_M, error_M, behind_M, behind_error_M, cost_M, strict=True)
    return Choice(tuple(Trial(row[0], *map(float, row[1:])) for row in rows), winner, reason)


def mapped(model: LatentModel, estimator: Estimator) -> Callable[..., Evidence]:
    """One datapoint of a split, for `map_datapoints`: ((theta, key), (x_D, index, phi_P)) -> Evidence."""

    def one(shared, row):
        (theta, key), (x_D, index, phi_P) = shared, row
        return estimator.estimate(bind(model, theta, x_D), phi_P, jax.random.fold_in(key, index))

    return one


def best_evidence(
    model: LatentModel,
    estimators: tuple[Estimator, ...],
    theta: Params,
    data: tuple[np.ndarray, np.ndarray],
    phi_NxP: np.ndarray,
    key: Key,
    *,
    pilot_points: int,
    chunk_size: int,
    progress: Progress = lambda count: None,
) -> tuple[Evidence, Choice]:
    """A lower bound on log p(x) for each datapoint of data = (x_NxD, index_N), and how it was chosen.

    The pilot is the first pilot_points datapoints, every estimator on each, with draws that are not used
    again. Its datapoints are part of the split, but the estimate of each is made anew, so that choosing gives
    no bias beyond that of the estimator chosen.

    Raises ValueError where no estimator has a finite result on the pilot.
    """
    key_pilot, key_report = jax.random.split(key)
    rows = (*data, phi_NxP)
    with jax.default_matmul_precision("highest"):
        found = []
        for number, estimator in enumerate(estimators):
            shared = theta, jax.random.fold_in(key_pilot, number)
            part = tuple(row[:pilot_points] for row in rows)
            found.append(map_datapoints(mapped(model, estimator), shared, part, chunk_size=chunk_size))
        choice = judge(
            [estimator.name for estimator in estimators],
            [estimator.evaluations for estimator in estimators],
            np.stack([evidence.log_evidence for evidence in found]),
            np.stack([evidence.stderr for evidence in found]),
        )
        one = mapped(model, estimators[choice.winner])
        shared = theta, key_report
        evidence = map_datapoints(one, shared, rows, chunk_size=chunk_size, progress=progress)
    return evidence, choice
