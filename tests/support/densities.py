"""A likelihood of one-dimensional x at many outputs and x at once, compiled once for each likelihood."""

import functools

import jax
import numpy as np


@functools.lru_cache
def compiled(likelihood):
    return jax.jit(jax.vmap(likelihood.log_prob)), jax.jit(jax.vmap(jax.grad(likelihood.log_prob)))


def each(likelihood, out_NxQ, x_N):
    """log p, and its gradient in the output, in float64."""
    given = np.float32(out_NxQ), np.float32(x_N)[:, None]
    return tuple(np.float64(part(*given)) for part in compiled(likelihood))
