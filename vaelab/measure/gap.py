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
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:  # JAX, which a comparison of runs that are finished need not wait for
    from vaelab.objective.draws import Estimate
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


def mean_and_stderr(values_N: np.ndarray, *, errors_N: np.ndarray | None = None) -> dict[str, float]:
    """The mean over datapoints and its standard error sd / sqrt(N), which includes each value's own noise.

    errors_N: the standard error of each value by itself, which is that of the mean where N = 1; without it
        the error of a single value is NaN.
    """
    values_N = np.asarray(values_N, np.float64)
    if values_N.size == 1:
        stderr = math.nan if errors_N is None else float(np.squeeze(errors_N))
    else:
        with np.errstate(invalid="ignore"):  # of infinities: NaN, which says it
            stderr = float(np.std(values_N, ddof=1) / math.sqrt(values_N.size))
    return {"mean": float(np.mean(values_N)), "stderr": stderr}


def half_width(stderr: float, count: int) -> float:
    """Half of the 95% interval of a mean of `count` values by Student's t with count - 1 degrees of freedom.

    12.7 standard errors of two values, 2.8 of five; infinite of one, whose spread is not known.
    """
    from scipy import special  # not stats, which takes a second to import

    return float(special.stdtrit(count - 1, 0.975)) * stderr if count > 1 else math.inf


def summarize(
    gap: Gap, *, has_encoder: bool = True, errors: Mapping[str, np.ndarray] | None = None
) -> dict[str, dict[str, float] | None]:
    """The six statistics of a `gap.json` row; what needs an encoder is None where the family has none.

    errors: under the names of the statistics, the standard error of each datapoint's own value.
    """
    values = {
        "elbo_amortized": gap.elbo_amortized,
        "amortization_gap": gap.amortization,
        "inference_gap": gap.inference,
        "elbo_optimal": gap.elbo_optimal,
        "log_evidence": gap.log_evidence,
        "approximation_gap": gap.approximation,
    }
    needs_encoder = () if has_encoder else ("elbo_amortized", "amortization_gap", "inference_gap")
    return {
        name: None
        if name in needs_encoder
        else mean_and_stderr(values_N, errors_N=None if errors is None else errors[name])
        for name, values_N in values.items()
    }


def averaged(gap: Gap, *, has_encoder: bool = True) -> np.ndarray:
    """Which datapoints the means are over, `[N]`: those at which every quantity is finite.

    Where there are none, nothing is left out: the means say themselves that they are not finite.
    """
    quantities = gap if has_encoder else gap[1:]
    finite_N = np.logical_and.reduce([np.isfinite(values_N) for values_N in quantities])
    return finite_N if finite_N.any() else np.ones_like(finite_N)


def exact_gap(
    model: "LatentModel", family: "PosteriorFamily", theta: "Params", x_NxD: np.ndarray, phi_NxP: np.ndarray
) -> Gap:
    """The closed forms behind `Gap` for a model that has them (`model.exact`) and a Gaussian family.

    The best q of the family is the projection of the posterior, as L[q] = log p(x) - KL(q || posterior).
    """

    import jax.numpy as jnp

    from vaelab.runtime.chunks import map_datapoints

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
    low: "Estimate", high: "Estimate", *, difference: "Estimate | None" = None, num_stderrs: float = 5.0
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


def broken_orders(
    ordered: list[tuple[str, np.ndarray]], *, num_stderrs: float = 5.0, errors_N: np.ndarray | None = None
) -> list[str]:
    """Names each neighbouring pair (a, b) of quantities with mean(b - a) below 0 by more than its error.

    `ordered` lists per-datapoint quantities, from the smallest to the largest that theory puts them in. The
    difference is paired, and its mean over the datapoints at which it is finite; an empty list means that the
    order holds up to `num_stderrs` standard errors.

    errors_N: the standard error of each datapoint's own difference, which counts where N = 1; without it only
        rounding is allowed for there.
    """
    broken = []
    for (low_name, low_N), (high_name, high_N) in itertools.pairwise(ordered):
        difference_N = _lead(high_N, low_N)
        finite_N = np.isfinite(difference_N)
        if not finite_N.any():
            if not np.all(high_N >= low_N):
                broken.append(f"{low_name} <= {high_name} does not hold, and no difference is finite")
            continue
        own_N = np.zeros_like(difference_N) if errors_N is None else errors_N
        difference = mean_and_stderr(difference_N[finite_N], errors_N=own_N[finite_N])
        # A difference of the size of float32 rounding, with no spread, is not a violation.
        rounding = 4.0 * np.finfo(np.float32).eps * float(np.mean(np.abs(low_N[finite_N])))
        if not difference["mean"] >= -(num_stderrs * difference["stderr"] + rounding):
            lead = f"{-difference['mean']:.4f} +- {difference['stderr']:.4f} nats"
            broken.append(f"{low_name} exceeds {high_name} by {lead}")
    return broken
