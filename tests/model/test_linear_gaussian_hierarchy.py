"""The linear-Gaussian hierarchy against dense algebra in float64: the joint Gaussian of all levels and x."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import oracles
from vaelab import model as models
from vaelab import posterior
from vaelab.measure.gap import exact_gap

D, LEVELS = 5, {1: (3,), 2: (3, 2), 3: (2, 3, 2)}
MODELS = {
    number: models.linear_gaussian_hierarchy(sizes, (2.0, 0.7, 0.3)[: sizes[0]], 0.6, D)
    for number, sizes in LEVELS.items()
}


@pytest.fixture(params=LEVELS)
def case(request):
    """(the levels, theta with a bias in every level, the oracle, x)."""
    sizes, random = LEVELS[request.param], np.random.default_rng(request.param)
    theta = MODELS[request.param].init(jax.random.key(request.param))
    for of_level in theta["prior"].values():
        size = of_level["bias_K"].size
        of_level["bias_K"] = np.float32(random.normal(size=size))
        of_level["log_scale_K"] = np.float32(0.3 * random.normal(size=size) - 0.4)
    return MODELS[request.param], sizes, theta, oracles.LinearHierarchy.of(theta, sizes), random


def test_log_evidence_and_posterior_are_those_of_the_joint_gaussian(case):
    model, _, theta, exact, random = case
    x_D = np.float32(2.0 * random.normal(size=D))
    np.testing.assert_allclose(model.exact.log_evidence(theta, x_D), exact.log_evidence(x_D), rtol=2e-5)
    mean_K, covariance_KxK = exact.posterior(x_D)
    got_mean_K, got_precision_KxK = model.exact.posterior(theta, x_D)
    np.testing.assert_allclose(got_mean_K, mean_K, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(got_precision_KxK, np.linalg.inv(covariance_KxK), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(model.concavity(theta, x_D), got_precision_KxK, rtol=1e-4, atol=1e-4)


def test_the_joint_density_is_posterior_times_evidence_and_the_first_level_alone_is_read(case):
    model, sizes, theta, exact, random = case
    x_D, z_K = np.float32(random.normal(size=D)), np.float32(random.normal(size=sum(sizes)))
    mean_K, covariance_KxK = exact.posterior(x_D)
    joint = exact.log_evidence(x_D) + oracles.log_normal(np.float64(z_K), mean_K, covariance_KxK)
    np.testing.assert_allclose(models.bind(model, theta, x_D)(z_K), joint, rtol=1e-5, atol=1e-4)
    gradient_K = jax.grad(model.log_likelihood, argnums=2)(theta, x_D, z_K)
    assert np.all(gradient_K[sizes[0] :] == 0.0)
    assert np.all(gradient_K[: sizes[0]] != 0.0)


def test_every_nested_gap_is_that_of_the_blocks_of_the_precision(case):
    """1/2 (sum_b log|Lam_bb| - log|Lam|), b the numbers or the levels of z; none for a joint Gaussian."""
    model, sizes, theta, exact, random = case
    K, x_NxD = sum(sizes), np.float32(random.normal(size=(3, D)))
    precision_KxK = np.linalg.inv(exact.posterior(x_NxD[0])[1])
    whole = oracles.log_abs_det(precision_KxK)
    ends = np.cumsum(sizes)
    blocks = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    by_level = 0.5 * (sum(oracles.log_abs_det(precision_KxK[b, b]) for b in blocks) - whole)
    truths = {
        posterior.diagonal(K): 0.5 * (np.sum(np.log(np.diag(precision_KxK))) - whole),
        posterior.per_level(K, levels=sizes): by_level,
        posterior.full(K): 0.0,
    }
    assert next(iter(truths.values())) > by_level + 0.01
    assert (by_level > 0.01) == (len(sizes) > 1)
    for family, truth in truths.items():
        gap = exact_gap(model, family, theta, x_NxD, jnp.tile(family.init(), (3, 1)))
        np.testing.assert_allclose(gap.approximation, truth, atol=2e-4)


def test_samples_are_of_the_joint_gaussian(case):
    model, _, theta, exact, _ = case
    keys = jax.random.split(jax.random.key(5), 4000)
    z_SxK, x_SxD = map(np.float64, jax.jit(jax.vmap(lambda key: models.simulate(model, theta, key)))(keys))
    both = np.concatenate([z_SxK, x_SxD], axis=1)
    oracles.assert_mean(both, exact.mean)
    away = both - exact.mean
    oracles.assert_mean(away[:, :, None] * away[:, None, :], exact.covariance)


def test_at_the_start_each_dimension_of_the_upper_levels_is_standard_and_levels_are_correlated():
    theta = MODELS[3].init(jax.random.key(0))
    covariance = oracles.LinearHierarchy.of(theta, LEVELS[3]).covariance
    K = sum(LEVELS[3])
    np.testing.assert_allclose(np.diag(covariance)[2:K], 1.0, rtol=1e-5)
    for across in (covariance[:2, 2:5], covariance[2:5, 5:K]):
        assert np.abs(across).max() > 0.3
