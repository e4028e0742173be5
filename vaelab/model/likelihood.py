"""p(x given z): what the decoder's output means.

A decoder returns a flat vector `out_Q`; a likelihood turns it into a factorised density over x_D.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.types import Array, Key

LOG_2PI = math.log(2.0 * math.pi)


class Likelihood(NamedTuple):
    """A factorised density over x_D given a decoder's output of size Q = outputs_per_dim * D + len(learned).

    concave: whether log p is concave in the part of out_Q that z moves.
    learned: the starting values of the last outputs, which are parameters that no z moves.
    log_prob(out_Q, x_D) -> []      log p(x given z), nats, normalised
    mean(out_Q) -> x_D              E[x given z]; for a discretized logistic its centre
    sample(key, out_Q) -> x_D       x ~ p(x given z)
    """

    name: str
    outputs_per_dim: int
    log_prob: Callable[[Array, Array], Array]
    mean: Callable[[Array], Array]
    sample: Callable[[Key, Array], Array]
    concave: bool = False
    learned: tuple[float, ...] = ()


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
        concave=True,
    )


def _gaussian(name: str, parameters: Callable[[Array], tuple[Array, Array]], **sizes) -> Likelihood:
    """prod_j N(x_j; m_j, v_j) with (m_D, v_D) = parameters(out_Q)."""

    def log_prob(out_Q: Array, x_D: Array) -> Array:
        mean_D, variance_D = parameters(out_Q)
        return -0.5 * jnp.sum((x_D - mean_D) ** 2 / variance_D + jnp.log(variance_D) + LOG_2PI)

    def sample(key: Key, out_Q: Array) -> Array:
        mean_D, variance_D = parameters(out_Q)
        return mean_D + jnp.sqrt(variance_D) * jax.random.normal(key, mean_D.shape)

    return Likelihood(
        name=name, log_prob=log_prob, mean=lambda out_Q: parameters(out_Q)[0], sample=sample, **sizes
    )


def gaussian(*, min_variance: float) -> Likelihood:
    """prod_j N(x_j; m_j, v_j) with out = [m_D, r_D] and v = min_variance + softplus(r).

    The floor keeps the likelihood bounded on dimensions that never vary (a pixel that is always
    black), where the maximum-likelihood variance is 0 and log p(x) has no upper bound.
    """

    def parameters(out_Q: Array) -> tuple[Array, Array]:
        mean_D, raw_D = jnp.split(out_Q, 2)
        return mean_D, min_variance + jax.nn.softplus(raw_D)

    return _gaussian("gaussian", parameters, outputs_per_dim=2)


def gaussian_one_variance(*, min_variance: float) -> Likelihood:
    """prod_j N(x_j; m_j, v) with out = [m_D, r], v = min_variance + softplus(r) one learned number."""

    def parameters(out_Q: Array) -> tuple[Array, Array]:
        mean_D = out_Q[:-1]
        return mean_D, jnp.broadcast_to(min_variance + jax.nn.softplus(out_Q[-1]), mean_D.shape)

    return _gaussian("gaussian_one_variance", parameters, outputs_per_dim=1, concave=True, learned=(0.0,))


def discretized_logistic(*, levels: int, min_log_scale: float = -7.0) -> Likelihood:
    """A probability for each value 0, 1/(L-1), ..., 1 of x_j: a logistic distribution rounded to them.

    With out = [m_D, r_D], centre 1/2 + m, scale s = e^r, |r| cut at -min_log_scale, and h = 1/(2 (L - 1)),

        P(x) = sigmoid(b) - sigmoid(a),    a = (x - h - 1/2 - m) / s,  b = (x + h - 1/2 - m) / s,

    and the lowest and highest values take the tails: the sum over the L values is 1. It is computed as
    sigmoid(b) sigmoid(-a) (1 - e^{-(b - a)}), which loses no digits far from the centre, where the two
    sigmoids agree. (Salimans et al. 2017, section 2.1.)
    """
    half = 0.5 / (levels - 1)

    def parameters(out_Q: Array) -> tuple[Array, Array]:
        mean_D, log_scale_D = jnp.split(out_Q, 2)
        return 0.5 + mean_D, jnp.clip(log_scale_D, min_log_scale, -min_log_scale)

    def log_prob(out_Q: Array, x_D: Array) -> Array:
        mean_D, log_scale_D = parameters(out_Q)
        inverse_D = jnp.exp(-log_scale_D)
        below_D, above_D = (x_D - half - mean_D) * inverse_D, (x_D + half - mean_D) * inverse_D
        log_above_lower = jnp.where(x_D < half, 0.0, -_softplus(below_D))
        log_below_upper = jnp.where(x_D > 1.0 - half, 0.0, -_softplus(-above_D))
        inside_D = (x_D >= half) & (x_D <= 1.0 - half)
        width_D = jnp.where(inside_D, 2.0 * half * inverse_D, 1.0)
        # log(1 - e^-w), for w small and large alike.
        log_width_D = jnp.where(
            width_D < 0.7, jnp.log(-jnp.expm1(-width_D)), jnp.log1p(-jnp.exp(-jnp.maximum(width_D, 0.7)))
        )
        return jnp.sum(log_above_lower + log_below_upper + jnp.where(inside_D, log_width_D, 0.0))

    def sample(key: Key, out_Q: Array) -> Array:
        mean_D, log_scale_D = parameters(out_Q)
        x_D = mean_D + jnp.exp(log_scale_D) * jax.random.logistic(key, mean_D.shape)
        return jnp.round(jnp.clip(x_D, 0.0, 1.0) * (levels - 1)) / (levels - 1)

    def mean(out_Q: Array) -> Array:
        return jnp.clip(parameters(out_Q)[0], 0.0, 1.0)

    return Likelihood("discretized_logistic", 2, log_prob, mean, sample)
