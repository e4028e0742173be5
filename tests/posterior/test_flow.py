"""Flows against the change of variables, quadrature and the structure of their Jacobians."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from tests.support import oracles
from vaelab import objective, posterior
from vaelab.objective import multisample
from vaelab.types import SharedPhi

FLOWS = {"real_nvp": posterior.real_nvp, "iaf": posterior.iaf}


@pytest.fixture(params=FLOWS)
def make(request):
    return FLOWS[request.param]


def member(family, size=0.5, seed=0):
    """Every number moved, so that no layer is the identity."""
    rng = np.random.default_rng(seed)
    return family.init() + np.float32(size * rng.normal(size=family.param_size))


def log_density_by_jacobian(family, phi_P, eps_SxK):
    """log N(eps; 0, I) - log|det dz/deps|, by autodiff and float64 algebra."""
    jacobian = jax.jit(jax.vmap(jax.jacobian(lambda e: family.reparameterize(phi_P, e))))
    log_det_S = np.array([oracles.log_abs_det(np.float64(j)) for j in jacobian(eps_SxK)])
    return -0.5 * np.sum(np.float64(eps_SxK) ** 2 + oracles.LOG_2PI, axis=1) - log_det_S


@pytest.mark.long
@pytest.mark.parametrize("K", [2, 5, 10])
def test_density_is_that_of_the_change_of_variables(make, K):
    family = make(K, num_layers=3, hidden=12)
    phi_P, eps_SxK = member(family), jax.random.normal(jax.random.key(0), (5, K))
    log_q = jax.jit(jax.vmap(lambda e: family.dist(phi_P).log_prob(family.reparameterize(phi_P, e))))
    np.testing.assert_allclose(log_q(eps_SxK), log_density_by_jacobian(family, phi_P, eps_SxK), atol=2e-4)


@pytest.mark.long
def test_density_integrates_to_one(make):
    family = make(2, num_layers=3, hidden=12)
    phi_P = member(family, size=0.2)
    axis = np.linspace(-20.0, 20.0, 1001)
    z_SxK = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype(np.float32)
    density_S = np.exp(np.float64(jax.jit(jax.vmap(family.dist(phi_P).log_prob))(z_SxK)))
    assert abs(np.sum(density_S) * (axis[1] - axis[0]) ** 2 - 1.0) < 1e-3


@pytest.mark.long
def test_a_fresh_flow_is_the_prior_and_can_be_trained(make):
    family = make(5, num_layers=4, hidden=8)
    phi_P, eps_K = family.init(), jax.random.normal(jax.random.key(0), (5,))
    np.testing.assert_array_equal(family.reparameterize(phi_P, eps_K), eps_K)
    log_prior = -0.5 * np.sum(np.float64(eps_K) ** 2 + oracles.LOG_2PI)
    np.testing.assert_allclose(family.dist(phi_P).log_prob(eps_K), log_prior, rtol=1e-6)
    grad_P = jax.grad(lambda p: jnp.sum(jnp.sin(family.reparameterize(p, eps_K)) ** 2))(phi_P)
    # Only what stands before the zero output weights is at rest.
    assert np.mean(np.abs(grad_P[10:]) > 1e-8) > 0.2
    assert family.shared_size == family.param_size - 10


@pytest.mark.long
def test_iaf_is_autoregressive_and_its_inverse_exact():
    """One layer has a triangular Jacobian; layers in turn have every dependence."""
    K = 6
    one, two = (posterior.iaf(K, num_layers=n, hidden=20) for n in (1, 2))
    eps_K = jax.random.normal(jax.random.key(3), (K,))
    jacobian = jax.jacobian(lambda e: one.reparameterize(member(one), e))(eps_K)
    np.testing.assert_array_equal(np.triu(jacobian, 1), 0.0)
    assert np.abs(np.tril(jacobian, -1)[np.tril_indices(K, -1)]).min() > 1e-6
    assert np.abs(jax.jacobian(lambda e: two.reparameterize(member(two), e))(eps_K)).min() > 1e-6
    bijector = two.dist(member(two)).bijector
    np.testing.assert_allclose(bijector.inverse(bijector.forward(eps_K)), eps_K, atol=1e-5)


def test_a_coupling_keeps_half_and_layers_move_all():
    one, two = (posterior.real_nvp(6, num_layers=n, hidden=20) for n in (1, 2))
    eps_K = jax.random.normal(jax.random.key(3), (6,))
    unmoved = one.dist(member(one)).bijector.forward(eps_K) == eps_K
    np.testing.assert_array_equal(unmoved, [True, False] * 3)
    assert not np.any(two.dist(member(two)).bijector.forward(eps_K) == eps_K)


@pytest.mark.long
def test_draws_of_dist_and_reparameterized_draws_have_the_same_distribution(make):
    family = make(3, num_layers=2, hidden=8)
    phi_P = member(family)
    z_SxK = np.asarray(family.dist(phi_P).sample(seed=jax.random.key(0), sample_shape=(20_000,)), np.float64)
    eps_SxK = jax.random.normal(jax.random.key(1), (20_000, 3))
    other_SxK = np.asarray(jax.vmap(family.reparameterize, (None, 0))(phi_P, eps_SxK), np.float64)
    for function in (np.sin, np.cos):
        difference = np.mean(function(z_SxK), 0) - np.mean(function(other_SxK), 0)
        stderr = np.sqrt((np.var(function(z_SxK), 0) + np.var(function(other_SxK), 0)) / 20_000)
        assert np.all(np.abs(difference) <= 5 * stderr)


@pytest.mark.long
@pytest.mark.parametrize("bound", [objective.elbo_from_draws, objective.stick_the_landing])
def test_an_encoders_two_parts_are_the_one_vector(make, bound):
    """Values and gradients with the shared weights apart are those with all in one phi."""
    family = make(4, num_layers=2, hidden=8)
    phi_P = member(family)
    parts = SharedPhi(phi_P[:8], phi_P[8:])

    def log_joint(z_K):
        return -jnp.sum(jnp.cosh(z_K - 0.5))

    def value(phi):
        return bound(log_joint, family, phi, jax.random.key(0), num_samples=6)

    np.testing.assert_allclose(value(parts), value(phi_P), rtol=1e-6)
    np.testing.assert_array_equal(ravel_pytree(parts)[0], phi_P)
    grad_P = jax.grad(value)(phi_P)
    np.testing.assert_allclose(ravel_pytree(jax.grad(value)(parts))[0], grad_P, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("K", [2, 5])
def test_score_of_a_draw_is_the_gradient_of_the_log_density(K):
    family = posterior.iaf(K, num_layers=3, hidden=12)
    phi_P, eps_SxK = member(family, size=0.2), jax.random.normal(jax.random.key(0), (5, K))

    @jax.jit
    @jax.vmap
    def both(eps_K):
        z_K = family.reparameterize(phi_P, eps_K)
        return family.score_of_draw(phi_P, eps_K), jax.grad(family.dist(phi_P).log_prob)(z_K)

    score_SxK, expected_SxK = both(eps_SxK)
    np.testing.assert_allclose(score_SxK, expected_SxK, rtol=1e-3, atol=1e-3)


@pytest.mark.long
def test_sticking_the_landing_by_the_score_is_sticking_it_by_the_inverse():
    """Value, gradient and the gradient of the gradient, without the K passes of the inverse."""
    family = posterior.iaf(4, num_layers=2, hidden=8)
    by_inverse = family._replace(score_of_draw=None)
    phi_P, direction_P = member(family, size=0.2), member(family, size=0.2, seed=1)

    def log_joint(z_K):
        return -jnp.sum(jnp.cosh(z_K - 0.5))

    def value(phi_P, density_phi_P, family):
        return objective.stick_the_landing(
            log_joint, family, phi_P, jax.random.key(0), num_samples=6, density_phi_P=density_phi_P
        )

    def slope(phi_P, family):
        return jax.grad(value)(phi_P, phi_P, family) @ direction_P

    def dreg(phi_P, family):
        return multisample.dreg(log_joint, family, phi_P, jax.random.key(0), num_samples=6)

    np.testing.assert_allclose(value(phi_P, None, family), value(phi_P, None, by_inverse), rtol=1e-5)
    for derivative in (
        lambda family: jax.grad(dreg)(phi_P, family),
        lambda family: jax.grad(value)(phi_P, None, family),
        lambda family: jax.grad(value, argnums=1)(phi_P, phi_P + 0.0, family),
        lambda family: jax.grad(slope)(phi_P, family),
    ):
        value_P, expected_P = (jax.jit(partial(derivative, one))() for one in (family, by_inverse))
        np.testing.assert_allclose(value_P, expected_P, atol=1e-4 * np.max(np.abs(expected_P)))


def test_sizes_that_make_no_flow_are_refused(make):
    for sizes in ({"latent_dim": 1}, {"num_layers": 0}, {"hidden": 0}):
        settings = {"latent_dim": 3, "num_layers": 2, "hidden": 4} | sizes
        with pytest.raises(ValueError, match=next(iter(sizes))):
            make(settings.pop("latent_dim"), **settings)
