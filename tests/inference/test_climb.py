"""Ascents of log p(x, z), on densities whose tops are known exactly."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.inference.climb import climb


def test_an_ascent_reaches_the_top_at_every_scale_from_ten_thousand_deviations_off():
    """The curvature is 1e-12 to 1e12, in two dimensions a hundred times different from each other."""
    direction_K = jnp.array([0.6, -0.8])

    def fall(sd):
        sd_K = sd * jnp.array([1.0, 100.0])
        end = climb(lambda z_K: -0.5 * jnp.sum((z_K / sd_K) ** 2), 1e4 * sd * direction_K, num_steps=60)
        return end.value

    assert np.all(np.asarray(jax.vmap(fall)(10.0 ** jnp.arange(-6.0, 5.0))) > -1e-2)


def test_an_ascent_steps_to_nothing_that_is_not_finite():
    def log_joint(z_K):
        return jnp.where(jnp.sum(z_K**2) < 4.0, jnp.sum(jnp.log(2.0 - jnp.abs(z_K))), jnp.nan)

    ends = jax.vmap(partial(climb, log_joint, num_steps=40))(jnp.array([[1.2, -1.2], [5.0, 5.0]]))
    assert np.isfinite(ends.value[0])
    assert ends.value[0] > 2.0 * math.log(2.0) - 0.05
    assert ends.value[1] == -np.inf
