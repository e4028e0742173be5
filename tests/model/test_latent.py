"""Models with a network for their decoder, and what is made of a model."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.model.test_linear_gaussian import over
from tests.support import oracles
from tests.support.oracles import EPS
from vaelab import model as models
from vaelab.errors import ConfigError
from vaelab.model import latent, likelihood, networks
from vaelab.model.mixture import mixture
from vaelab.types import LatentModel


def test_decoder_model_is_a_normalised_density_of_x():
    """sum over binary x of the integral of p(x given z) p(z) dz = 1, the integral by quadrature."""
    size, data_dim = 2, 5
    decoder = networks.mlp_decoder(size, (8,), data_dim, activation=jnp.tanh)
    model = models.decoder_model(size, decoder, likelihood.bernoulli())
    theta = jax.tree.map(lambda leaf: 2.0 * leaf, model.init(jax.random.key(0)))
    x_NxD = np.float32(list(itertools.product([0, 1], repeat=data_dim)))
    z_SxK, weight_S = oracles.standard_normal_grid(size)
    log_likelihood_NxS = over(
        lambda x_D: jax.vmap(lambda z_K: model.log_likelihood(theta, x_D, z_K))(z_SxK), 0
    )(x_NxD)
    evidence_N = np.exp(np.float64(log_likelihood_NxS)) @ weight_S
    np.testing.assert_allclose(np.sum(evidence_N), 1.0, atol=20 * EPS)
    assert np.ptp(np.log(evidence_N)) > 0.5
    log_prior_S = over(model.log_prior, None, 0)(theta, z_SxK)
    np.testing.assert_allclose(
        log_prior_S, [oracles.log_normal(z, np.zeros(size), np.eye(size)) for z in z_SxK], rtol=8 * EPS
    )


def test_decoder_model_draws_have_its_mean():
    decoder = networks.mlp_decoder(2, (8,), 2 * 3, activation=jnp.tanh)
    model = models.decoder_model(2, decoder, likelihood.gaussian(min_variance=1e-3))
    theta, z_K = model.init(jax.random.key(0)), jnp.array([0.5, -1.0])
    keys = jax.random.split(jax.random.key(1), 5000)
    x_SxD = jax.jit(jax.vmap(lambda key: model.sample(theta, key, z_K)))(keys)
    oracles.assert_mean(x_SxD, np.asarray(model.mean(theta, z_K)))


def test_a_bound_model_is_the_joint_density_at_its_x():
    model = models.linear_gaussian(2, (1.0, 0.5), 1.0, 3)
    exact = oracles.LinearGaussian.random(np.random.default_rng(0), 3, (1.0, 0.5), 1.0)
    x_D, z_K = np.float32([0.3, -1.0, 2.0]), np.float32([0.7, -0.2])
    log_joint = latent.bind(model, models.LinearGaussianParams(*exact.theta), x_D)
    given = oracles.log_normal(x_D, exact.weight @ np.float64(z_K) + exact.bias, np.diag(exact.variance))
    np.testing.assert_allclose(
        log_joint(z_K), given + oracles.log_normal(z_K, np.zeros(2), np.eye(2)), rtol=1e-6
    )


def test_what_is_simulated_is_x_of_its_z_and_z_of_the_prior():
    """x = 2 z exactly, without noise, so that the pair is known by either."""
    model = LatentModel(
        2,
        *[None] * 4,
        sample=lambda theta, key, z_K: theta * z_K,
        sample_prior=lambda theta, key: jax.random.normal(key, (2,)),
    )
    z_SxK, x_SxK = jax.vmap(lambda key: latent.simulate(model, 2.0, key))(
        jax.random.split(jax.random.key(0), 2000)
    )
    np.testing.assert_array_equal(x_SxK, 2.0 * z_SxK)
    z_SxK = np.float64(z_SxK)
    oracles.assert_mean(z_SxK, 0.0)
    oracles.assert_mean(z_SxK[:, :, None] * z_SxK[:, None, :], np.eye(2))


@pytest.mark.parametrize(
    ("density", "affine", "concave"),
    [
        (likelihood.bernoulli(), True, True),
        (likelihood.bernoulli(), False, False),
        (likelihood.discretized_logistic(levels=256), True, False),
    ],
)
def test_only_a_concave_likelihood_behind_an_affine_decoder_is_concave_in_z(density, affine, concave):
    decoder = networks.mlp_decoder(3, (), 2 * density.outputs_per_dim, activation=jnp.tanh)
    model = models.decoder_model(3, decoder, density, affine=affine)
    assert (model.concavity is not None) == concave
    if concave:
        np.testing.assert_array_equal(model.concavity(None, np.zeros(2)), np.eye(3))


def test_what_cannot_be_sampled_cannot_be_simulated_and_is_named():
    whole = models.linear_gaussian(2, (1.0, 0.5), 1.0, 3)
    for changes, says in (
        ({"sample_prior": None}, "the prior standard_normal"),
        ({"sample": None}, "the likelihood"),
    ):
        with pytest.raises(ConfigError, match=f"{says} has no `sample`"):
            latent.simulate(whole._replace(**changes), whole.init(jax.random.key(0)), jax.random.key(1))


def test_another_prior_stands_in_for_the_standard_one_and_leaves_the_likelihood():
    """At a single component, whose mean and scale are set: everything is then known."""
    linear = models.linear_gaussian(2, (1.0, 0.5), 1.0, 3)
    model = latent.with_prior(linear, mixture(2, num_components=1))
    theta = model.init(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, theta["likelihood"], linear.init(jax.random.key(0)))
    mean_K, scale_K = np.float32([1.0, -2.0]), np.float32([0.5, 3.0])
    theta["prior"] |= {"mean_MxK": mean_K[None], "log_scale_MxK": np.log(scale_K)[None]}
    x_D, z_K = np.float32([0.3, -1.0, 2.0]), np.float32([0.7, -0.2])
    given = linear.log_likelihood(theta["likelihood"], x_D, z_K)
    exact = oracles.log_normal(np.float64(z_K), mean_K, np.diag(np.float64(scale_K) ** 2))
    np.testing.assert_allclose(latent.bind(model, theta, x_D)(z_K), given + exact, rtol=1e-6)
    np.testing.assert_array_equal(model.mean(theta, z_K), linear.mean(theta["likelihood"], z_K))
    hessian_KxK = jax.hessian(latent.bind(model, theta, x_D))(z_K)
    np.testing.assert_allclose(model.concavity(theta, x_D), -hessian_KxK, rtol=1e-4, atol=1e-5)
    several = latent.with_prior(linear, mixture(2, num_components=2))
    assert several.concavity is None
    assert (several.exact, several.prior) == (None, "mixture")
