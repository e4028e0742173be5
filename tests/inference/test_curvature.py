"""The curvature seen by q and the gradients made with it, against Hessians and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import oracles
from tests.support.oracles import EPS
from vaelab import objective, posterior
from vaelab.inference import curvature

K = 4
FAMILIES = {"diagonal": posterior.diagonal(K), "full": posterior.full(K), "cholesky": posterior.cholesky(K)}


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def quadratic(condition=30.0, seed=0):
    """(precision, mean, log-density) of a Gaussian posterior."""
    rng = np.random.default_rng(seed)
    scale = oracles.random_scale(rng, K, np.sqrt(condition))
    precision, mean = np.linalg.inv(scale @ scale.T).astype(np.float32), np.float32(rng.normal(size=K))
    return precision, mean, lambda z_K: -0.5 * (z_K - mean) @ precision @ (z_K - mean)


def quartic(z_K):
    return -jnp.sum(z_K**4) / 12.0 - 0.3 * jnp.prod(z_K[:2]) ** 2


def phi(family, seed=3):
    return oracles.random_phi(family.name, np.random.default_rng(seed), K, 4.0)


@pytest.mark.long
def test_expected_curvature_is_the_precision_of_a_gaussian_posterior(family):
    precision, _, log_joint = quadratic()
    updated = curvature.expected_curvature(log_joint, family, phi(family), jax.random.key(0))
    np.testing.assert_allclose(updated, precision, atol=200 * EPS * np.abs(precision).max())


@pytest.mark.long
def test_expected_curvature_is_that_of_the_hessian_under_q_and_the_step(family):
    """Of -sum z^4 / 12 - 0.3 (z1 z2)^2, where a step of h adds h^2 / 3 to each square along it."""
    phi_P = phi(family)
    mean, scale = oracles.mean_and_scale(family.name, phi_P)
    covariance = scale @ scale.T
    keys = jax.random.split(jax.random.key(0), 1000)
    draws = jax.vmap(lambda key: curvature.expected_curvature(quartic, family, phi_P, key))(keys)
    square = mean**2 + np.diag(covariance)  # E[z^2]
    step = curvature.STEP**2 * np.diag(covariance)
    expected = np.diag(square + step / 3.0)
    expected[0, 0] += 0.6 * square[1]
    expected[1, 1] += 0.6 * square[0]
    expected[0, 1] = expected[1, 0] = 1.2 * (mean[0] * mean[1] + covariance[0, 1])
    oracles.assert_mean(np.float64(draws), expected, rounding=1e-4)


def test_a_kink_counts_with_its_mass_under_q():
    """-2 relu(z) has no Hessian by autodiff; under N(0, 1) its curvature is 2 p(0), smoothed by the step."""
    family = posterior.diagonal(1)

    def kink(z_K):
        return -2.0 * jnp.sum(jax.nn.relu(z_K))

    keys = jax.random.split(jax.random.key(0), 2000)
    draws = jax.vmap(lambda key: curvature.expected_curvature(kink, family, family.init(), key))(keys)
    grid = np.linspace(-curvature.STEP, curvature.STEP, 2001)
    expected = 2.0 * np.mean(np.exp(-0.5 * grid**2)) / np.sqrt(2.0 * np.pi)
    oracles.assert_mean(np.float64(draws).reshape(-1, 1), np.array([expected]))
    np.testing.assert_array_equal(jax.hessian(kink)(jnp.array([0.3])), 0.0)


@pytest.mark.long
def test_controlled_gradient_of_a_gaussian_posterior_has_no_noise(family):
    """Draw by draw the exact gradient of the bound, away from the optimum too."""
    precision, mean, log_joint = quadratic()
    phi_P = phi(family)
    known = curvature.Curvature(jnp.asarray(precision), jnp.linalg.inv(precision))

    def bound(phi):
        exact_mean, scale = oracles.mean_and_scale(family.name, phi)
        residual = exact_mean - mean
        expected = -0.5 * (residual @ precision @ residual + np.sum(scale * (precision @ scale)))
        return expected + oracles.log_abs_det(scale)

    exact = oracles.gradient(bound, phi_P)
    for seed in range(5):
        updated, _ = curvature.controlled_gradient(
            log_joint, family, phi_P, jax.random.key(seed), known, num_samples=2
        )
        np.testing.assert_allclose(updated, exact, atol=2e-4 * np.abs(exact).max())


@pytest.mark.long
@pytest.mark.parametrize("known", ["identity", "wrong"])
def test_controlled_gradient_is_unbiased_whatever_the_curvature(family, known):
    phi_P, keys = phi(family), jax.random.split(jax.random.key(1), 20_000)
    wrong = jnp.diag(jnp.array([0.5, 4.0, 2.0, 1.0])) + 0.2
    matrix = jnp.eye(K) if known == "identity" else wrong
    given = curvature.Curvature(matrix, jnp.linalg.inv(matrix))

    def controlled(key):
        return curvature.controlled_gradient(quartic, family, phi_P, key, given, num_samples=4)[0]

    def plain(key):
        return jax.grad(objective.elbo, argnums=2)(quartic, family, phi_P, key, num_samples=4)

    difference = np.float64(jax.vmap(controlled)(keys)) - np.float64(jax.vmap(plain)(keys))
    oracles.assert_mean(difference, 0.0)


def test_pairs_teach_the_curvature_of_a_quadratic():
    """Independent pairs, one for each dimension, a few times over; matrix and inverse stay each other's."""
    precision, _, _ = quadratic(condition=100.0)
    offset = np.random.default_rng(1).normal(size=(200, K)).astype(np.float32)
    start = curvature.Curvature(jnp.eye(K), jnp.eye(K))
    learn, updated = jax.jit(curvature.learn), start
    for pairs in np.split(offset, 40):
        updated = learn(updated, pairs, pairs @ precision)
    np.testing.assert_allclose(updated.matrix_KxK, precision, atol=1e-3 * np.abs(precision).max())
    # Relative to the curvature of each direction.
    root = np.linalg.cholesky(np.float64(precision))
    np.testing.assert_allclose(root.T @ updated.inverse_KxK @ root, np.eye(K), atol=0.02)


def one_by_one(B, P, offset, slope):
    """The damped update of each pair in turn, on the matrices themselves, in float64."""
    for d, s in zip(np.float64(offset), np.float64(slope), strict=True):
        Bd = B @ d
        r = s - Bd
        dBd, dr, rPr = d @ Bd, d @ r, r @ P @ r
        half = (0.5 * curvature.MAX_RATIO - 1.0) * dr
        root = half + np.sqrt(half**2 + (curvature.MAX_RATIO - 1.0) * dBd * rPr)
        lower = (1.0 - 1.0 / curvature.MAX_RATIO) * dBd / -dr if dr < 0.0 else np.inf
        y = Bd + min(1.0, lower, root / rPr) * r
        B = B - np.outer(Bd, Bd) / dBd + np.outer(y, y) / (d @ y)
        P = np.linalg.inv(B)
    return B, P


@pytest.mark.parametrize("noise", [0.0, 1.0, 30.0])
def test_pairs_taken_together_are_the_updates_one_by_one(noise):
    """Of a quadratic, and with slopes that are damped from either side."""
    precision, _, _ = quadratic(condition=30.0)
    rng = np.random.default_rng(4)
    offset = rng.normal(size=(5, K)).astype(np.float32)
    slope = np.float32(offset @ precision + noise * rng.normal(size=(5, K)))
    expected = one_by_one(np.eye(K), np.eye(K), offset, slope)
    updated = curvature.learn(curvature.Curvature(jnp.eye(K), jnp.eye(K)), offset, slope)
    for got, exact in zip(updated, expected, strict=True):
        np.testing.assert_allclose(got, exact, atol=2000 * EPS * np.abs(exact).max())


def test_a_diagonal_scale_gives_what_its_matrix_does():
    phi_P, rng = phi(FAMILIES["diagonal"]), np.random.default_rng(2)
    eps, matrix = rng.normal(size=(3, K)).astype(np.float32), rng.normal(size=(K, K)).astype(np.float32)
    family = FAMILIES["diagonal"]
    dense = family._replace(gaussian=family.gaussian._replace(axes=None))
    for function, argument in ((curvature.scaled, eps), (curvature.spread, matrix)):
        values = [function(each, phi_P, argument) for each in (family, dense)]
        np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(*(curvature.variances(each, phi_P) for each in (family, dense)), rtol=1e-6)


def test_a_pair_of_negative_curvature_leaves_the_matrix_positive_definite():
    offset = np.eye(K, dtype=np.float32)
    start = curvature.Curvature(2.0 * jnp.eye(K), 0.5 * jnp.eye(K))
    updated = curvature.learn(start, offset, -offset)
    np.testing.assert_allclose(updated.matrix_KxK, 2.0 / curvature.MAX_RATIO * np.eye(K), atol=1e-5)
    np.testing.assert_allclose(updated.matrix_KxK @ updated.inverse_KxK, np.eye(K), atol=1e-5)


def test_no_pair_makes_the_matrix_singular():
    """Slopes across their offsets, as of kinks and saddles: determinant and eigenvalues stay bounded."""
    rng = np.random.default_rng(0)
    precision, _, _ = quadratic(condition=10.0)
    start = curvature.Curvature(jnp.asarray(precision), jnp.linalg.inv(precision))
    root = np.linalg.inv(np.linalg.cholesky(np.float64(precision)))
    for size in (0.1, 1.0, 100.0, 1e4):
        offset, slope = rng.normal(size=(2, 1, K)).astype(np.float32)
        updated = curvature.learn(start, offset, size * slope)
        eigenvalues = np.linalg.eigvalsh(root @ np.float64(updated.matrix_KxK) @ root.T)
        assert np.prod(eigenvalues) >= 0.99 / curvature.MAX_RATIO
        assert eigenvalues.min() > 0
        assert eigenvalues.max() <= 1.01 * (1.0 + curvature.MAX_RATIO)
        np.testing.assert_allclose(updated.matrix_KxK @ updated.inverse_KxK, np.eye(K), atol=1e-4)


def test_that_of_the_posterior_is_its_precision(family):
    phi_P = phi(family)
    _, scale = oracles.mean_and_scale(family.name, phi_P)
    updated = curvature.posterior_curvature(family, phi_P)
    np.testing.assert_allclose(updated.inverse_KxK, scale @ scale.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(updated.matrix_KxK, np.linalg.inv(scale @ scale.T), rtol=1e-3, atol=1e-4)


def kinked(z_K):
    """Not concave, with kinks: log p(x, z) of a small relu network."""
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=size).astype(np.float32) for size in ((K, 20), (20, 12)))
    logits = jnp.maximum(z_K @ first, 0.0) @ second
    return jnp.sum(-jax.nn.softplus(logits)) - 0.5 * jnp.sum(z_K**2)


def test_matrix_and_inverse_stay_each_others_over_thousands_of_pairs():
    rng, gradient = np.random.default_rng(1), jax.jit(jax.vmap(jax.grad(kinked)))
    state = curvature.Curvature(jnp.eye(K), jnp.eye(K))
    learn = jax.jit(lambda *a: curvature.refresh(curvature.learn(*a)))
    for _ in range(500):
        z = rng.normal(size=K).astype(np.float32)
        offset = 0.5 * rng.normal(size=(5, K)).astype(np.float32)
        state = learn(state, offset, 0.5 * (gradient(z - offset) - gradient(z + offset)))
        np.testing.assert_allclose(state.matrix_KxK @ state.inverse_KxK, np.eye(K), atol=0.1)
        assert np.linalg.eigvalsh(state.inverse_KxK).min() > 0.0


def test_two_draws_at_one_place_teach_nothing():
    start = curvature.Curvature(2.0 * jnp.eye(K), 0.5 * jnp.eye(K))
    updated = curvature.learn(start, jnp.zeros((1, K)), jnp.zeros((1, K)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), updated, start)


def test_what_rounding_has_spoilt_is_begun_again_from_the_diagonal():
    matrix = jnp.array([[4.0, 1.0], [1.0, 2.0]])
    near = curvature.refresh(curvature.Curvature(matrix, jnp.linalg.inv(matrix) + 0.01))
    np.testing.assert_allclose(matrix @ near.inverse_KxK, np.eye(2), atol=0.005)  # from 0.05
    for spoilt in (-jnp.linalg.inv(matrix), jnp.full((2, 2), jnp.nan)):
        updated = curvature.refresh(curvature.Curvature(matrix, spoilt))
        np.testing.assert_allclose(updated.matrix_KxK, np.diag([4.0, 2.0]))
        np.testing.assert_allclose(updated.inverse_KxK, np.diag([0.25, 0.5]))
