"""Bijectors: one way and back, and the log-determinant of their Jacobian."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.oracles import EPS
from vaelab.posterior.bijectors import DenseLinear, InverseAutoregressive, LinearOperator, chain, coupling

K = 3
MATRIX = np.float32([[2.0, 0.0, 0.5], [-1.0, 0.5, 0.0], [0.3, 0.0, -1.0]])
INVERSE = np.float32(np.linalg.inv(np.float64(MATRIX)))
LOG_DET = jnp.log(jnp.abs(jnp.linalg.det(MATRIX)))
LOWER = np.float32([[0.0, 0.0, 0.0], [0.7, 0.0, 0.0], [-0.4, 0.9, 0.0]])


def autoregressive(u_K):
    """t and s of u_<i, in the order of the dimensions."""
    return jnp.sin(LOWER @ u_K), 0.5 * jnp.tanh(LOWER @ u_K + 1.0)


def against(u_K):
    shift_K, log_scale_K = autoregressive(u_K[::-1])
    return shift_K[::-1], log_scale_K[::-1]


MASK = np.array([True, False, True])


def of_those_that_stay(x_K):
    first, last = (jnp.broadcast_to(x_K[..., at], x_K.shape) for at in (slice(0, 1), slice(2, 3)))
    return first * last, jnp.sin(first)


BIJECTORS = {
    "dense": DenseLinear(jnp.asarray(MATRIX), jnp.asarray(INVERSE), LOG_DET),
    "operator": LinearOperator(K, lambda x_K: MATRIX @ x_K, lambda y_K: INVERSE @ y_K, LOG_DET),
    "autoregressive": InverseAutoregressive(autoregressive, reverse=False),
    "reverse": InverseAutoregressive(against, reverse=True),
    "coupling": coupling(MASK, of_those_that_stay),
}
X_NxK = np.random.default_rng(0).normal(size=(5, K)).astype(np.float32)


@pytest.mark.parametrize("name", BIJECTORS)
def test_back_is_where_it_came_from_and_the_log_determinant_that_of_the_jacobian(name):
    bijector = BIJECTORS[name]

    @jax.jit
    def there_and_back(x_NxK):
        y_NxK, log_det_N = bijector.forward_and_log_det(x_NxK)
        jacobian_NxKxK = jax.vmap(jax.jacfwd(lambda x_K: bijector.forward_and_log_det(x_K)[0]))(x_NxK)
        return y_NxK, log_det_N, *bijector.inverse_and_log_det(y_NxK), jacobian_NxKxK

    y_NxK, log_det_N, back_NxK, inverse_N, jacobian_NxKxK = there_and_back(X_NxK)
    assert np.abs(y_NxK - X_NxK).max() > 0.5
    np.testing.assert_allclose(back_NxK, X_NxK, atol=100 * EPS)
    np.testing.assert_allclose(inverse_N, -log_det_N, atol=20 * EPS)
    np.testing.assert_allclose(log_det_N, np.linalg.slogdet(jacobian_NxKxK)[1], atol=50 * EPS)


@pytest.mark.parametrize("name", ["dense", "operator"])
def test_a_linear_one_is_its_matrix_and_gives_a_distribution_with_its_covariance(name):
    bijector = BIJECTORS[name]
    np.testing.assert_allclose(bijector.matrix, MATRIX, atol=EPS)
    np.testing.assert_allclose(bijector.forward(X_NxK), X_NxK @ MATRIX.T, atol=10 * EPS)
    assert bijector.forward_log_det_jacobian(X_NxK).shape == (5,)
    distribution = distrax.MultivariateNormalFromBijector(jnp.zeros(K), bijector)
    np.testing.assert_allclose(distribution.covariance(), MATRIX @ MATRIX.T, atol=20 * EPS)


@pytest.mark.parametrize("name", ["autoregressive", "reverse"])
def test_the_score_of_what_is_moved_is_that_of_its_density(name):
    """u ~ N(0, I): log p(z) = log N(T^-1 z) + log|det dT^-1/dz|, differentiated through the inverse."""
    bijector, u_K = BIJECTORS[name], X_NxK[0]

    def log_density(z_K):
        back_K, log_det = bijector.inverse_and_log_det(z_K)
        return -0.5 * jnp.sum(back_K**2) + log_det

    @jax.jit
    def both_ways(u_K):
        z_K, score_K = bijector.forward_with_score(u_K, -u_K)
        return z_K, score_K, jax.grad(log_density)(z_K)

    z_K, score_K, exact_K = both_ways(u_K)
    np.testing.assert_allclose(z_K, bijector.forward_and_log_det(u_K)[0], rtol=4 * EPS)
    np.testing.assert_allclose(score_K, exact_K, rtol=1e-4, atol=1e-5)


def test_a_chain_begins_with_its_first():
    double, shifted = (
        coupling(np.zeros(K, bool), lambda x_K, p=p: p) for p in ((0.0, np.log(2.0)), (1.0, 0.0))
    )
    both = chain([double, shifted])
    np.testing.assert_allclose(both.forward(jnp.ones(K)), 3.0, rtol=4 * EPS)  # 2 x + 1, not 2 (x + 1)
