"""Simulation-based calibration: are the q of simulated data posteriors? (Talts et al. 2018.)

With z ~ p(z) and x ~ p(x given z), z is an exact draw from the posterior of x. If q is that posterior, the
rank of each z_k among L draws of q is uniform on 0, ..., L, over datapoints. Too narrow a q pushes ranks to
both ends.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.linalg import inverse_and_log_abs_det
from vaelab.runtime.chunks import map_datapoints
from vaelab.types import Array, Key, PosteriorFamily


class Calibration(NamedTuple):
    """p_value: of the least uniform dimension, times the number of dimensions (Bonferroni), 1 at most.

    tails: share of the ranks in the outer tenth, 0.1 for a posterior, more for too narrow a q.
    outside: share of the z outside of the region of the highest density that has 0.999 of a Gaussian q, a
        thousandth for a posterior, more where modes are missed; None for a flow.
    """

    p_value: float
    tails: float
    outside: float | None = None


def calibration(
    family: PosteriorFamily,
    phi_NxP: np.ndarray,
    index_N: np.ndarray,
    z_NxK: np.ndarray,
    key: Key,
    *,
    num_draws: int,
) -> Calibration:
    """Calibration of the q of N simulated datapoints, z_NxK what they were simulated from.

    The ranks among num_draws draws are compared with the uniform distribution by Pearson's chi-square, in as
    many equal bins as give five datapoints each, twenty at most; points whose phi is not finite are left out.
    """
    from scipy import stats  # a third of a second that only simulated data need

    finite_N = np.all(np.isfinite(phi_NxP), axis=1)
    rows = phi_NxP[finite_N], index_N[finite_N], z_NxK[finite_N]
    static = family, num_draws
    rank_NxK = np.asarray(map_datapoints(_ranks, key, rows, static=static, chunk_size=100))
    # Bins of ranks of equal probability only where their number divides L + 1.
    wanted = int(np.clip(len(rank_NxK) // 5, 2, 20))
    num_bins = max(n for n in range(1, wanted + 1) if (num_draws + 1) % n == 0)
    bin_NxK = rank_NxK * num_bins // (num_draws + 1)
    counts = [np.bincount(bins, minlength=num_bins) for bins in bin_NxK.T]
    p_values = [stats.chisquare(count).pvalue for count in counts]
    outer = (rank_NxK < 0.05 * (num_draws + 1)) | (rank_NxK >= 0.95 * (num_draws + 1))
    outside = None
    if family.gaussian is not None:
        square_N = map_datapoints(_square, None, (rows[0], rows[2]), static=(family,), chunk_size=100)
        outside = float(np.mean(square_N > stats.chi2.ppf(0.999, family.latent_dim)))
    return Calibration(float(min(1.0, len(p_values) * min(p_values))), float(np.mean(outer)), outside)


def _square(family: PosteriorFamily, _: None, row: tuple[Array, Array]) -> Array:
    """|S^-1 (z - mu)|^2, chi-square of K degrees of freedom where z is a draw of q = N(mu, S S')."""
    phi_P, z_K = row
    mu_K, scale_KxK = family.gaussian.location_scale(phi_P)
    return jnp.sum((inverse_and_log_abs_det(scale_KxK)[0] @ (z_K - mu_K)) ** 2)


def _ranks(family: PosteriorFamily, num_draws: int, key: Key, row: tuple[Array, Array, Array]) -> Array:
    """rank_K of one datapoint's z among draws of its q."""
    phi_P, index, z_K = row
    eps_SxK = jax.random.normal(jax.random.fold_in(key, index), (num_draws, family.latent_dim))
    z_SxK = jax.vmap(family.reparameterize, (None, 0))(phi_P, eps_SxK)
    return jnp.sum(z_SxK < z_K[None, :], axis=0)
