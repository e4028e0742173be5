"""Samples, their log weights, and the bound estimated from them, with its error."""

from functools import partial

import jax
import numpy as np
import pytest

from tests.objective.test_elbo import (
    EXACT,
    FAMILIES,
    LOG_JOINT,
    X_D,
    K,
    exact_elbo,
    keys,
    member,
    optimum,
)
from tests.support import oracles
from tests.support.oracles import EPS
from vaelab.objective.draws import estimate_elbo, log_weights, standard_draws
from vaelab.objective.elbo import elbo_from_draws


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def test_log_weights_are_those_of_the_densities(family):
    phi_P, eps_SxK = member(family), np.float32(np.random.default_rng(4).normal(size=(50, K)))
    value_S = jax.jit(partial(log_weights, LOG_JOINT, family))(phi_P, eps_SxK)
    mean, scale = oracles.mean_and_scale(family.name, phi_P)
    for eps, estimate in zip(np.float64(eps_SxK), value_S, strict=True):
        z = mean + scale @ eps
        log_p = oracles.log_normal(X_D, EXACT.weight @ z + EXACT.bias, np.diag(EXACT.variance))
        log_p += oracles.log_normal(z, np.zeros(K), np.eye(K))
        exact = log_p - oracles.log_normal(z, mean, scale @ scale.T)
        np.testing.assert_allclose(estimate, exact, atol=50 * EPS * (1.0 + abs(log_p)))


def test_draws_of_one_key_are_independent():
    """Var[mean of 16 log w] is Var[log w] / 16, with log w quadratic in eps."""
    family = FAMILIES["full"]
    phi_P = member(family)
    mean, scale = oracles.mean_and_scale("full", phi_P)
    precision = EXACT.precision()
    linear = scale.T @ precision @ (mean - EXACT.posterior(X_D)[0])
    variance = 0.5 * np.sum((np.eye(K) - scale.T @ precision @ scale) ** 2) + np.sum(linear**2)
    bound = partial(elbo_from_draws, LOG_JOINT, family, phi_P, num_samples=16)
    value_N = np.float64(jax.jit(jax.vmap(bound))(keys(4000)))
    oracles.assert_mean((value_N - exact_elbo(family, phi_P)) ** 2, variance / 16)


def test_antithetic_draws_are_pairs_of_standard_normal_draws():
    eps_SxK = np.asarray(standard_draws(jax.random.key(0), 10_000, K, antithetic=True), np.float64)
    np.testing.assert_array_equal(eps_SxK[:5000], -eps_SxK[5000:])
    half_SxK = eps_SxK[:5000]
    oracles.assert_mean(half_SxK, 0.0)
    oracles.assert_mean(half_SxK[:, :, None] * half_SxK[:, None, :], np.eye(K))
    independent_SxK = np.asarray(standard_draws(jax.random.key(0), 10_000, K), np.float64)
    oracles.assert_mean(independent_SxK[:, :, None] * independent_SxK[:, None, :], np.eye(K))
    assert len(np.unique(np.abs(independent_SxK))) > 0.99 * independent_SxK.size


def estimates(family, phi_P, seeds, **settings):
    one = partial(estimate_elbo, LOG_JOINT, family, phi_P, **settings)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(seeds))


def test_estimated_elbo_is_unbiased_and_its_standard_error_calibrated(family):
    phi_P = member(family)
    estimate = estimates(family, phi_P, keys(300), num_samples=200, chunk_size=50)
    oracles.assert_mean(estimate.value, exact_elbo(family, phi_P))
    oracles.assert_calibrated(estimate.value, exact_elbo(family, phi_P), estimate.stderr)


@pytest.mark.parametrize(
    ("num_samples", "chunk_size", "used"), [(12, 4, 12), (12, 100, 100), (10, 4, 12), (5, 3, 6), (4, 1, 4)]
)
def test_chunks_of_the_estimated_elbo_are_whole_and_independent(num_samples, chunk_size, used):
    """The draws used are counted by the variance, which is that of a pair divided by the number of pairs."""
    family = FAMILIES["full"]
    phi_P = member(family)
    settings = {"num_samples": num_samples, "chunk_size": chunk_size}
    estimate = estimates(family, phi_P, keys(2000), **settings)
    oracles.assert_mean(estimate.value, exact_elbo(family, phi_P))
    oracles.assert_mean(estimate.stderr**2 * used / 2, pair_variance(family, phi_P))
    # A second count, of the values themselves; 5 standard errors with a kurtosis of pairs below 15.
    np.testing.assert_allclose(
        np.var(estimate.value, ddof=1) * used / 2,
        pair_variance(family, phi_P),
        rtol=5 * np.sqrt((2 + 15 * 2 / used) / 2000),
    )


def pair_variance(family, phi_P):
    """Var of the mean of log w over an antithetic pair: 1/2 ||I - S' Lam S||^2, that of its even part."""
    scale = oracles.mean_and_scale(family.name, phi_P)[1]
    return 0.5 * float(np.sum((np.eye(K) - scale.T @ EXACT.precision() @ scale) ** 2))


def test_estimated_elbo_is_exact_at_the_posterior():
    family = FAMILIES["full"]
    estimate = estimates(family, optimum(family), keys(10), num_samples=20, chunk_size=10)
    log_evidence = EXACT.log_evidence(X_D)
    np.testing.assert_allclose(estimate.value, log_evidence, rtol=20 * EPS)
    assert np.all(estimate.stderr <= 20 * EPS * abs(log_evidence))
