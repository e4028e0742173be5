"""Priors p(z): the record that every one of them is, and N(0, I)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.model.likelihood import LOG_2PI
from vaelab.types import Array, Key, LatentModel, Params


class Prior(NamedTuple):
    """p(z) over K latent dimensions, with parameters that are `theta["prior"]` of the model; nats.

    name                         the name in PRIORS
    init(key) -> params          a tree of dicts of arrays
    log_prob(params, z_K) -> []  log p(z), normalised
    sample(params, key) -> z_K   z ~ p(z); None where it is not known how
    concavity(params) -> C_KxK   positive definite, with -Hessian of log p(z) >= C at every z; None where
                                 log p(z) is not known to be concave
    tie(params, psi) -> params   with what is a function of an encoder's parameters; None where nothing is
    fast_log_prob                log_prob with fewer digits in less time, for training alone; None for itself
    levels                       of a hierarchy, how many dimensions each level of z has; () of any other
    log_prob_of_levels(params, z_K) -> [L]
                                 its parts, log p(z_l given z_{l+1}), whose sum is log p(z); None likewise
    """

    name: str
    init: Callable[[Key], Params]
    log_prob: Callable[[Params, Array], Array]
    sample: Callable[[Params, Key], Array] | None
    concavity: Callable[[Params], Array] | None = None
    tie: Callable[[Params, Params], Params] | None = None
    fast_log_prob: Callable[[Params, Array], Array] | None = None
    levels: tuple[int, ...] = ()
    log_prob_of_levels: Callable[[Params, Array], Array] | None = None


def standard_normal_log_prob(z_K: Array) -> Array:
    """log N(z; 0, I)."""
    return -0.5 * jnp.sum(z_K**2 + LOG_2PI)


def standard_normal_log_prior(theta: Params, z_K: Array) -> Array:
    """log N(z; 0, I), as a `LatentModel` has it. A model with this very function is known to have N(0, I)."""
    return standard_normal_log_prob(z_K)


def has_known_prior(model: LatentModel) -> bool:
    """Whether the prior is known to be N(0, I): it may be learned, or hidden in a user's log p(x, z)."""
    return model.log_prior is standard_normal_log_prior


def standard_normal(latent_dim: int) -> Prior:
    """N(0, I), without parameters: theta is then the decoder's alone."""
    return Prior(
        name="standard_normal",
        init=lambda key: {},
        log_prob=standard_normal_log_prior,
        sample=lambda params, key: jax.random.normal(key, (latent_dim,)),
        concavity=lambda params: jnp.eye(latent_dim),
    )
