"""The q of every datapoint as arrays: moments, KL to the prior, and draws."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from vaelab.measure.aggregate import Draws, Members
from vaelab.measure.units import kl_by_dimension
from vaelab.model.likelihood import LOG_2PI
from vaelab.runtime.chunks import map_datapoints
from vaelab.types import Array, Key, PosteriorFamily


class Encoded(NamedTuple):
    """The q of N datapoints; NaN where it is not finite or, of a flow, where it has no draws.

    mean_NxK, kl_N: E_q[z], and KL(q || N(0, I)), nats; exact: whether in closed form, or from draws
    kl_NxK: the KL of the marginals, of a Gaussian family; else None
    noise_NxK: the variance of means that are of draws; else None
    rows_M: which datapoints have draws
    members: the Gaussian distributions that draws.u are of; None where the q of the datapoints are not
        transforms T of Gaussian ones with one T for all
    """

    mean_NxK: np.ndarray
    kl_N: np.ndarray
    exact: bool
    kl_NxK: np.ndarray | None
    noise_NxK: np.ndarray | None
    rows_M: np.ndarray
    draws: Draws
    members: Members | None


def noise(key: Key, index_N: np.ndarray, *, num_draws: int, latent_dim: int) -> np.ndarray:
    """eps_NxSxK ~ N(0, I), of each datapoint from fold_in(key, index), whatever the others are."""
    sizes = {"static": (num_draws, latent_dim), "chunk_size": len(index_N)}
    return map_datapoints(_noise, key, index_N, **sizes)


def _noise(num_draws: int, latent_dim: int, key: Key, index: Array) -> Array:
    return jax.random.normal(jax.random.fold_in(key, index), (num_draws, latent_dim))


def encoded(family: PosteriorFamily, phi_NxP: np.ndarray, eps_RxSxK: np.ndarray) -> Encoded:
    """The q of these phi, with S draws of each of the first R of them, of this noise."""
    of_family = _flow if family.gaussian is None else _gaussian
    return of_family(family, np.asarray(phi_NxP), np.float64(eps_RxSxK))


def moments(family: PosteriorFamily, phi_NxP: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean_NxK, S_NxKxK) of Gaussian q = N(mu, S S')."""
    mean_NxK, scale_NxKxK = jax.device_get(_moments(family)(np.asarray(phi_NxP)))
    return np.float64(mean_NxK), np.float64(scale_NxKxK)


def _gaussian(family: PosteriorFamily, phi_NxP: np.ndarray, eps_RxSxK: np.ndarray) -> Encoded:
    count, size, parts = len(phi_NxP), len(eps_RxSxK), []
    # In portions of one size, and so by one program; scales, which are large, of the first one alone.
    for at in range(0, count, size):
        mean_RxK, scale_RxKxK = moments(family, phi_NxP[np.minimum(np.arange(at, at + size), count - 1)])
        with np.errstate(all="ignore"):  # what is not finite is told apart by kl_N
            variance_RxK = np.sum(scale_RxKxK**2, axis=2)
            log_det_R = np.linalg.slogdet(scale_RxKxK)[1]
            kl_R = 0.5 * np.sum(variance_RxK + mean_RxK**2 - 1.0, axis=1) - log_det_R
            parts.append((mean_RxK, np.sqrt(variance_RxK), kl_R))
        if not at:
            first_RxKxK = scale_RxKxK
    mean_NxK, sd_NxK, kl_N = (np.concatenate(part)[:count] for part in zip(*parts, strict=True))
    good_N = np.isfinite(kl_N) & np.isfinite(mean_NxK).all(axis=1) & np.isfinite(sd_NxK).all(axis=1)
    mean_NxK[~good_N], kl_N[~good_N] = np.nan, np.nan
    with np.errstate(all="ignore"):
        kl_NxK = np.where(good_N[:, None], kl_by_dimension(mean_NxK, sd_NxK), np.nan)
    rows_M = np.flatnonzero(good_N[:size])
    members = Members(mean_NxK[rows_M], first_RxKxK[rows_M])
    u_MxSxK = members.mean_NxK[:, None] + np.einsum("nij,nsj->nsi", members.scale_NxKxK, eps_RxSxK[rows_M])
    draws = Draws(u_MxSxK, u_MxSxK, np.zeros(u_MxSxK.shape[:2]))
    return Encoded(mean_NxK, kl_N, True, kl_NxK, None, rows_M, draws, members)


def _flow(family: PosteriorFamily, phi_NxP: np.ndarray, eps_RxSxK: np.ndarray) -> Encoded:
    """From draws. With T shared by all datapoints, as an encoder's, u = mu + sigma eps are Gaussian draws."""
    size, num_draws, K = eps_RxSxK.shape
    z_RxSxK, log_q_RxS = (
        np.float64(part) for part in jax.device_get(_drawn(family)(phi_NxP[:size], np.float32(eps_RxSxK)))
    )
    rows_M = np.flatnonzero(np.isfinite(z_RxSxK).all(axis=(1, 2)) & np.isfinite(log_q_RxS).all(axis=1))
    z_MxSxK, log_q_MxS, eps_MxSxK = z_RxSxK[rows_M], log_q_RxS[rows_M], eps_RxSxK[rows_M]
    mean_NxK, noise_NxK = (np.full((len(phi_NxP), K), np.nan) for _ in range(2))
    kl_N = np.full(len(phi_NxP), np.nan)
    mean_NxK[rows_M] = np.mean(z_MxSxK, axis=1)
    noise_NxK[rows_M] = np.var(z_MxSxK, axis=1, ddof=1) / num_draws
    kl_N[rows_M] = np.mean(log_q_MxS + 0.5 * np.sum(z_MxSxK**2 + LOG_2PI, axis=2), axis=1)
    members, draws = None, Draws(z_MxSxK, z_MxSxK, np.zeros_like(log_q_MxS))
    local, shared = np.float64(phi_NxP[rows_M, : 2 * K]), phi_NxP[rows_M, 2 * K :]
    of_encoder = family.shared_of is None  # else T is another for each datapoint
    if of_encoder and family.shared_size == family.param_size - 2 * K and (shared == shared[:1]).all():
        mean_MxK, log_sd_MxK = local[:, :K], local[:, K:]
        members = Members(mean_MxK, np.exp(log_sd_MxK)[:, :, None] * np.eye(K))
        u_MxSxK = mean_MxK[:, None] + np.exp(log_sd_MxK)[:, None] * eps_MxSxK
        log_u_MxS = -0.5 * np.sum(eps_MxSxK**2 + LOG_2PI, axis=2) - np.sum(log_sd_MxK, axis=1)[:, None]
        draws = Draws(u_MxSxK, z_MxSxK, log_u_MxS - log_q_MxS)
    return Encoded(mean_NxK, kl_N, False, None, noise_NxK, rows_M, draws, members)


# The programs are kept, so that the same family compiles them once for all splits.
@functools.lru_cache(maxsize=16)
def _moments(family: PosteriorFamily) -> Callable[[np.ndarray], tuple[Array, Array]]:
    def many(phi_RxP: Array) -> tuple[Array, Array]:
        with jax.default_matmul_precision("highest"):
            return jax.vmap(family.gaussian.location_scale)(phi_RxP)

    return jax.jit(many)


@functools.lru_cache(maxsize=16)
def _drawn(family: PosteriorFamily) -> Callable[[np.ndarray, np.ndarray], tuple[Array, Array]]:
    """(phi_RxP, eps_RxSxK) -> (z_RxSxK, log_q_RxS)."""
    return jax.jit(jax.vmap(jax.vmap(family.sample_and_log_prob, (None, 0))))
