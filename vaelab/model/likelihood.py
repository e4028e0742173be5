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


def student_t(*, degrees_of_freedom: float, min_variance: float) -> Likelihood:
    """prod_j t_nu(x_j; m_j, s_j) with out = [m_D, r_D] and s^2 = min_variance + softplus(r), nu > 0 fixed:

        log G((nu + 1)/2) - log G(nu/2) - 1/2 log(nu pi) - log s_j
            - (nu + 1)/2 log(1 + (x_j - m_j)^2 / (nu s_j^2))

    A value far off costs as its logarithm, and not as its square. The mean is m where nu > 1, and m all the
    same, the centre, where there is none.
    """
    nu = degrees_of_freedom
    log_norm = math.lgamma(0.5 * (nu + 1.0)) - math.lgamma(0.5 * nu) - 0.5 * math.log(nu * math.pi)

    def parameters(out_Q: Array) -> tuple[Array, Array]:
        mean_D, raw_D = jnp.split(out_Q, 2)
        return mean_D, jnp.sqrt(min_variance + jax.nn.softplus(raw_D))

    def log_prob(out_Q: Array, x_D: Array) -> Array:
        mean_D, scale_D = parameters(out_Q)
        square_D = ((x_D - mean_D) / scale_D) ** 2 / nu
        return jnp.sum(log_norm - jnp.log(scale_D) - 0.5 * (nu + 1.0) * jnp.log1p(square_D))

    def sample(key: Key, out_Q: Array) -> Array:
        mean_D, scale_D = parameters(out_Q)
        return mean_D + scale_D * jax.random.t(key, nu, mean_D.shape)

    return Likelihood("student_t", 2, log_prob, lambda out_Q: parameters(out_Q)[0], sample)


def _log_level(x: Array, centre: Array, log_scale: Array, half: float) -> Array:
    """log of the probability of a logistic distribution within half of x, at 0 and 1 with the tail beyond."""
    inverse = jnp.exp(-log_scale)
    below, above = (x - half - centre) * inverse, (x + half - centre) * inverse
    log_above_lower = jnp.where(x < half, 0.0, -_softplus(below))
    log_below_upper = jnp.where(x > 1.0 - half, 0.0, -_softplus(-above))
    inside = (x >= half) & (x <= 1.0 - half)
    width = jnp.where(inside, 2.0 * half * inverse, 1.0)
    # log(1 - e^-w), for w small and large alike.
    log_width = jnp.where(
        width < 0.7, jnp.log(-jnp.expm1(-width)), jnp.log1p(-jnp.exp(-jnp.maximum(width, 0.7)))
    )
    return log_above_lower + log_below_upper + jnp.where(inside, log_width, 0.0)


def _draw_level(key: Key, centre_D: Array, log_scale_D: Array, levels: int) -> Array:
    """x_D of the levels 0, 1/(L-1), ..., 1, the nearest to draws of the logistic distributions."""
    x_D = centre_D + jnp.exp(log_scale_D) * jax.random.logistic(key, centre_D.shape)
    return jnp.round(jnp.clip(x_D, 0.0, 1.0) * (levels - 1)) / (levels - 1)


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
        return jnp.sum(_log_level(x_D, *parameters(out_Q), half))

    def sample(key: Key, out_Q: Array) -> Array:
        return _draw_level(key, *parameters(out_Q), levels)

    def mean(out_Q: Array) -> Array:
        return jnp.clip(parameters(out_Q)[0], 0.0, 1.0)

    return Likelihood("discretized_logistic", 2, log_prob, mean, sample)


def discretized_logistic_mixture(
    *, levels: int, num_components: int, min_log_scale: float = -7.0
) -> Likelihood:
    """A mixture of M discretized logistics for each dimension, independent given z.

    With out = [l_MxD, m_MxD, r_MxD], weights softmax(l_j), centres (k - 1/2) / M + m_k and scales e^{r_k} / M
    for k = 1..M, whose logarithm is cut at min_log_scale and its negative,

        P(x_j) = sum_k softmax(l_j)_k P_k(x_j),    P_k that of `discretized_logistic`.

    At out = 0 the components share the range of x evenly; M = 1 is `discretized_logistic`. The mean is exact,
    (1 / (L - 1)) sum_e P(x > e) over the L - 1 edges e between levels. (Salimans et al. 2017, equation 2,
    without their sub-pixel autoregression.)
    """
    half = 0.5 / (levels - 1)

    def parameters(out_Q: Array) -> tuple[Array, Array, Array]:
        # Thirds of a flat vector: the gradient takes 0.4 times as long as through out_Q.reshape(3, M, D).
        parts = (part_Q.reshape(num_components, -1) for part_Q in jnp.split(out_Q, 3))
        logit_MxD, mean_MxD, raw_MxD = parts
        log_scale_MxD = jnp.clip(raw_MxD - math.log(num_components), min_log_scale, -min_log_scale)
        start_M = (jnp.arange(num_components, dtype=out_Q.dtype) + 0.5) / num_components
        return jax.nn.log_softmax(logit_MxD, axis=0), start_M[:, None] + mean_MxD, log_scale_MxD

    def log_prob(out_Q: Array, x_D: Array) -> Array:
        log_weight_MxD, centre_MxD, log_scale_MxD = parameters(out_Q)
        log_p_MxD = log_weight_MxD + _log_level(x_D[None, :], centre_MxD, log_scale_MxD, half)
        return jnp.sum(jax.nn.logsumexp(log_p_MxD, axis=0))

    def mean(out_Q: Array) -> Array:
        log_weight_MxD, centre_MxD, log_scale_MxD = parameters(out_Q)

        def add(j: int, total_D: Array) -> Array:
            above_MxD = jax.nn.sigmoid((centre_MxD - (2 * j + 1) * half) * jnp.exp(-log_scale_MxD))
            return total_D + jnp.sum(jnp.exp(log_weight_MxD) * above_MxD, axis=0)

        # A loop, as all edges at once would take L times the memory of x.
        return jax.lax.fori_loop(0, levels - 1, add, jnp.zeros_like(centre_MxD[0])) / (levels - 1)

    def sample(key: Key, out_Q: Array) -> Array:
        key_component, key_level = jax.random.split(key)
        log_weight_MxD, centre_MxD, log_scale_MxD = parameters(out_Q)
        chosen_1xD = jax.random.categorical(key_component, log_weight_MxD, axis=0)[None]
        centre_D, log_scale_D = (
            jnp.take_along_axis(a, chosen_1xD, axis=0)[0] for a in (centre_MxD, log_scale_MxD)
        )
        return _draw_level(key_level, centre_D, log_scale_D, levels)

    return Likelihood("discretized_logistic_mixture", 3 * num_components, log_prob, mean, sample)
