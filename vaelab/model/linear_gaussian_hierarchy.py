"""The linear-Gaussian model with a prior of linear levels: z and x are jointly Gaussian, and all is closed.

    z_L ~ N(0, I),    z_l given z_{l+1} ~ N(W_l' z_{l+1} + b_l, D_l^2),    x given z_1 ~ N(W z_1 + b, Psi)

With P = B'B the precision of z and a its mean, p(z given x) has the precision P + W~' Psi^-1 W~, W~ = [W, 0],
and the mean a + precision^-1 W~' Psi^-1 (x - b - W~ a).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from vaelab.model.hierarchy import conditional_init, hierarchy, linear_mean, linear_root
from vaelab.model.latent import first_level, with_prior
from vaelab.model.likelihood import LOG_2PI
from vaelab.model.linear_gaussian import LinearGaussianParams, gaussian_elbo, linear_gaussian, log_variances
from vaelab.types import Array, Exact, Key, LatentModel, Params

SPREAD = 0.8  # of the means of a level, in each dimension, of a variance of 1 under N(0, I) above it


def linear_gaussian_hierarchy(
    levels: tuple[int, ...],
    singular_values: Sequence[float],
    noise: float,
    data_dim: int,
    *,
    one_variance: bool = False,
) -> LatentModel:
    """x given z_1 is that of `linear_gaussian` in the K_1 numbers of the first level.

    theta has both as "likelihood" and "prior". With two levels z_1 is N(0, 1) in each number, with the
    part SPREAD^2 of its variance from z_2, along random directions, so that levels are correlated, and within
    each too. With more it is not: z_2 has a covariance C with correlations then, and a number of z_1 the
    variance 1 + w' (C - I) w, w its column of W_1.
    """
    likelihood = linear_gaussian(levels[0], singular_values, noise, data_dim, one_variance=one_variance)
    latent_dim = sum(levels)
    prior = hierarchy(latent_dim, levels=levels, hidden=0)

    def init(key: Key) -> Params:
        return {
            f"level_{l + 1}": conditional_init(
                jax.random.fold_in(key, l), levels[l + 1], levels[l], 0, spread=SPREAD
            )
            for l in range(len(levels) - 1)
        }

    def posterior(theta: Params, x_D: Array) -> tuple[Array, Array]:
        return _posterior(theta, levels, x_D)

    def log_evidence(theta: Params, x_D: Array) -> Array:
        return _log_evidence(theta, levels, x_D)

    def elbo(theta: Params, x_D: Array, mean_K: Array, scale_KxK: Array) -> Array:
        return gaussian_elbo(log_evidence(theta, x_D), posterior(theta, x_D), mean_K, scale_KxK)

    on_all = first_level(likelihood, latent_dim)
    return with_prior(on_all, prior._replace(init=init))._replace(
        exact=Exact(log_evidence=log_evidence, posterior=posterior, elbo=elbo),
    )


def _all_levels(theta: Params, levels: tuple[int, ...]) -> LinearGaussianParams:
    """The likelihood with the weight [W, 0] of all of z."""
    weight_DxK, bias_D, log_variance_D = theta["likelihood"]
    wide_DxK = jnp.pad(weight_DxK, ((0, 0), (0, sum(levels[1:]))))
    return LinearGaussianParams(wide_DxK, bias_D, log_variance_D)


def _posterior(theta: Params, levels: tuple[int, ...], x_D: Array) -> tuple[Array, Array]:
    """(mean_K, precision_KxK) of p(z given x)."""
    likelihood, root_KxK = _all_levels(theta, levels), linear_root(theta["prior"], levels)
    prior_mean_K = linear_mean(theta["prior"], levels)
    scaled_DxK = likelihood.weight_DxK * jnp.exp(-log_variances(likelihood))[:, None]
    precision_KxK = root_KxK.T @ root_KxK + scaled_DxK.T @ likelihood.weight_DxK
    residual_D = x_D - likelihood.bias_D - likelihood.weight_DxK @ prior_mean_K
    return prior_mean_K + jnp.linalg.solve(precision_KxK, scaled_DxK.T @ residual_D), precision_KxK


def _log_evidence(theta: Params, levels: tuple[int, ...], x_D: Array) -> Array:
    """log N(x; b + W~ a, W~ P^-1 W~' + Psi), as `linear_gaussian_log_evidence` has it for a = 0 and P = I."""
    likelihood, root_KxK = _all_levels(theta, levels), linear_root(theta["prior"], levels)
    mean_K, precision_KxK = _posterior(theta, levels, x_D)
    residual_D = x_D - likelihood.bias_D - likelihood.weight_DxK @ mean_K
    away_K = root_KxK @ (mean_K - linear_mean(theta["prior"], levels))
    square = jnp.sum(residual_D**2 * jnp.exp(-log_variances(likelihood))) + jnp.sum(away_K**2)
    # |C| = |Psi| |precision| / |P|, and |P| = |B|^2 with B triangular.
    log_det = jnp.sum(log_variances(likelihood)) + jnp.linalg.slogdet(precision_KxK)[1]
    log_det -= 2.0 * jnp.sum(jnp.log(jnp.diag(root_KxK)))
    return -0.5 * (residual_D.size * LOG_2PI + log_det + square)
