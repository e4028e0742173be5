"""The KL of q to a prior of levels, level by level, and the units of each; nats.

    KL(q || p) = sum_l E_q[ KL( q(z_l given all levels above) || p(z_l given z_{l+1}) ) ],

for a q that is known from the top level down: Gaussian ones, and chains in that order. A level whose part is
0 costs nothing and says nothing of x. The parts of a chain from below are no KL, can be below 0, and are left
out: with q equal to the prior they are -I(z_1; z_2) and I(z_1; z_2).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.keys import purpose_key
from vaelab.measure import units
from vaelab.measure.encoding import Encoded
from vaelab.measure.gap import mean_and_stderr
from vaelab.measure.subject import Subject
from vaelab.model.hierarchy import slices
from vaelab.model.likelihood import LOG_2PI
from vaelab.runtime.chunks import map_datapoints
from vaelab.types import Array, Key, LatentModel, Params, PosteriorFamily


class ByLevel(NamedTuple):
    """levels: the dimensions of each. kl_NxL: E_q[log q - log p] of each, NaN where it is not measured."""

    levels: tuple[int, ...]
    kl_NxL: np.ndarray


def by_level(
    subject: Subject, name: str, phi_NxP: np.ndarray, index_N: np.ndarray, seen: Encoded, eps: np.ndarray
) -> ByLevel | None:
    """The parts of the KL of the datapoints in detail; None for a prior without levels, or another q.

    eps: eps_RxSxK, the noise of the draws in `seen`. For a Gaussian q in closed form, but for
    E_q[log N(z_l; 0, I) - log p(z_l given z_{l+1})], which is from the draws of
    `learned_prior.beyond_standard`; for a chain of levels from those in `seen`. So the parts add up to what
    the rate is, to rounding.
    """
    model, family = subject.model, subject.families[name]
    in_closed_form = family.gaussian is not None
    if model.log_prior_of_levels is None or not (in_closed_form or family.log_q_of_levels):
        return None
    rows_M = seen.rows_M
    kl_NxL = np.full((len(phi_NxP), len(model.levels)), np.nan)
    key = purpose_key(subject.keys.inference, "rate")
    phi_MxP, memory = np.asarray(phi_NxP)[rows_M], subject.settings.memory
    if len(rows_M) and in_closed_form:
        static, rows = (model, family, eps.shape[1]), (phi_MxP, index_N[rows_M])
        more_MxL = map_datapoints(_beyond, (subject.theta, key), rows, static=static, chunk_size=memory)
        kl_NxL[rows_M] = _to_standard(seen, model.levels) + np.float64(more_MxL)
    elif len(rows_M):
        rows = phi_MxP, np.float32(eps[rows_M])
        of_draws = map_datapoints(_of_chain, subject.theta, rows, static=(model, family), chunk_size=memory)
        kl_NxL[rows_M] = of_draws
    return ByLevel(model.levels, kl_NxL)


def _of_chain(model: LatentModel, family: PosteriorFamily, theta: Params, row: Any) -> Array:
    """The mean over the draws of log q(z_l given z_{l+1}) - log p(z_l given z_{l+1}), `[L]`."""
    phi_P, eps_SxK = row

    def one(eps_K: Array) -> Array:
        z_K, log_q_L = family.log_q_of_levels(phi_P, eps_K)
        return log_q_L - model.log_prior_of_levels(theta, z_K)

    return jnp.mean(jax.vmap(one)(eps_SxK), axis=0)


def _to_standard(seen: Encoded, levels: tuple[int, ...]) -> np.ndarray:
    """E_q[log q(z_l given z_>l) - log N(z_l; 0, I)] of Gaussian q, `[M, L]`."""
    mean_MxK, scale_MxKxK = seen.members.mean_NxK, seen.members.scale_NxKxK
    square_MxK = mean_MxK**2 + np.sum(scale_MxKxK**2, axis=2)
    parts, above_M = [], np.zeros(len(mean_MxK))
    for of_level in reversed(slices(levels)):
        # log|Sigma| of this level and those above it, less that of those above alone.
        tail_MxTxK = scale_MxKxK[:, of_level.start :]
        log_det_M = np.linalg.slogdet(tail_MxTxK @ np.swapaxes(tail_MxTxK, 1, 2))[1]
        size = of_level.stop - of_level.start
        parts.insert(0, 0.5 * (np.sum(square_MxK[:, of_level], axis=1) - size - (log_det_M - above_M)))
        above_M = log_det_M
    return np.stack(parts, axis=1)


def _beyond(
    model: LatentModel, family: PosteriorFamily, num_draws: int, shared: tuple[Params, Key], row: Any
) -> Array:
    """E_q[log N(z_l; 0, I) - log p(z_l given z_{l+1})], `[L]`, with the draws of the rate."""
    (theta, key), (phi_P, index) = shared, row
    eps_SxK = jax.random.normal(jax.random.fold_in(key, index), (num_draws, family.latent_dim))

    def one(eps_K: Array) -> Array:
        z_K = family.reparameterize(phi_P, eps_K)
        standard = [-0.5 * jnp.sum(z_K[at] ** 2 + LOG_2PI) for at in slices(model.levels)]
        return jnp.stack(standard) - model.log_prior_of_levels(theta, z_K)

    return jnp.mean(jax.vmap(one)(jnp.concatenate([eps_SxK, -eps_SxK])), axis=0)


def entry(
    of_levels: ByLevel, variances: list[dict[str, float]] | None, optimal: ByLevel | None = None
) -> list[dict[str, Any]]:
    """What the diagnostics say of each level: its dimensions, its part of the KL, its active units.

    optimal: the parts at q*, beside those of an encoder, and by how much these are more. Means are over the
    num_points datapoints at which both are finite, of those in detail, and add up to the rate over them.
    """
    both = [of_levels] if optimal is None else [of_levels, optimal]
    finite_N = np.logical_and.reduce([np.isfinite(one.kl_NxL).all(axis=1) for one in both])
    result = []
    for number, at in enumerate(slices(of_levels.levels)):
        part = {"level": number + 1, "dimensions": at.stop - at.start, "num_points": int(finite_N.sum())}
        of_q_N, *of_optimum_N = (one.kl_NxL[finite_N, number] for one in both)
        part["kl"] = mean_and_stderr(of_q_N) if finite_N.any() else None
        for kl_N in of_optimum_N:
            part["optimal_kl"] = mean_and_stderr(kl_N) if finite_N.any() else None
            part["optimal_less_kl"] = mean_and_stderr(kl_N - of_q_N) if finite_N.any() else None
        part["active_units"] = None if variances is None else units.active(variances[at])
        result.append(part)
    return result
