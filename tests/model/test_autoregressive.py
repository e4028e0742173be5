"""An autoregressive prior: its factors are conditional densities, in their order."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import oracles
from vaelab.model.autoregressive import autoregressive
from vaelab.model.prior import standard_normal_log_prob

K = 3


def moved(prior, seed=0):
    params = prior.init(jax.random.key(seed))
    keys = iter(jax.random.split(jax.random.key(seed + 1), len(params)))
    return {name: leaf + 0.4 * jax.random.normal(next(keys), leaf.shape) for name, leaf in params.items()}


def test_the_last_factors_integrate_to_one_whatever_stands_before_them():
    """p(z_1, z_2) is the integral over z_3, and that over z_2 of it p(z_1): the ratio of two z_1 says so."""
    prior = autoregressive(K, hidden=7, num_gaussians=2)
    params = moved(prior)
    axis = np.linspace(-9.0, 9.0, 121)
    width = axis[1] - axis[0]
    rest_Nx2 = np.float32(list(itertools.product(axis, repeat=2)))

    def mass(z_1, params):
        z_NxK = jnp.concatenate([jnp.full((len(rest_Nx2), 1), z_1), rest_Nx2], axis=1)
        return (
            np.sum(np.exp(np.float64(jax.jit(jax.vmap(prior.log_prob, (None, 0)))(params, z_NxK)))) * width**2
        )

    # Of z_1 alone there is the mixture of the biases.
    logit_2, mean_2, raw_2 = np.float64(params["bias_Q"]).reshape(3, 2, K)[:, :, 0]
    weight_2, sd_2 = np.exp(logit_2) / np.sum(np.exp(logit_2)), np.exp(5.0 * np.tanh(raw_2 / 5.0))
    for z_1 in (-0.7, 1.3):
        density_2 = np.exp(-0.5 * ((z_1 - mean_2) / sd_2) ** 2) / (sd_2 * np.sqrt(2.0 * np.pi))
        assert mass(z_1, params) == pytest.approx(weight_2 @ density_2, rel=1e-3)


@pytest.mark.parametrize("num_gaussians", [1, 2, 5])
def test_before_training_every_dimension_has_mean_0_and_variance_1(num_gaussians):
    prior = autoregressive(K, hidden=4, num_gaussians=num_gaussians)
    params = prior.init(jax.random.key(0))
    z_SxK = np.float64(jax.vmap(prior.sample, (None, 0))(params, jax.random.split(jax.random.key(1), 4000)))
    oracles.assert_mean(z_SxK, 0.0)
    oracles.assert_mean(z_SxK[:, :, None] * z_SxK[:, None, :], np.eye(K))
    if num_gaussians == 1:
        z_K = jnp.array([0.3, -1.0, 2.0])
        np.testing.assert_allclose(prior.log_prob(params, z_K), standard_normal_log_prob(z_K), rtol=1e-6)
