"""Latent-variable models p(x, z) = p(x given z) p(z)."""

import jax
import jax.numpy as jnp

from vaelab.errors import ConfigError
from vaelab.model.likelihood import Likelihood
from vaelab.model.prior import Prior, standard_normal
from vaelab.types import Array, Key, LatentModel, LogJoint, Network, Params


def decoder_model(
    latent_dim: int, decoder: Network, likelihood: Likelihood, *, affine: bool = False
) -> LatentModel:
    """p(x given z) = likelihood(decoder(z)) under N(0, I), with theta the decoder's parameters.

    affine: whether the decoder is. Under a likelihood that is concave in its output log p(x given z) is then
    concave in z, and the prior alone makes -Hessian of log p(x, z) >= I.
    """
    concave, prior = affine and likelihood.concave, standard_normal(latent_dim)
    return LatentModel(
        latent_dim=latent_dim,
        init=decoder.init,
        log_prior=prior.log_prob,
        log_likelihood=lambda theta, x_D, z_K: likelihood.log_prob(decoder.apply(theta, z_K), x_D),
        mean=lambda theta, z_K: likelihood.mean(decoder.apply(theta, z_K)),
        sample=lambda theta, key, z_K: likelihood.sample(key, decoder.apply(theta, z_K)),
        concavity=(lambda theta, x_D: jnp.eye(latent_dim)) if concave else None,
        sample_prior=prior.sample,
        prior=prior.name,
    )


def first_level(model: LatentModel, latent_dim: int) -> LatentModel:
    """A model whose p(x given z) reads the first of latent_dim dimensions alone, under N(0, I) of all."""
    size, prior = model.latent_dim, standard_normal(latent_dim)

    def concavity(theta: Params, x_D: Array) -> Array:
        return jnp.eye(latent_dim).at[:size, :size].set(model.concavity(theta, x_D))

    mean, sample, given = model.mean, model.sample, model.given
    return model._replace(
        latent_dim=latent_dim,
        log_likelihood=lambda theta, x_D, z_K: model.log_likelihood(theta, x_D, z_K[:size]),
        mean=None if mean is None else lambda theta, z_K: mean(theta, z_K[:size]),
        sample=None if sample is None else lambda theta, key, z_K: sample(theta, key, z_K[:size]),
        concavity=concavity if model.concavity else None,
        exact=None,
        sample_prior=prior.sample,
        given=given
        and given._replace(
            mean=lambda theta, z_K, y_C: given.mean(theta, z_K[:size], y_C),
            sample=lambda theta, key, z_K, y_C: given.sample(theta, key, z_K[:size], y_C),
        ),
    )


def with_prior(model: LatentModel, prior: Prior) -> LatentModel:
    """The model of this p(x given z) with another prior than its N(0, I).

    Returns: a model of theta = {"likelihood": the model's own, "prior": the prior's}. Where minus the Hessian
    of log p(x given z) + log N(z; 0, I) is >= C at every z and that of log p(z) >= P, its own is >= C - I
    + P.
    """

    def init(key: Key) -> Params:
        return {"likelihood": model.init(key), "prior": prior.init(jax.random.fold_in(key, 1))}

    def concavity(theta: Params, x_D: Array) -> Array:
        whole_KxK, own_KxK = model.concavity(theta["likelihood"], x_D), prior.concavity(theta["prior"])
        return whole_KxK + own_KxK - jnp.eye(model.latent_dim)

    mean, sample, draw, tie = model.mean, model.sample, prior.sample, prior.tie
    fast, of_levels, given = prior.fast_log_prob, prior.log_prob_of_levels, model.given
    return LatentModel(
        latent_dim=model.latent_dim,
        init=init,
        log_prior=lambda theta, z_K: prior.log_prob(theta["prior"], z_K),
        log_likelihood=lambda theta, x_D, z_K: model.log_likelihood(theta["likelihood"], x_D, z_K),
        mean=None if mean is None else lambda theta, z_K: mean(theta["likelihood"], z_K),
        sample=None if sample is None else lambda theta, key, z_K: sample(theta["likelihood"], key, z_K),
        concavity=concavity if model.concavity and prior.concavity else None,
        sample_prior=None if draw is None else lambda theta, key: draw(theta["prior"], key),
        prior=prior.name,
        tie=None if tie is None else lambda theta, psi: theta | {"prior": tie(theta["prior"], psi)},
        fast_log_prior=None if fast is None else lambda theta, z_K: fast(theta["prior"], z_K),
        levels=prior.levels,
        log_prior_of_levels=None if of_levels is None else lambda theta, z_K: of_levels(theta["prior"], z_K),
        given=given
        and given._replace(
            mean=lambda theta, z_K, y_C: given.mean(theta["likelihood"], z_K, y_C),
            sample=lambda theta, key, z_K, y_C: given.sample(theta["likelihood"], key, z_K, y_C),
        ),
    )


def in_training(model: LatentModel) -> LatentModel:
    """The model with its `fast_log_prior`, where it has one; what is measured is the model itself."""
    return model if model.fast_log_prior is None else model._replace(log_prior=model.fast_log_prior)


def bind(model: LatentModel, theta: Params, x_D: Array) -> LogJoint:
    """z_K -> log p(x, z) at one datapoint."""
    return lambda z_K: model.log_likelihood(theta, x_D, z_K) + model.log_prior(theta, z_K)


def simulate(model: LatentModel, theta: Params, key: Key) -> tuple[Array, Array]:
    """(z_K, x_D) from the model. Raises ConfigError where its prior or its likelihood cannot be sampled."""
    check_sampled(model)
    key_z, key_x = jax.random.split(key)
    z_K = model.sample_prior(theta, key_z)
    return z_K, model.sample(theta, key_x, z_K)


def check_sampled(model: LatentModel) -> None:
    """Raises ConfigError where no datapoint can be drawn from the model."""
    parts = {f"the prior {model.prior}": model.sample_prior, "the likelihood": model.sample}
    for part, function in parts.items():
        if function is None:
            given = "" if model.given is None else " without y: give a y to `model.given.sample`"
            raise ConfigError(f"no datapoint can be simulated: {part} has no `sample`{given}")
