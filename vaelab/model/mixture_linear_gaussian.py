"""The linear-Gaussian model under a mixture prior, whose posteriors have several modes, all of them known.

    z ~ sum_m w_m N(a_m, diag(s_m^2)),        x given z ~ N(W z + b, Psi)

Given its component z = a_m + s_m u with u ~ N(0, I), so that x is linear-Gaussian in u, of the weight
W diag(s_m) and the bias b + W a_m. So p(x) = sum_m w_m p_m(x), p_m that model's, and the posterior is the
mixture of its posteriors with the weights w_m p_m(x) / p(x).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from vaelab.linalg import inverse_and_log_abs_det
from vaelab.model.latent import with_prior
from vaelab.model.linear_gaussian import (
    LinearGaussianParams,
    linear_gaussian,
    linear_gaussian_log_evidence,
    linear_gaussian_posterior,
)
from vaelab.model.mixture import mixture
from vaelab.types import Array, LatentModel, Params


def mixture_linear_gaussian(
    latent_dim: int, singular_values: Sequence[float], noise: float, data_dim: int, *, num_components: int
) -> LatentModel:
    """p(x given z) of `linear_gaussian`, p(z) of `mixture`; theta has both as "likelihood" and "prior"."""
    return with_prior(
        linear_gaussian(latent_dim, singular_values, noise, data_dim),
        mixture(latent_dim, num_components=num_components),
    )


def _of_component(likelihood: LinearGaussianParams, mean_K: Array, scale_K: Array) -> LinearGaussianParams:
    """The linear-Gaussian model of x in u, z = mean + scale u."""
    weight_DxK, bias_D, log_variance_D = likelihood
    return LinearGaussianParams(weight_DxK * scale_K[None, :], bias_D + weight_DxK @ mean_K, log_variance_D)


def _log_joint_M(theta: Params, x_D: Array) -> Array:
    """log w_m + log p_m(x) of each component."""
    prior = theta["prior"]

    def one(mean_K: Array, log_scale_K: Array) -> Array:
        of_u = _of_component(theta["likelihood"], mean_K, jnp.exp(log_scale_K))
        return linear_gaussian_log_evidence(of_u, x_D)

    log_p_M = jax.vmap(one)(prior["mean_MxK"], prior["log_scale_MxK"])
    return jax.nn.log_softmax(prior["logit_M"]) + log_p_M


def mixture_linear_gaussian_log_evidence(theta: Params, x_D: Array) -> Array:
    """log sum_m w_m N(x; b + W a_m, W diag(s_m^2) W' + Psi)."""
    return jax.nn.logsumexp(_log_joint_M(theta, x_D))


def mixture_linear_gaussian_posterior(theta: Params, x_D: Array) -> tuple[Array, Array, Array]:
    """(log_weight_M, mean_MxK, precision_MxKxK) of the posterior sum_m weight_m N(mean_m, precision_m^-1).

    precision_m = diag(s_m^-2) + W' Psi^-1 W.
    """
    log_joint_M = _log_joint_M(theta, x_D)

    def one(mean_K: Array, log_scale_K: Array) -> tuple[Array, Array]:
        scale_K = jnp.exp(log_scale_K)
        of_u = _of_component(theta["likelihood"], mean_K, scale_K)
        u_K, precision_KxK = linear_gaussian_posterior(of_u, x_D)
        return mean_K + scale_K * u_K, precision_KxK / (scale_K[:, None] * scale_K[None, :])

    mean_MxK, precision_MxKxK = jax.vmap(one)(theta["prior"]["mean_MxK"], theta["prior"]["log_scale_MxK"])
    return log_joint_M - jax.nn.logsumexp(log_joint_M), mean_MxK, precision_MxKxK


def mixture_linear_gaussian_bounds(theta: Params, x_D: Array) -> tuple[Array, Array]:
    """(diagonal_M, full_M): L[q] at the best q of either family for one component's posterior alone.

    full_m = log w_m + log p_m(x), and diagonal_m less by 1/2 (sum_i log P_ii - log|P|), P = precision_m. As
    p(x, z) is at least any one of its terms, each is a lower bound of the bound L that this q really has;
    they are equal but for the mass that q puts where other components are as dense.
    """
    full_M = _log_joint_M(theta, x_D)
    _, _, precision_MxKxK = mixture_linear_gaussian_posterior(theta, x_D)
    diagonal_MxK = jnp.diagonal(precision_MxKxK, axis1=1, axis2=2)
    log_det_M = jax.vmap(inverse_and_log_abs_det)(precision_MxKxK)[1]
    loss_M = 0.5 * (jnp.sum(jnp.log(diagonal_MxK), axis=1) - log_det_M)
    return full_M - loss_M, full_M
