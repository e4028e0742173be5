"""Latent-variable models p(x, z) = p(x given z) p(z)."""

import jax
import jax.numpy as jnp

from vaelab.model.likelihood import Likelihood
from vaelab.model.prior import standard_normal_log_prob
from vaelab.types import Array, Key, LatentModel, LogJoint, Network, Params


def decoder_model(
    latent_dim: int, decoder: Network, likelihood: Likelihood, *, affine: bool = False
) -> LatentModel:
    """p(x given z) = likelihood(decoder(z)), with theta the decoder's parameters.

    affine: whether the decoder is. Under a likelihood that is concave in its output log p(x given z) is then
    concave in z, and the prior alone makes -Hessian of log p(x, z) >= I.
    """
    concave = affine and likelihood.concave
    return LatentModel(
        latent_dim=latent_dim,
        init=decoder.init,
        log_prior=standard_normal_log_prob,
        log_likelihood=lambda theta, x_D, z_K: likelihood.log_prob(decoder.apply(theta, z_K), x_D),
        mean=lambda theta, z_K: likelihood.mean(decoder.apply(theta, z_K)),
        sample=lambda theta, key, z_K: likelihood.sample(key, decoder.apply(theta, z_K)),
        concavity=(lambda theta, x_D: jnp.eye(latent_dim)) if concave else None,
    )


def bind(model: LatentModel, theta: Params, x_D: Array) -> LogJoint:
    """z_K -> log p(x, z) at one datapoint."""
    return lambda z_K: model.log_likelihood(theta, x_D, z_K) + model.log_prior(z_K)


def simulate(model: LatentModel, theta: Params, key: Key) -> tuple[Array, Array]:
    """(z_K, x_D) from the model with the prior N(0, I)."""
    key_z, key_x = jax.random.split(key)
    z_K = jax.random.normal(key_z, (model.latent_dim,))
    return z_K, model.sample(theta, key_x, z_K)
