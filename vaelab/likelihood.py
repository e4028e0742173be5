"""p(x given z): what the decoder's output means.

A decoder returns a flat vector `out_Q`; a likelihood turns it into a factorised density over x_D.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.types import Array, Key

LOG_2PI = math.log(2.0 * math.pi)


class Likelihood(NamedTuple):
    """A factorised density over x_D given a decoder's output of size Q = outputs_per_dim * D.

    log_prob(out_Q, x_D) -> []      log p(x given z), nats, normalised
    mean(out_Q) -> x_D              E[x given z]
    sample(key, out_Q) -> x_D       x ~ p(x given z)
    """

    name: str
    outputs_per_dim: int
    log_prob: Callable[[Array, Array], Array]
    mean: Callable[[Array], Array]
    sample: Callable[[Key, Array], Array]


@jax.custom_jvp
def _softplus(a: Array) -> Array:
    return jnp.maximum(a, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(a)))


# With the derivative given as a sigmoid, a gradient alone takes one exponential for each dimension and no
# logarithm: 3 times cheaper than jax.nn.softplus, on the hottest line of the inner loop.
_softplus.defjvps(lambda tangent, value, a: jax.nn.sigmoid(a) * tangent)


def _bernoulli_log_prob(logit_D: Array, x_D: Array) -> Array:
    return jnp.sum(x_D * logit_D - _softplus(logit_D))


def bernoulli() -> Likelihood:
    """prod_j Bernoulli(x_j; sigmoid(l_j)) with l = out_D; log p = sum_j x_j l_j - log(1 + e^{l_j})."""
    return Likelihood(
        name="bernoulli",
        outputs_per_dim=1,
        log_prob=_bernoulli_log_prob,
        mean=jax.nn.sigmoid,
        sample=lambda key, logit_D: jax.random.bernoulli(key, jax.nn.sigmoid(logit_D)).astype(logit_D.dtype),
    )


def _mean_and_variance(out_Q: Array, min_variance: float) -> tuple[Array, Array]:
    mean_D, raw_D = jnp.split(out_Q, 2)
    return mean_D, min_variance + jax.nn.softplus(raw_D)


def _gaussian_log_prob(out_Q: Array, x_D: Array, *, min_variance: float) -> Array:
    mean_D, variance_D = _mean_and_variance(out_Q, min_variance)
    return -0.5 * jnp.sum((x_D - mean_D) ** 2 / variance_D + jnp.log(variance_D) + LOG_2PI)


def gaussian(*, min_variance: float) -> Likelihood:
    """prod_j N(x_j; m_j, v_j) with out = [m_D, r_D] and v = min_variance + softplus(r).

    The floor keeps the likelihood bounded on dimensions that never vary (a pixel that is always
    black), where the maximum-likelihood variance is 0 and log p(x) has no upper bound.
    """
    return Likelihood(
        name="gaussian",
        outputs_per_dim=2,
        log_prob=partial(_gaussian_log_prob, min_variance=min_variance),
        mean=lambda out_Q: _mean_and_variance(out_Q, min_variance)[0],
        sample=partial(_gaussian_sample, min_variance=min_variance),
    )


def _gaussian_sample(key: Key, out_Q: Array, *, min_variance: float) -> Array:
    mean_D, variance_D = _mean_and_variance(out_Q, min_variance)
    return mean_D + jnp.sqrt(variance_D) * jax.random.normal(key, mean_D.shape)
