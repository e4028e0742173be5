"""Priors p(z)."""

import jax.numpy as jnp

from vaelab.model.likelihood import LOG_2PI
from vaelab.types import Array


def standard_normal_log_prob(z_K: Array) -> Array:
    """log N(z; 0, I)."""
    return -0.5 * jnp.sum(z_K**2 + LOG_2PI)
