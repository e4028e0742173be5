"""What goes to ArviZ: samples of q, log weights whose mean is the ELBO, log-likelihoods with ArviZ's sign."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.oracles import LinearGaussian

K, D, N, S = 2, 4, 3, 4000
EXACT = LinearGaussian.random(np.random.default_rng(1), D, (1.5, 0.7), 1.0)


def log_likelihood(x_D, z_K):
    """Log p(x given z) of EXACT."""
    off_D = x_D - jnp.float32(EXACT.weight) @ z_K - jnp.float32(EXACT.bias)
    return -0.5 * jnp.sum(off_D**2 / EXACT.noise_var + jnp.log(2.0 * jnp.pi * EXACT.noise_var))


@pytest.fixture(scope="module")
def x_NxD():
    return np.float32(EXACT.sample(np.random.default_rng(2), N))
