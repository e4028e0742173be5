"""What the q of a row say beside their gaps: rate, distortion, units, and the aggregate posterior."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vaelab.keys import purpose_key
from vaelab.measure import aggregate, units
from vaelab.measure.by_level import ByLevel, by_level
from vaelab.measure.by_level import entry as entry_of_levels
from vaelab.measure.encoding import Encoded, encoded, noise
from vaelab.measure.fit import LocalFit
from vaelab.measure.gap import mean_and_stderr
from vaelab.measure.learned_prior import beyond_standard, is_learned, log_prior_at
from vaelab.measure.subject import Measured, Quantized, Subject
from vaelab.model.likelihood import LOG_2PI
from vaelab.model.prior import has_known_prior

MOST_NUMBERS = 2**24  # of scales that are held at once
BOUNDS = ("elbo_amortized", "elbo_optimal", "log_evidence")


class Diagnostics(NamedTuple):
    """What the q of one family on one split carry.

    of: whose q they are, as `encoder`, or q* where the family has no encoder
    elbo_N: their bounds
    encoded: their moments, KL and draws
    densities: of the aggregate at these draws; None without members, or with fewer than two of them
    prior: its name; None where it is not known. The KL of `encoded` is that to it, where it is known
    rate_by: how that KL is computed
    levels: its parts by level; None for a prior without levels, or a q without such a chain
    optimal_levels: those of q* beside an encoder's; None likewise
    """

    of: str
    elbo_N: np.ndarray
    encoded: Encoded
    densities: aggregate.Densities | None
    prior: str | None
    rate_by: str
    levels: ByLevel | None = None
    optimal_levels: ByLevel | None = None
    given: str | None = None


def num_detailed(subject: Subject, count: int) -> int:
    """How many of `count` datapoints are looked at in detail: max_points, and fewer of large scales."""
    K = subject.model.latent_dim
    return min(count, subject.settings.diagnostics.max_points, max(2, MOST_NUMBERS // K**2))


def detailed_noise(subject: Subject, index_N: np.ndarray, purpose: str) -> np.ndarray:
    """eps_RxSxK of the datapoints in detail, with as many draws as the most that is asked for.

    So that one program makes the noise of all purposes, whose keys are others.
    """
    settings, K = subject.settings.diagnostics, subject.model.latent_dim
    rows = max(num_detailed(subject, len(index_N)), min(settings.split_points, len(index_N)))
    num_draws = max(settings.num_draws, settings.split_draws // 2)
    key = purpose_key(subject.keys.inference, purpose)
    return noise(key, index_N[:rows], num_draws=num_draws, latent_dim=K)


def diagnose(subject: Subject, points: Measured, name: str, fit: LocalFit) -> Diagnostics:
    """The q of the encoder, or q* of a family without one; those of the first max_points in detail."""
    settings, index_N = subject.settings.diagnostics, points.inputs.index_N
    of = subject.amortized.get(name, "q*")
    phi_NxP, elbo = (fit.inference.phi_P, fit.elbo_optimal) if of == "q*" else (fit.phi_start, fit.elbo_start)
    eps_RxSxK = detailed_noise(subject, index_N, "diagnostics")
    eps_RxSxK = eps_RxSxK[: num_detailed(subject, len(index_N)), : settings.num_draws]
    seen = encoded(subject.families[name], phi_NxP, eps_RxSxK)
    densities = None
    given = subject.model.given.kind if subject.model.given else None
    # Under a condition q(z) of all y is not what stands against p(z given y).
    if seen.members is not None and len(seen.rows_M) > 1 and given is None:
        densities = aggregate.densities(seen.members, seen.draws)
    num_draws = seen.draws.z_NxSxK.shape[1]
    rate_by = "closed form" if seen.exact else f"{num_draws} draws a datapoint"
    prior = STANDARD if has_known_prior(subject.model) else None
    levels, optimal = by_level(subject, name, phi_NxP, index_N, seen, eps_RxSxK), None
    if levels is not None and of != "q*":
        phi_NxP_optimal = fit.inference.phi_P
        best = encoded(subject.families[name], phi_NxP_optimal, eps_RxSxK)
        optimal = by_level(subject, name, phi_NxP_optimal, index_N, best, eps_RxSxK)
    if is_learned(subject.model):
        seen, densities, rate_by = _of_learned(subject, points, name, phi_NxP, seen, densities)
        prior = subject.model.prior
    return Diagnostics(of, np.float64(elbo.value), seen, densities, prior, rate_by, levels, optimal, given)


STANDARD = "standard_normal"


def _of_learned(
    subject: Subject,
    points: Measured,
    name: str,
    phi_NxP: np.ndarray,
    seen: Encoded,
    densities: aggregate.Densities | None,
) -> tuple[Encoded, aggregate.Densities | None, str]:
    """(the q, their densities, how the rate is computed) with the learned prior in the place of N(0, I).

    The KL of each dimension is left out: the marginals of the prior have no closed form.
    """
    z_MxSxK = seen.draws.z_NxSxK
    log_p_MxS = log_prior_at(subject, z_MxSxK) if len(z_MxSxK) else np.zeros(z_MxSxK.shape[:2])
    if densities is not None:
        densities = densities._replace(prior=np.mean(log_p_MxS, axis=1))
    num_draws = z_MxSxK.shape[1]
    if seen.exact:
        more_N = beyond_standard(subject, subject.families[name], phi_NxP, points.inputs.index_N, num_draws)
        how = f"closed-form entropy, log p(z) at {2 * num_draws} draws a datapoint"
    else:
        more_N = np.full(len(seen.kl_N), np.nan)
        log_standard_MxS = -0.5 * np.sum(z_MxSxK**2 + LOG_2PI, axis=2)
        more_N[seen.rows_M] = np.mean(log_standard_MxS - log_p_MxS, axis=1)
        how = f"{num_draws} draws a datapoint"
    return seen._replace(kl_N=seen.kl_N + more_N, kl_NxK=None), densities, how


def columns(diagnosed: Diagnostics) -> dict[str, np.ndarray]:
    """What stands behind the entry, one value a datapoint under each name; nats."""
    seen, measured = diagnosed.encoded, {}
    if diagnosed.prior is not None:
        measured |= {"rate": seen.kl_N, "distortion": -diagnosed.elbo_N - seen.kl_N}
        if seen.kl_NxK is not None:
            measured["kl_by_dimension"] = seen.kl_NxK
    if diagnosed.levels is not None:
        measured["kl_by_level"] = diagnosed.levels.kl_NxL
    if diagnosed.optimal_levels is not None:
        measured["optimal_kl_by_level"] = diagnosed.optimal_levels.kl_NxL
    if diagnosed.densities is not None:
        values = diagnosed.densities
        information_N = np.full(len(seen.kl_N), np.nan)
        information_N[seen.rows_M] = values.own - values.whole
        measured["information"] = information_N
    return {name: np.float32(values) for name, values in measured.items()}


def entry(diagnosed: Diagnostics) -> dict[str, Any]:
    """The entry `diagnostics` of a row: means over datapoints with their standard errors, nats."""
    seen = diagnosed.encoded
    used_N = np.isfinite(seen.kl_N) & np.isfinite(diagnosed.elbo_N)
    result: dict[str, Any] = {
        "of": diagnosed.of,
        "num_points": int(np.sum(used_N)),
        "rate_by": diagnosed.rate_by,
    }
    if diagnosed.prior not in (None, STANDARD):
        without = f"the marginals of the prior {diagnosed.prior} have no closed form"
        result["left_out"] = dict.fromkeys(OF_MARGINALS, without)
    if not used_N.any():
        return result
    if diagnosed.prior is not None:
        result |= _rate(seen, diagnosed.elbo_N, used_N)
    if np.sum(used_N) > 1:
        noise_NxK = None if seen.noise_NxK is None else seen.noise_NxK[used_N]
        variances = units.variance_of_means(seen.mean_NxK[used_N], noise_NxK)
        by_variance = units.active(variances)
        by_kl = units.active(result["kl_by_dimension"]) if "kl_by_dimension" in result else None
        result |= {
            "variance_of_means": variances,
            "active_units": {"by_variance": by_variance, "by_kl": by_kl},
        }
    if diagnosed.levels is not None:
        variances = result.get("variance_of_means")
        result["by_level"] = entry_of_levels(diagnosed.levels, variances, diagnosed.optimal_levels)
    result["aggregate"] = _aggregate(diagnosed)
    return result


OF_MARGINALS = ("kl_by_dimension", "kl_within", "active_units.by_kl", "aggregate.dimension_wise_kl")


def _rate(seen: Encoded, elbo_N: np.ndarray, used_N: np.ndarray) -> dict[str, Any]:
    kl_N = seen.kl_N[used_N]
    result: dict[str, Any] = {
        "rate": mean_and_stderr(kl_N),
        "distortion": mean_and_stderr(-elbo_N[used_N] - kl_N),
    }
    if seen.kl_NxK is not None:
        of_units_NxK = seen.kl_NxK[used_N]
        result["kl_by_dimension"] = [mean_and_stderr(kl) for kl in of_units_NxK.T]
        # The KL of a q with correlations is more than that of its marginals, by its total correlation.
        within_N = kl_N - np.sum(of_units_NxK, axis=1)
        correlated = seen.members is not None and units.has_correlations(seen.members.scale_NxKxK)
        result["kl_within"] = mean_and_stderr(within_N) if correlated else None
    return result


def _aggregate(diagnosed: Diagnostics) -> dict[str, Any]:
    """The bounds of `aggregate.against_prior`, or why there are none."""
    if diagnosed.densities is None:
        if diagnosed.given is not None:
            return {"none": "q(z) over all y does not stand against p(z) given one y"}
        few = len(diagnosed.encoded.rows_M) < 2
        why = "one datapoint" if few else "the transformation of the flow is not the same for all datapoints"
        return {"none": why}
    seen = diagnosed.encoded
    rate_N = seen.kl_N[seen.rows_M]
    known = {"known_prior": diagnosed.prior is not None, "of_marginals": diagnosed.prior == STANDARD}
    bounds = aggregate.against_prior(diagnosed.densities, rate_N, **known)
    return {"num_draws": seen.draws.z_NxSxK.shape[1], **bounds}


def bits(row: Mapping[str, Any], quantized: Quantized) -> dict[str, Any]:
    """The entry `bits_per_dim` of a row: of each of its bounds, with the number of levels."""
    bounds = {name: row[name] for name in BOUNDS if row.get(name) is not None}
    of_bounds = {name: bits_per_dim(nats, quantized) for name, nats in bounds.items()}
    return {"levels": quantized.levels, "dequantized": quantized.dequantized, **of_bounds}


def bits_per_dim(nats: dict[str, float], quantized: Quantized) -> dict[str, float]:
    """-log2 of the probability of the levels of x, for each dimension, from a bound of log p(x) in nats.

        bits = -(log p(x) - D log L) / (D log 2) for a density of (level + u) / L, u uniform on [0, 1);
        bits = -log p(x) / (D log 2) for probabilities of the levels

    The first is an upper bound of the bits of the levels in the mean over u (Theis et al. 2016, section 3.1).
    """
    scale = quantized.num_dims * math.log(2.0)
    moved = quantized.num_dims * math.log(quantized.levels) if quantized.dequantized else 0.0
    return {"mean": -(nats["mean"] - moved) / scale, "stderr": nats["stderr"] / scale}
