"""Which estimator of log p(x) to use for a split, tried out on a part of it; and its use on all of it.

The candidates are weighed on a few datapoints with draws of their own; the chosen one then starts afresh, so
that nothing is reported on the draws that it was chosen by, and no maximum is taken over noise.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from vaelab.evidence.estimator import Estimator
from vaelab.evidence.weights import Evidence
from vaelab.model.latent import bind
from vaelab.runtime.chunks import Progress, map_runs
from vaelab.runtime.devices import take
from vaelab.runtime.memory import Memory
from vaelab.types import Key, LatentModel, Params


class Trial(NamedTuple):
    """One candidate on the pilot's datapoints.

    mean: of its lower bounds, nats; NaN, as the other statistics, where one of them is not finite
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


AS_GOOD, SURER, CLOSE = 3.0, 1.5, 0.01  # the last in nats


def judge(
    names: list[str], evaluations: list[float], bounds_MxN: np.ndarray, stderrs_MxN: np.ndarray
) -> Choice:
    """The cheapest of those not below the highest mean by two standard errors, and about as good as the best.

    A bound that is noisy is not told from the highest however low it is. So what a candidate is thought to be
    off by, the root of stderr^2 and of what behind^2 is above its own error^2, is at most AS_GOOD times the
    least of all and SURER times that of any that costs no more, or CLOSE.
    A candidate with a datapoint whose bound or error is not finite is out, unless all are. The highest of
    several lower bounds is the best of them, up to noise: that is what the errors are for.
    """
    bounds_MxN, stderrs_MxN = np.asarray(bounds_MxN, np.float64), np.asarray(stderrs_MxN, np.float64)
    sound_M = np.all(np.isfinite(bounds_MxN) & np.isfinite(stderrs_MxN), axis=1)
    if not sound_M.any():
        raise ValueError(f"no estimate of log p(x) is finite on the pilot: tried {', '.join(names)}")
    count = bounds_MxN.shape[1]
    bounds_MxN, stderrs_MxN = (
        np.where(sound_M[:, None], array, np.nan) for array in (bounds_MxN, stderrs_MxN)
    )
    mean_M = np.mean(bounds_MxN, axis=1)
    error_M = np.sqrt(np.sum(stderrs_MxN**2, axis=1)) / count
    best = int(np.nanargmax(mean_M))
    behind_MxN = bounds_MxN[best] - bounds_MxN
    # The draws of two candidates are independent; between datapoints there may be more spread than theirs.
    spread_M = np.std(behind_MxN, axis=1, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(len(names))
    behind_M = np.where(np.arange(len(names)) == best, 0.0, np.mean(behind_MxN, axis=1))
    behind_error_M = np.where(behind_M == 0.0, 0.0, np.maximum(spread_M, np.hypot(error_M, error_M[best])))
    off_M = np.sqrt(error_M**2 + np.maximum(behind_M**2 - behind_error_M**2, 0.0))
    close_M = sound_M & (behind_M <= 2.0 * behind_error_M)
    cost_M = np.asarray(evaluations, np.float64)
    # The least of all, and the least of those that cost no more.
    least_M = np.array([np.min(off_M[close_M & (cost_M <= cost)], initial=np.inf) for cost in cost_M])
    close_M &= off_M <= np.maximum(np.minimum(AS_GOOD * np.min(off_M[close_M]), SURER * least_M), CLOSE)
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


class Weighed(NamedTuple):
    """What log p(x) of one run is estimated from: data = (x_NxD, index_N), phi_NxP of each proposal."""

    theta: Params
    data: tuple[np.ndarray, np.ndarray]
    phis: tuple[np.ndarray, ...]
    key: Key


def estimate_log_evidence(
    model: LatentModel,
    estimator: Estimator,
    theta: Params,
    data: tuple[np.ndarray, np.ndarray],
    phis: tuple[np.ndarray, ...],
    key: Key,
    *,
    chunk_size: int | Memory,
    progress: Progress = lambda count: None,
) -> Evidence:
    """log p(x) for each datapoint of data = (x_NxD, index_N), from phi_NxP of each proposal; nats.

    `weigh_runs` of a single run; see there.
    """
    run = Weighed(theta, data, phis, key)
    return weigh_runs(model, estimator, [run], chunk_size=chunk_size, progress=progress)[0]


def weigh_runs(
    model: LatentModel,
    estimator: Estimator,
    runs: Sequence[Weighed],
    *,
    chunk_size: int | Memory,
    progress: Progress = lambda count: None,
) -> list[Evidence]:
    """log p(x) of each datapoint of each run, nats; all runs as one program.

    Raises DoesNotFit where one datapoint of all runs takes more than the Memory given.
    """
    return map_runs(
        _estimate,
        [(run.theta, run.key) for run in runs],
        [(*run.data, tuple(run.phis)) for run in runs],
        static=(model, estimator),
        chunk_size=chunk_size,
        progress=progress,
    )


def _estimate(
    model: LatentModel, estimator: Estimator, shared: tuple[Params, Key], row: tuple[Any, ...]
) -> Evidence:
    (theta, key), (x_D, index, phis) = shared, row
    return estimator.estimate(bind(model, theta, x_D), phis, jax.random.fold_in(key, index))


def choose_estimator(
    model: LatentModel,
    estimators: tuple[Estimator, ...],
    theta: Params,
    data: tuple[np.ndarray, np.ndarray],
    phis: tuple[np.ndarray, ...],
    key: Key,
    *,
    pilot_points: int,
    chunk_size: int | Memory,
) -> Choice:
    """Every estimator on each of the first pilot_points datapoints, and which is to be used for all.

    The pilot's datapoints are part of the split, but with another key for the report the estimate of each is
    made anew, so that choosing gives no bias beyond that of the estimator chosen.

    Raises ValueError where no estimator has a finite result on the pilot.
    """
    data, phis = take((data, phis), slice(pilot_points))
    estimates = [
        estimate_log_evidence(
            model, one, theta, data, phis, jax.random.fold_in(key, number), chunk_size=chunk_size
        )
        for number, one in enumerate(estimators)
    ]
    return judge(
        [estimator.name for estimator in estimators],
        [estimator.evaluations for estimator in estimators],
        np.stack([evidence.log_evidence for evidence in estimates]),
        np.stack([evidence.stderr for evidence in estimates]),
    )
