"""Likelihoods of x_j in [0, 1]: grey values as they are, shares, values that a device has clipped."""

import jax
import jax.numpy as jnp

from vaelab.model.likelihood import LOG_2PI, Likelihood
from vaelab.model.special import HALF_LOG_2PI, excess, stirling_error
from vaelab.types import Array, Key

NEAR_HALF = 0.02  # of |logit|, below which series stand for what cancels
EDGE = 2.0**-18  # a quarter of a step of 16 bits: densities on (0, 1) are taken no nearer to its ends
LOG_SHAPE = (-7.0, 9.0)  # of the shapes of a Beta


def _log_sinhc(h: Array) -> Array:
    """log(sinh(h) / h) for h >= 0."""
    near = jnp.where(h < 0.1, h, 0.0) ** 2
    far = jnp.maximum(h, 0.1)
    series = near * (1.0 / 6.0 - near * (1.0 / 180.0 - near / 2835.0))
    return jnp.where(h < 0.1, series, far + jnp.log1p(-jnp.exp(-2.0 * far)) - jnp.log(2.0 * far))


def _mean_of_logit(logit: Array) -> Array:
    """1 / (1 - e^-l) - 1 / l."""
    near = jnp.abs(logit) < 10.0 * NEAR_HALF
    safe, small = jnp.where(near, 1.0, logit), jnp.where(near, logit, 0.0)
    series = 0.5 + small / 12.0 - small**3 / 720.0
    return jnp.where(near, series, 1.0 / -jnp.expm1(-safe) - 1.0 / safe)


def continuous_bernoulli() -> Likelihood:
    """prod_j C(l_j) exp(x_j l_j), x_j in [0, 1], with logits l = out_D and 1 / C(l) = (e^l - 1) / l.

    What a Bernoulli likelihood of grey values lacks to be a density. log C = -l/2 - log(sinh(l/2) / (l/2)),
    of which nothing cancels near l = 0. (Loaiza-Ganem & Cunningham 2019, equations 2 and 3.)
    """

    def log_prob(logit_D: Array, x_D: Array) -> Array:
        return jnp.sum((x_D - 0.5) * logit_D - _log_sinhc(0.5 * jnp.abs(logit_D)))

    def sample(key: Key, logit_D: Array) -> Array:
        u_D = jax.random.uniform(key, logit_D.shape)
        near = jnp.abs(logit_D) < NEAR_HALF
        size_D = jnp.where(near, 1.0, jnp.abs(logit_D))
        # From the end where the density is high: 1 + log(u + (1 - u) e^-l) / l for l > 0.
        high_D = 1.0 + jnp.log(u_D + (1.0 - u_D) * jnp.exp(-size_D)) / size_D
        x_D = jnp.where(logit_D > 0.0, high_D, 1.0 - high_D)
        return jnp.clip(jnp.where(near, u_D + 0.5 * logit_D * u_D * (1.0 - u_D), x_D), 0.0, 1.0)

    return Likelihood("continuous_bernoulli", 1, log_prob, _mean_of_logit, sample, concave=True)


def beta() -> Likelihood:
    """prod_j Beta(x_j; a_j, b_j) with out = [log a, log b], x_j in (0, 1): (a - 1) log x + (b - 1) log(1 - x)
    - log B(a, b), in saddle-point form. x at an end is taken as 2^-18 from it.
    """

    def shapes(out_Q: Array) -> tuple[Array, Array]:
        log_a_D, log_b_D = jnp.split(jnp.clip(out_Q, *LOG_SHAPE), 2)
        return log_a_D, log_b_D

    def log_prob(out_Q: Array, x_D: Array) -> Array:
        log_a_D, log_b_D = shapes(out_Q)
        a_D, b_D = jnp.exp(log_a_D), jnp.exp(log_b_D)
        x_D = jnp.clip(x_D, EDGE, 1.0 - EDGE)
        log_total_D, log_x_D, log_rest_D = jnp.log(a_D + b_D), jnp.log(x_D), jnp.log1p(-x_D)
        fit_D = a_D * excess(log_x_D + log_total_D - log_a_D)
        fit_D += b_D * excess(log_rest_D + log_total_D - log_b_D)
        lacks_D = stirling_error(a_D + b_D) - stirling_error(a_D) - stirling_error(b_D)
        normal_D = 0.5 * (log_a_D + log_b_D - log_total_D) - HALF_LOG_2PI
        return jnp.sum(normal_D + lacks_D - fit_D - log_x_D - log_rest_D)

    def mean(out_Q: Array) -> Array:
        log_a_D, log_b_D = shapes(out_Q)
        return jax.nn.sigmoid(log_a_D - log_b_D)

    def sample(key: Key, out_Q: Array) -> Array:
        log_a_D, log_b_D = shapes(out_Q)
        # Of two Gammas in logarithms, as those of small shapes underflow.
        key_a, key_b = jax.random.split(key)
        log_x_D, log_y_D = (
            jax.random.loggamma(k, jnp.exp(s)) for k, s in ((key_a, log_a_D), (key_b, log_b_D))
        )
        return jnp.clip(jax.nn.sigmoid(log_x_D - log_y_D), EDGE, 1.0 - EDGE)

    return Likelihood("beta", 2, log_prob, mean, sample)


def clipped_gaussian(*, min_variance: float) -> Likelihood:
    """prod_j of N(m_j, v_j) clipped to [0, 1], with out = [m_D, r_D] and v = min_variance + softplus(r).

    x = 0 has the mass Phi(-m / s), x = 1 the mass Phi((m - 1) / s), and between them stands the density of
    N(m, v): together they are 1.
    """

    def parameters(out_Q: Array) -> tuple[Array, Array]:
        mean_D, raw_D = jnp.split(out_Q, 2)
        return mean_D, jnp.sqrt(min_variance + jax.nn.softplus(raw_D))

    def log_prob(out_Q: Array, x_D: Array) -> Array:
        mean_D, sd_D = parameters(out_Q)
        inside_D = -0.5 * (((x_D - mean_D) / sd_D) ** 2 + LOG_2PI) - jnp.log(sd_D)
        # The side is chosen first, so that the other's tail spoils no gradient.
        tail_D = jnp.where(x_D <= 0.0, -mean_D, mean_D - 1.0) / sd_D
        at_end = (x_D <= 0.0) | (x_D >= 1.0)
        ends_D = jax.scipy.special.log_ndtr(jnp.where(at_end, tail_D, 0.0))
        return jnp.sum(jnp.where(at_end, ends_D, inside_D))

    def mean(out_Q: Array) -> Array:
        mean_D, sd_D = parameters(out_Q)
        low_D, high_D = -mean_D / sd_D, (1.0 - mean_D) / sd_D
        cdf, pdf = jax.scipy.stats.norm.cdf, jax.scipy.stats.norm.pdf
        inside_D = mean_D * (cdf(high_D) - cdf(low_D)) + sd_D * (pdf(low_D) - pdf(high_D))
        return inside_D + cdf(-high_D)

    def sample(key: Key, out_Q: Array) -> Array:
        mean_D, sd_D = parameters(out_Q)
        return jnp.clip(mean_D + sd_D * jax.random.normal(key, mean_D.shape), 0.0, 1.0)

    return Likelihood("clipped_gaussian", 2, log_prob, mean, sample)
