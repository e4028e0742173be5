"""What the encoder may have returned instead: told of where it explains the gap, and only there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.audit.test_auditing import THETA, K, encode, run
from vaelab import model


def posterior(x_D):
    mean_K, precision_KxK = model.linear_gaussian_posterior(THETA, x_D)
    return mean_K, precision_KxK, jnp.linalg.inv(precision_KxK)


def test_an_encoder_that_returns_the_variance_is_named():
    def wrong(x_D):
        mu_K, sigma_K = encode(x_D)
        return mu_K, (sigma_K / 0.8) ** 2

    (note,) = run(encode=wrong).notes
    assert "does encode return the variance?" in note


def curved(x_D, z_K):
    """The noise is that of x itself: scales of the posterior differ from datapoint to datapoint."""
    return jnp.sum(jax.scipy.stats.norm.logpdf(x_D[:K], z_K, jnp.exp(x_D[K : 2 * K])))


def spread_points():
    rng = np.random.default_rng(0)
    log_noise_NxK = rng.uniform(-3.0, 1.0, (40, K))
    return np.float32(np.concatenate([rng.normal(size=(40, K)), log_noise_NxK], axis=1))


def best(x_D):
    variance_K = 1.0 / (1.0 + jnp.exp(-2.0 * x_D[K : 2 * K]))
    return variance_K * x_D[:K] * jnp.exp(-2.0 * x_D[K : 2 * K]), jnp.sqrt(variance_K)


def test_of_several_readings_that_help_the_best_is_named():
    """Its variance is too small by far, so that exp of it helps as well, at most datapoints."""
    x, given = spread_points(), (lambda x_D: (best(x_D)[0], best(x_D)[1] ** 2))
    (note,) = run(curved, given, x).notes
    assert "with sqrt(sigma)" in note


CONSTANT = {"too narrow": 1e-4, "narrow": 0.05, "too wide": 1.5, "of one": 1.0}


@pytest.mark.parametrize("case", CONSTANT)
def test_a_scale_that_is_the_same_everywhere_is_not_taken_for_another(case):
    """Whatever is nearer to the posterior's helps it, and a multiple of it does as much."""
    notes = run(encode=lambda x_D: (posterior(x_D)[0], jnp.full(K, CONSTANT[case]))).notes
    assert notes == []


@pytest.mark.parametrize("times", [0.4, 2.5])
def test_a_multiple_of_the_right_scales_is_not_taken_for_another(times):
    x, given = spread_points(), (lambda x_D: (best(x_D)[0], times * best(x_D)[1]))
    assert run(curved, given, x).notes == []


def test_a_scale_that_is_somewhat_too_small_is_not_taken_for_a_variance():
    weak = (0.3, 0.2)  # singular values of W: the posterior is near N(0, I)
    other = model.linear_gaussian(K, weak, 0.6, 6)
    theta = other.init(jax.random.key(0))

    def small(x_D):
        mean_K, precision_KxK = model.linear_gaussian_posterior(theta, x_D)
        return mean_K + 0.5, 0.8 / jnp.sqrt(jnp.diag(precision_KxK))

    report = run(lambda x_D, z_K: other.log_likelihood(theta, x_D, z_K), small)
    assert report.notes == []


MIXES = jnp.array([[1.0, 0.9], [0.0, 0.4]])


def turned(x_D, z_K):
    """An affine map of z is seen with the noise that x has: no posterior is diagonal."""
    return curved(x_D, MIXES @ z_K)


def dense(x_D):
    noise_K = jnp.exp(-2.0 * x_D[K : 2 * K])
    precision_KxK = jnp.eye(K) + MIXES.T @ (noise_K[:, None] * MIXES)
    covariance_KxK = jnp.linalg.inv(precision_KxK)
    return covariance_KxK @ (MIXES.T @ (noise_K * x_D[:K])), precision_KxK, covariance_KxK


RETURNED = {
    "the covariance?": lambda precision, covariance: covariance,
    "the precision matrix?": lambda precision, covariance: precision,
    "the Cholesky factor of the precision matrix?": lambda precision, _: jnp.linalg.cholesky(precision),
    "the transpose, an upper Cholesky factor?": lambda _, covariance: jnp.linalg.cholesky(covariance).T,
}


@pytest.mark.parametrize("family", ["full", "cholesky"])
@pytest.mark.parametrize("what", RETURNED)
@pytest.mark.slow
def test_a_dense_matrix_that_is_no_scale_is_named(what, family):
    def wrong(x_D):
        mean_K, precision_KxK, covariance_KxK = dense(x_D)
        return mean_K, RETURNED[what](precision_KxK, covariance_KxK)

    (note,) = run(turned, wrong, spread_points(), families=(family,)).notes
    assert what in note


@pytest.mark.parametrize("times", [0.4, 1.0, 2.5])
def test_a_dense_scale_that_is_off_by_a_number_is_not_taken_for_another_matrix(times):
    def scaled(x_D):
        mean_K, _, covariance_KxK = dense(x_D)
        return mean_K, times * jnp.linalg.cholesky(covariance_KxK)

    assert run(turned, scaled, spread_points(), families=("full",)).notes == []
