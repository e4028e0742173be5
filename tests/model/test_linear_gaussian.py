"""Latent-variable models against dense float64 algebra and quadrature."""

import functools
from typing import NamedTuple

import jax
import numpy as np
import pytest

from tests.support import oracles
from tests.support.oracles import EPS, LinearGaussian
from vaelab import model as models

K, D = 4, 7
# Singular values of W and the noise: condition number of W, of the posterior precision.
CASES = {
    "round": ((1.0, 1.0, 1.0, 1.0), 1.0),  # 1, 1
    "mild": ((3.0, 2.0, 1.0, 0.3), 1.0),  # 10, 9
    "small noise": ((1.0, 0.5, 0.2, 0.1), 0.1),  # 10, 50
    "ill-conditioned": ((10.0, 1.0, 0.1, 0.001), 1.0),  # 1e4, 1e2
    "very ill-conditioned": ((100.0, 10.0, 1.0, 0.01), 1.0),  # 1e4, 1e4
}


@functools.cache
def over(function, *axes):
    return jax.jit(jax.vmap(function, axes))


class Case(NamedTuple):
    exact: LinearGaussian
    theta: models.LinearGaussianParams
    x_NxD: np.ndarray
    condition: float  # of the posterior precision


def make_case(singular_values, noise, seed=0):
    rng = np.random.default_rng(seed)
    exact = LinearGaussian.random(rng, D, singular_values, noise)
    condition = np.linalg.cond(exact.precision())
    return Case(exact, models.LinearGaussianParams(*exact.theta), exact.sample(rng, 20), condition)


@pytest.fixture(params=CASES)
def case(request):
    return make_case(*CASES[request.param])


@pytest.fixture(scope="module")
def model():
    return models.linear_gaussian(K, (3.0, 2.0, 1.0, 0.3), 0.5, D)


def test_init_has_the_singular_values_and_noise_asked_for(model):
    thetas = over(model.init, 0)(jax.random.split(jax.random.key(0), 2))
    theta, other = (jax.tree.map(lambda leaf, i=i: leaf[i], thetas) for i in range(2))
    values = np.linalg.svd(np.float64(theta.weight_DxK), compute_uv=False)
    np.testing.assert_allclose(values, [3.0, 2.0, 1.0, 0.3], atol=20 * EPS)
    np.testing.assert_allclose(np.exp(theta.log_variance_D), 0.25, rtol=10 * EPS)
    gram = np.float64(theta.weight_DxK).T @ np.float64(theta.weight_DxK)
    assert np.abs(gram - np.diag(np.diag(gram))).max() > 0.1  # the posterior is correlated
    assert np.abs(other.weight_DxK - theta.weight_DxK).max() > 0.1
    assert np.abs(other.bias_D - theta.bias_D).max() > 0.1


def test_log_evidence_equals_the_dense_density(case):
    exact, theta, x_NxD, condition = case
    log_joint_N = over(models.linear_gaussian_log_evidence, None, 0)(theta, x_NxD)
    # log|Lam| and the square, in float32: eps * K * condition, and the rounding of the sum itself.
    bound = EPS * (K * condition + 100.0)
    np.testing.assert_allclose(log_joint_N, [exact.log_evidence(x) for x in x_NxD], atol=bound, rtol=4 * EPS)


def test_log_evidence_keeps_its_digits_where_the_noise_is_small_beside_the_signal():
    """r' C^-1 r is of size D, but r' Psi^-1 r is (signal / noise)^2 times as large."""
    exact, theta, x_NxD, _ = make_case((100.0, 80.0, 60.0, 50.0), 1.0)
    exact_N = [exact.log_evidence(x_D) for x_D in x_NxD]
    log_joint_N = over(models.linear_gaussian_log_evidence, None, 0)(theta, x_NxD)
    # x - b - W m is the noise and rounded to eps |x|: the square is off by eps |x| |noise|, |x| about 150.
    bound = 4 * EPS * np.linalg.norm(x_NxD, axis=1).max() * np.sqrt(D)
    np.testing.assert_allclose(log_joint_N, exact_N, atol=bound)


def test_posterior_equals_conditioning_of_the_joint(case):
    exact, theta, x_NxD, condition = case
    mean_NxK, precision_NxKxK = over(models.linear_gaussian_posterior, None, 0)(theta, x_NxD)
    covariance = exact.posterior(x_NxD[0])[1]
    bound = 4 * K * EPS * condition
    for x_D, mean_K, precision_KxK in zip(x_NxD, mean_NxK, precision_NxKxK, strict=True):
        mean = exact.posterior(x_D)[0]
        np.testing.assert_allclose(mean_K, mean, atol=bound * np.linalg.norm(mean))
        np.testing.assert_allclose(np.float64(precision_KxK) @ covariance, np.eye(K), atol=bound)


def test_elbo_equals_expected_log_likelihood_minus_kl(case):
    exact, theta, x_NxD, condition = case
    rng = np.random.default_rng(0)
    mean_NxK = np.float32(rng.normal(size=(len(x_NxD), K)))
    scale_NxKxK = np.float32([oracles.random_scale(rng, K, 10.0) for _ in x_NxD])
    log_joint_N = over(models.linear_gaussian_elbo, None, 0, 0, 0)(theta, x_NxD, mean_NxK, scale_NxKxK)
    exact_N = [
        exact.elbo(x, np.float64(mean), np.float64(scale))
        for x, mean, scale in zip(x_NxD, mean_NxK, scale_NxKxK, strict=True)
    ]
    # The KL is tens to thousands of nats here and is formed from products with Lam.
    np.testing.assert_allclose(log_joint_N, exact_N, rtol=40 * EPS, atol=EPS * (2 * K * condition + 100.0))


def test_elbo_is_below_log_evidence_by_the_kl_and_meets_it_at_the_posterior(case):
    exact, theta, x_NxD, condition = case
    elbo = jax.jit(models.linear_gaussian_elbo)
    for x_D in x_NxD[:3]:
        mean, covariance = exact.posterior(x_D)
        scale = np.linalg.cholesky(covariance)
        log_evidence = exact.log_evidence(x_D)
        for shift, stretch in [(0.0, 1.0), (0.3, 1.0), (0.0, 2.0), (0.5, 0.5)]:
            q = np.float32(mean + scale @ np.full(K, shift)), np.float32(stretch * scale)
            mean_32, scale_32 = (np.float64(a) for a in q)
            kl = oracles.gaussian_kl(mean_32, scale_32 @ scale_32.T, mean, covariance)
            assert (kl < 1e-6) == (shift == 0.0 and stretch == 1.0)
            bound = EPS * (4 * K * condition + 100.0)
            np.testing.assert_allclose(elbo(theta, x_D, *q), log_evidence - kl, atol=bound)


def test_mean_field_is_optimal_and_its_gap_is_the_same_for_every_x(case):
    exact, theta, x_NxD, condition = case
    mean_NxK, scale_NxKxK = over(models.linear_gaussian_mean_field, None, 0)(theta, x_NxD)
    elbo_N = over(models.linear_gaussian_elbo, None, 0, 0, 0)(theta, x_NxD, mean_NxK, scale_NxKxK)
    log_evidence_N = over(models.linear_gaussian_log_evidence, None, 0)(theta, x_NxD)
    bound = EPS * (4 * K * condition + 100.0)
    np.testing.assert_allclose(log_evidence_N - elbo_N, exact.mean_field_gap(), atol=bound)
    phi = exact.optimum("diagonal", x_NxD[0])
    np.testing.assert_allclose(mean_NxK[0], phi[:K], atol=bound * np.linalg.norm(phi[:K]))
    np.testing.assert_allclose(scale_NxKxK[0], np.diag(np.exp(phi[K:])), atol=bound)

    def exact_elbo(phi):
        return exact.elbo(x_NxD[0], *oracles.mean_and_scale("diagonal", phi))

    for direction in np.random.default_rng(1).normal(size=(20, 2 * K)):
        assert exact_elbo(phi + 0.1 * direction) < exact_elbo(phi)


@functools.cache
def log_joint_over(model):
    return over(lambda theta, x_D, z_K: models.bind(model, theta, x_D)(z_K), None, 0, 0)


def test_log_joint_is_the_joint_density_of_z_and_x(model, case):
    exact, theta, x_NxD, _ = case
    z_NxK = np.float32(np.random.default_rng(3).normal(size=(len(x_NxD), K)))
    log_joint_N = log_joint_over(model)(theta, x_NxD, z_NxK)
    for x_D, z_K, log_p in zip(x_NxD, np.float64(z_NxK), log_joint_N, strict=True):
        log_likelihood = oracles.log_normal(x_D, exact.weight @ z_K + exact.bias, np.diag(exact.variance))
        log_prior = oracles.log_normal(z_K, np.zeros(K), np.eye(K))
        np.testing.assert_allclose(log_p, log_likelihood + log_prior, rtol=40 * EPS)


def test_draws_have_the_mean_and_covariance_of_x_given_z(model):
    exact = make_case((3.0, 2.0, 1.0, 0.3), 0.5).exact
    theta, z_K = models.LinearGaussianParams(*exact.theta), np.float32([0.0, 1.0, -2.0, 3.0])
    mean_D = np.asarray(model.mean(theta, z_K))
    np.testing.assert_allclose(mean_D, exact.weight @ np.float64(z_K) + exact.bias, atol=100 * EPS)
    keys = jax.random.split(jax.random.key(1), 20_000)
    x_SxD = np.float64(over(model.sample, None, 0, None)(theta, keys, z_K))
    oracles.assert_mean(x_SxD, mean_D)
    centred_SxD = x_SxD - mean_D
    oracles.assert_mean(centred_SxD[:, :, None] * centred_SxD[:, None, :], np.diag(exact.variance))
