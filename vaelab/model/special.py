"""Functions behind densities that lose no digits in float32 where their textbook forms cancel.

Saddle-point forms of binomial-like densities (Loader 2000, "Fast and accurate computation of binomial
probabilities"): the large terms of x log r - r - log x! are taken apart so that only small ones are left.
"""

import math

import jax
import jax.numpy as jnp

from vaelab.types import Array

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
SERIES_FROM = 10.0  # where Stirling's series is better in float32 than the difference of logarithms


@jax.custom_jvp
def excess(d: Array) -> Array:
    """e^d - 1 - d, which is d^2 / 2 near 0, to float32's digits; its derivative is e^d - 1."""
    small = jnp.abs(d) < 0.3
    near = jnp.where(small, d, 0.0)
    # d^2/2 (1 + d/3 (1 + d/4 (1 + ...))): the next term is below 1e-9 of it.
    series = jnp.ones_like(near)
    for n in range(9, 2, -1):
        series = 1.0 + near / n * series
    return jnp.where(small, 0.5 * near**2 * series, jnp.expm1(d) - d)


excess.defjvps(lambda tangent, value, d: jnp.expm1(d) * tangent)


def stirling_error(a: Array) -> Array:
    """log Gamma(a + 1) - (a + 1/2) log a + a - 1/2 log 2 pi for a > 0: what Stirling's formula lacks."""
    large = a >= SERIES_FROM
    inverse = 1.0 / jnp.where(large, a, SERIES_FROM)
    square = inverse**2
    series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square / 1260.0))
    safe = jnp.where(large, 1.0, a)
    direct = jax.lax.lgamma(safe + 1.0) - (safe + 0.5) * jnp.log(safe) + safe - HALF_LOG_2PI
    return jnp.where(large, series, direct)
