"""The linear-Gaussian model, in which every quantity of this project has a closed form."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.model.likelihood import LOG_2PI
from vaelab.model.prior import standard_normal
from vaelab.types import Array, Exact, Key, LatentModel


class LinearGaussianParams(NamedTuple):
    """x given z ~ N(W z + b, diag(exp(log_variance))), with one number in log_variance_D if all share it."""

    weight_DxK: Array
    bias_D: Array
    log_variance_D: Array


def log_variances(theta: LinearGaussianParams) -> Array:
    """The log of the variance of each dimension of x."""
    return jnp.broadcast_to(theta.log_variance_D, theta.bias_D.shape)


def linear_gaussian(
    latent_dim: int,
    singular_values: Sequence[float],
    noise: float,
    data_dim: int,
    *,
    one_variance: bool = False,
) -> LatentModel:
    """Factor analysis, or with one_variance probabilistic PCA: every quantity of this project in closed form.

    `init(key)` draws W = U diag(singular_values) V' with random orthonormal U, V, so that the posterior
    precision I + W' Psi^-1 W is correlated and its condition number is known; b ~ N(0, I) and every
    noise variance is noise^2. (Bishop 2006, section 12.2; Tipping & Bishop 1999.)
    """

    def init(key: Key) -> LinearGaussianParams:
        key_left, key_right, key_bias = jax.random.split(key, 3)
        left_DxK = jnp.linalg.qr(jax.random.normal(key_left, (data_dim, latent_dim)))[0]
        right_KxK = jnp.linalg.qr(jax.random.normal(key_right, (latent_dim, latent_dim)))[0]
        return LinearGaussianParams(
            weight_DxK=(left_DxK * jnp.asarray(singular_values, jnp.float32)[None, :]) @ right_KxK.T,
            bias_D=jax.random.normal(key_bias, (data_dim,)),
            log_variance_D=jnp.full(1 if one_variance else data_dim, 2.0 * np.log(noise), jnp.float32),
        )

    def mean(theta: LinearGaussianParams, z_K: Array) -> Array:
        return theta.weight_DxK @ z_K + theta.bias_D

    def log_likelihood(theta: LinearGaussianParams, x_D: Array, z_K: Array) -> Array:
        square_D = (x_D - mean(theta, z_K)) ** 2 * jnp.exp(-log_variances(theta))
        return -0.5 * jnp.sum(square_D + log_variances(theta) + LOG_2PI)

    def sample(theta: LinearGaussianParams, key: Key, z_K: Array) -> Array:
        eps_D = jax.random.normal(key, (data_dim,))
        return mean(theta, z_K) + jnp.exp(0.5 * log_variances(theta)) * eps_D

    prior = standard_normal(latent_dim)
    return LatentModel(
        latent_dim=latent_dim,
        init=init,
        log_prior=prior.log_prob,
        log_likelihood=log_likelihood,
        mean=mean,
        sample=sample,
        concavity=lambda theta, x_D: linear_gaussian_posterior(theta, x_D)[1],
        exact=Exact(
            log_evidence=linear_gaussian_log_evidence,
            posterior=linear_gaussian_posterior,
            elbo=linear_gaussian_elbo,
        ),
        sample_prior=prior.sample,
        prior=prior.name,
    )


def linear_gaussian_posterior(theta: LinearGaussianParams, x_D: Array) -> tuple[Array, Array]:
    """(mean_K, precision_KxK): precision = I + W' Psi^-1 W, mean = precision^-1 W' Psi^-1 (x - b)."""
    scaled_DxK = theta.weight_DxK * jnp.exp(-log_variances(theta))[:, None]
    precision_KxK = jnp.eye(theta.weight_DxK.shape[1]) + scaled_DxK.T @ theta.weight_DxK
    mean_K = jnp.linalg.solve(precision_KxK, scaled_DxK.T @ (x_D - theta.bias_D))
    return mean_K, precision_KxK


def linear_gaussian_log_evidence(theta: LinearGaussianParams, x_D: Array) -> Array:
    """log N(x; b, W W' + Psi), through the K x K precision (matrix determinant and Woodbury lemmas)."""
    mean_K, precision_KxK = linear_gaussian_posterior(theta, x_D)
    residual_D = x_D - theta.bias_D - theta.weight_DxK @ mean_K
    # (x - b)' C^-1 (x - b) is the least of (x - b - W z)' Psi^-1 (x - b - W z) + z' z, at z = m: two sums of
    # squares, where other forms subtract numbers as large as the squared ratio of signal to noise.
    square = jnp.sum(residual_D**2 * jnp.exp(-log_variances(theta))) + jnp.sum(mean_K**2)
    # |C| = |Psi| |precision|.
    log_det = jnp.sum(log_variances(theta)) + jnp.linalg.slogdet(precision_KxK)[1]
    return -0.5 * (residual_D.size * LOG_2PI + log_det + square)


def linear_gaussian_elbo(theta: LinearGaussianParams, x_D: Array, mean_K: Array, scale_KxK: Array) -> Array:
    """L[N(mean, S S')] = log p(x) - KL(N(mean, S S') || N(m, precision^-1)), where

    KL = 1/2 (mean - m)' precision (mean - m) + 1/2 (tr(S' precision S) - K - log|S' precision S|).
    """
    log_evidence, posterior = linear_gaussian_log_evidence(theta, x_D), linear_gaussian_posterior(theta, x_D)
    return gaussian_elbo(log_evidence, posterior, mean_K, scale_KxK)


def gaussian_elbo(
    log_evidence: Array, posterior: tuple[Array, Array], mean_K: Array, scale_KxK: Array
) -> Array:
    """The bound of `linear_gaussian_elbo` from log p(x) and the posterior's (mean_K, precision_KxK)."""
    posterior_mean_K, precision_KxK = posterior
    delta_K = mean_K - posterior_mean_K
    # With precision = C C', everything is in C' S: the trace is its squared norm, so nothing cancels.
    factor_KxK = jnp.linalg.cholesky(precision_KxK)
    product_KxK = factor_KxK.T @ scale_KxK
    kl = 0.5 * jnp.sum((factor_KxK.T @ delta_K) ** 2)
    kl += 0.5 * jnp.sum(product_KxK**2 - jnp.eye(delta_K.size)) - jnp.linalg.slogdet(product_KxK)[1]
    return log_evidence - kl


def linear_gaussian_mean_field(theta: LinearGaussianParams, x_D: Array) -> tuple[Array, Array]:
    """(mean_K, scale_KxK) of the best diagonal q: the posterior mean and sigma_i^2 = 1 / precision_ii."""
    mean_K, precision_KxK = linear_gaussian_posterior(theta, x_D)
    return mean_K, jnp.diag(jnp.diag(precision_KxK) ** -0.5)
