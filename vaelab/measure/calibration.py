"""Simulation-based calibration: are the q of simulated data posteriors? (Talts et al. 2018.)

With z ~ p(z) and x ~ p(x given z), z is an exact draw from the posterior of x. If q is that posterior, the
rank of each z_k among L draws of q is uniform on 0, ..., L, over datapoints. Too narrow a q pushes ranks to
both ends.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.runtime.devices import map_datapoints
from vaelab.types import Array, Key, PosteriorFamily


class Calibration(NamedTuple):
    """p_value: of the least uniform dimension, times the number of dimensions (Bonferroni), 1 at most.

    tails: share of the ranks in the outer tenth, 0.1 for a posterior, more for too narrow a q.
    """

    p_value: float
    tails: float


def calibration(
    family: PosteriorFamily,
    phi_NxP: np.ndarray,
    index_N: np.ndarray,
    z_NxK: np.ndarray,
    key: Key,
    *,
    num_draws: int,
) -> Calibration:
    """Of the q of N simulated datapoints, z_NxK what they were simulated from.

    The ranks among num_draws draws are compared with the uniform law by Pearson's chi-square, in as many
    equal bins as give five datapoints each, twenty at most; points whose phi is not finite are left out.
    """
    from scipy import stats  # nearly a second, which only this needs

    finite_N = np.all(np.isfinite(phi_NxP), axis=1)
    rows = phi_NxP[finite_N], index_N[finite_N], z_NxK[finite_N]
    rank_NxK = np.asarray(map_datapoints(_ranks(family, num_draws), key, rows, chunk_size=100))
    # Bins of ranks of equal probability only where their number divides L + 1.
    wanted = int(np.clip(len(rank_NxK) // 5, 2, 20))
    num_bins = max(n for n in range(1, wanted + 1) if (num_draws + 1) % n == 0)
    bin_NxK = rank_NxK * num_bins // (num_draws + 1)
    counts = [np.bincount(bins, minlength=num_bins) for bins in bin_NxK.T]
    p_values = [stats.chisquare(count).pvalue for count in counts]
    outer = (rank_NxK < 0.05 * (num_draws + 1)) | (rank_NxK >= 0.95 * (num_draws + 1))
    return Calibration(float(min(1.0, len(p_values) * min(p_values))), float(np.mean(outer)))


@functools.lru_cache(maxsize=16)
def _ranks(family: PosteriorFamily, num_draws: int) -> Callable[..., Array]:
    """One datapoint's ranks; the same function for the same arguments, so that it compiles once."""

    def one(key: Key, row: tuple[Array, Array, Array]) -> Array:
        phi_P, index, z_K = row
        eps_SxK = jax.random.normal(jax.random.fold_in(key, index), (num_draws, family.latent_dim))
        draws_SxK = jax.vmap(family.reparameterize, (None, 0))(phi_P, eps_SxK)
        return jnp.sum(draws_SxK < z_K[None, :], axis=0)

    return one
