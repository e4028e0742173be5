"""The amortization gap and its neighbours, per datapoint, in nats:

    L[q_phi]  <=  L[q*]  <=  log p(x)

    amortization gap = L[q*] - L[q_phi]        what the encoder loses against the best q of its family
    approximation gap = log p(x) - L[q*]       what the family loses against the posterior
    inference gap = log p(x) - L[q_phi]        their sum

(Cremer, Li & Duvenaud 2018, section 3.) Gaps are differences at the same datapoints, and the two ELBOs of a
datapoint share their draws; nothing is clipped, a negative gap is counted and shown.
"""

import itertools
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from vaelab.objective.draws import Estimate
from vaelab.runtime.devices import map_datapoints
from vaelab.types import LatentModel, Params, PosteriorFamily


class Gap(NamedTuple):
    """The three quantities, one number for each datapoint, `[N]` each."""

    elbo_amortized: np.ndarray
    elbo_optimal: np.ndarray
    log_evidence: np.ndarray

    @property
    def amortization(self) -> np.ndarray:
        return _lead(self.elbo_optimal, self.elbo_amortized)

    @property
    def approximation(self) -> np.ndarray:
        return _lead(self.log_evidence, self.elbo_optimal)

    @property
    def inference(self) -> np.ndarray:
        return _lead(self.log_evidence, self.elbo_amortized)


def _lead(high_N: np.ndarray, low_N: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # where both are -inf there is no difference: NaN, which says it
        return high_N - low_N


def mean_and_stderr(values_N: np.ndarray) -> dict[str, float]:
    """The mean over datapoints and its standard error sd / sqrt(N), which includes each value's own noise."""
    values_N = np.asarray(values_N, np.float64)
    with np.errstate(invalid="ignore"):  # of infinities: NaN, which says it
        stderr = float(np.std(values_N, ddof=1) / math.sqrt(values_N.size)) if values_N.size > 1 else math.nan
    return {"mean": float(np.mean(values_N)), "stderr": stderr}


def summarize(gap: Gap, *, has_encoder: bool = True) -> dict[str, dict[str, float] | None]:
    """The six statistics of a `gap.json` row; what needs an encoder is None where the family has none."""
    amortized = {
        "elbo_amortized": mean_and_stderr(gap.elbo_amortized),
        "amortization_gap": mean_and_stderr(gap.amortization),
        "inference_gap": mean_and_stderr(gap.inference),
    }
    return {
        **(amortized if has_encoder else dict.fromkeys(amortized)),
        "elbo_optimal": mean_and_stderr(gap.elbo_optimal),
        "log_evidence": mean_and_stderr(gap.log_evidence),
        "approximation_gap": mean_and_stderr(gap.approximation),
    }


def exact_gap(
    model: LatentModel, family: PosteriorFamily, theta: Params, x_NxD: np.ndarray, phi_NxP: np.ndarray
) -> Gap:
    """The closed forms behind `Gap` for a model that has them (`model.exact`) and a Gaussian family.

    The best q of the family is the projection of the posterior, as L[q] = log p(x) - KL(q || posterior).
    """

    def one(theta, row):
        x_D, phi_P = row
        mean_K, precision_KxK = model.exact.posterior(theta, x_D)
        # precision = C C', so covariance = C'^-1 C^-1 and C'^-1 is a square root of it.
        scale_KxK = jnp.linalg.inv(jnp.linalg.cholesky(precision_KxK)).T
        optimum = family.gaussian.location_scale(family.gaussian.project(mean_K, scale_KxK))
        return Gap(
            model.exact.elbo(theta, x_D, *family.gaussian.location_scale(phi_P)),
            model.exact.elbo(theta, x_D, *optimum),
            model.exact.log_evidence(theta, x_D),
        )

    return map_datapoints(one, theta, (x_NxD, phi_NxP), chunk_size=1000)


def num_broken(
    low: Estimate, high: Estimate, *, difference: Estimate | None = None, num_stderrs: float = 5.0
) -> int:
    """Datapoints at which low exceeds high by more than their draws' errors, and rounding, explain.

    difference: high - low with its own error, where they share draws; it is then much the smaller one.
    """
    low_N, high_N = np.float64(low.value), np.float64(high.value)
    rounding_N = 4.0 * np.finfo(np.float32).eps * np.abs(low_N)
    stderr_N = np.hypot(np.float64(low.stderr), np.float64(high.stderr))
    lead_N = _lead(high_N, low_N)
    if difference is not None:
        lead_N, stderr_N = np.float64(difference.value), np.float64(difference.stderr)
    return int(np.sum(lead_N < -(num_stderrs * stderr_N + rounding_N)))


def broken_orders(ordered: list[tuple[str, np.ndarray]], *, num_stderrs: float = 5.0) -> list[str]:
    """Names each neighbouring pair (a, b) of quantities with mean(b - a) below 0 by more than its error.

    `ordered` lists per-datapoint quantities, from the smallest to the largest that theory puts them in. The
    difference is paired; an empty list means that the order holds up to `num_stderrs` standard errors.
    """
    broken = []
    for (low_name, low_N), (high_name, high_N) in itertools.pairwise(ordered):
        difference = mean_and_stderr(_lead(high_N, low_N))
        # A difference of the size of float32 rounding, with no spread, is not a violation.
        # Of one datapoint there is no error to go by: only its rounding is allowed for.
        stderr = difference["stderr"] if len(low_N) > 1 else 0.0
        rounding = 4.0 * np.finfo(np.float32).eps * float(np.mean(np.abs(low_N)))
        if not difference["mean"] >= -(num_stderrs * stderr + rounding):
            broken.append(f"{low_name} exceeds {high_name} by {-difference['mean']:.4f} +- {stderr:.4f} nats")
    return broken
