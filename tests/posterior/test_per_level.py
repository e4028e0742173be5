"""A block for each level of z: nested between the diagonal and the full family, with blocks of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import oracles
from vaelab import posterior
from vaelab.inference import certificate

LEVELS, K = (3, 2), 5
FAMILY = posterior.per_level(K, levels=LEVELS)
BLOCKS = slice(0, 3), slice(3, 5)


def member(family, seed=0, size=0.4):
    return family.init() + np.float32(size * np.random.default_rng(seed).normal(size=family.param_size))


def covariance(family, phi_P):
    scale_KxK = np.float64(family.gaussian.location_scale(phi_P)[1])
    return scale_KxK @ scale_KxK.T


def posterior_of(seed=3, condition=100.0):
    root_KxK = oracles.random_scale(np.random.default_rng(seed), K, condition)
    return np.arange(K) / K, root_KxK


def test_it_has_correlations_within_levels_and_none_across():
    covariance_KxK = covariance(FAMILY, member(FAMILY))
    assert np.all(covariance_KxK[BLOCKS[0], BLOCKS[1]] == 0.0)
    for block in BLOCKS:
        assert np.abs(np.triu(covariance_KxK[block, block], 1)).max() > 0.01


@pytest.mark.parametrize("condition", [10.0, 1e4])
def test_its_best_member_has_the_inverse_of_each_block_of_the_precision(condition):
    mean_K, root_KxK = posterior_of(condition=condition**0.5)
    precision_KxK = np.linalg.inv(root_KxK @ root_KxK.T)
    phi_P = FAMILY.gaussian.project(np.float32(mean_K), np.float32(root_KxK))
    got_KxK = covariance(FAMILY, phi_P)
    for block in BLOCKS:
        exact = np.linalg.inv(precision_KxK[block, block])
        np.testing.assert_allclose(got_KxK[block, block], exact, rtol=2e-3, atol=1e-4 * np.abs(exact).max())
    np.testing.assert_allclose(phi_P[:K], mean_K, atol=1e-7)


def test_the_best_member_beats_every_other_and_lies_between_diagonal_and_full():
    mean_K, root_KxK = posterior_of()

    def kl(other, phi_P):
        mu_K = np.float64(other.gaussian.location_scale(phi_P)[0])
        return oracles.gaussian_kl(mu_K, covariance(other, phi_P), mean_K, root_KxK @ root_KxK.T)

    best = {
        other.name: kl(other, other.gaussian.project(np.float32(mean_K), np.float32(root_KxK)))
        for other in (posterior.diagonal(K), FAMILY, posterior.full(K))
    }
    assert best["diagonal"] > best["per_level"] + 0.05
    assert best["per_level"] > best["full"] + 0.05
    phi_P = FAMILY.gaussian.project(np.float32(mean_K), np.float32(root_KxK))
    for seed in range(5):
        step_P = np.float32(0.01 * np.random.default_rng(seed).normal(size=FAMILY.param_size))
        assert kl(FAMILY, phi_P + step_P) > best["per_level"]


def test_the_natural_gradient_is_that_of_its_fisher_information():
    """With d = F^+ g, KL(q || q + t d) = t^2 / 2 d' F d = t^2 / 2 g' d to second order."""
    phi_P = member(FAMILY, 2, 0.2)
    # A gradient of a function of q alone: no part along directions that leave q as it is.
    target = posterior_of(5, 4.0)
    inverse_KxK = np.linalg.inv(target[1] @ target[1].T).astype(np.float32)

    def bound(phi_P):
        mu_K, scale_KxK = FAMILY.gaussian.location_scale(phi_P)
        _, log_q = FAMILY.sample_and_log_prob(phi_P, jnp.zeros(K))
        return -0.5 * mu_K @ inverse_KxK @ mu_K - 0.5 * jnp.sum(scale_KxK * (inverse_KxK @ scale_KxK)) - log_q

    grad_P = np.float64(jax.jit(jax.grad(bound))(phi_P))
    step_P = np.float64(FAMILY.gaussian.natural_gradient(phi_P, np.float32(grad_P)))
    t = 3e-3
    moved = [covariance(FAMILY, np.float32(phi_P + sign * t * step_P)) for sign in (1, -1)]
    here_K, here_KxK = np.float64(phi_P[:K]), covariance(FAMILY, phi_P)
    kl = np.mean([
        oracles.gaussian_kl(here_K, here_KxK, here_K + sign * t * step_P[:K], moved[i])
        for i, sign in enumerate((1, -1))
    ])  # fmt: skip
    np.testing.assert_allclose(2.0 * kl / t**2, grad_P @ step_P, rtol=2e-3)


def test_the_bound_is_never_below_the_true_excess():
    """With C the precision of a Gaussian posterior, over members from the optimum to far off."""
    mean_K, root_KxK = posterior_of(7, 20.0)
    precision_KxK = np.float32(np.linalg.inv(root_KxK @ root_KxK.T))

    def elbo(phi_P):
        mu_K, scale_KxK = FAMILY.gaussian.location_scale(phi_P)
        away_K = mu_K - np.float32(mean_K)
        _, log_q = FAMILY.sample_and_log_prob(phi_P, jnp.zeros(K))
        quadratic = away_K @ precision_KxK @ away_K + jnp.sum(scale_KxK * (precision_KxK @ scale_KxK))
        return -0.5 * quadratic - log_q

    optimum_P = FAMILY.gaussian.project(np.float32(mean_K), np.float32(root_KxK))
    random = np.random.default_rng(8)

    @jax.jit
    @jax.vmap
    def both(phi_P):
        value, grad_P = jax.value_and_grad(elbo)(phi_P)
        return value, certificate.bound_excess(FAMILY, phi_P, jnp.tile(grad_P, (3, 1)), precision_KxK).value

    steps_NxP = np.geomspace(1e-3, 1.0, 40)[:, None] * random.normal(size=(40, FAMILY.param_size))
    value_N, bound_N = map(
        np.float64, both(np.asarray(optimum_P) + np.float32([0.0 * steps_NxP[0], *steps_NxP]))
    )
    excess_N = value_N[0] - value_N[1:]
    assert np.all(bound_N[1:] >= excess_N * (1.0 - 1e-3) - 1e-5)
    assert np.median(bound_N[11:21] / excess_N[10:20]) < 2.0
