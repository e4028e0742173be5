"""Simulation-based calibration tells a posterior from what is not one."""

import jax
import numpy as np
import pytest

from tests.support.oracles import LinearGaussian
from vaelab import posterior
from vaelab.measure.calibration import calibration

K, D, N = 3, 6, 1000
EXACT = LinearGaussian.random(np.random.default_rng(0), D, (3.0, 1.0, 0.3), 0.5)
INDEX_N = np.arange(N)
FAMILIES = {"full": posterior.full(K), "diagonal": posterior.diagonal(K)}


def simulated(rng):
    """z ~ N(0, I) and x given z, N of each."""
    z_NxK = rng.normal(size=(N, K))
    noise = np.sqrt(EXACT.variance) * rng.normal(size=(N, D))
    return np.float32(z_NxK), np.float32(z_NxK @ EXACT.weight.T + EXACT.bias + noise)


def calibrate(name, seed, change=lambda phi_P: phi_P):
    z_NxK, x_NxD = simulated(np.random.default_rng(seed))
    phi_NxP = np.float32([change(EXACT.optimum(name, x_D)) for x_D in x_NxD])
    return calibration(FAMILIES[name], phi_NxP, INDEX_N, z_NxK, jax.random.key(seed), num_draws=199)


def test_p_values_of_the_exact_posterior_are_those_of_chance():
    """Bonferroni's bound: below p no more often than p, over 60 sets of data."""
    p_values = np.array([calibrate("full", seed).p_value for seed in range(60)])
    for level in (0.05, 0.2):
        assert np.mean(p_values < level) <= level + 5.0 * np.sqrt(level * (1.0 - level) / 60)
    assert np.mean(p_values) > 0.3


def test_mean_field_on_a_correlated_posterior_fails_and_is_too_narrow():
    found = calibrate("diagonal", 0)
    assert found.p_value < 1e-6
    assert found.tails > 0.12


@pytest.mark.parametrize("part", ["mean", "scale"])
def test_a_posterior_a_little_off_fails(part):
    def change(phi_P):
        phi_P = phi_P.copy()
        if part == "mean":
            phi_P[:K] += 0.1
        else:
            phi_P[K:] *= 1.3
        return phi_P

    assert calibrate("full", 1, change).p_value < 1e-3


def test_a_phi_that_is_not_finite_is_left_out():
    z_NxK, x_NxD = simulated(np.random.default_rng(2))
    phi_NxP = np.float32([EXACT.optimum("full", x_D) for x_D in x_NxD])
    phi_NxP[7] = np.nan
    found = calibration(FAMILIES["full"], phi_NxP, INDEX_N, z_NxK, jax.random.key(0), num_draws=199)
    assert found.p_value > 1e-3


def test_the_share_of_z_outside_of_q_is_what_q_claims_or_tells_that_it_is_too_narrow_or_elsewhere():
    exact = calibrate("full", 3).outside
    assert abs(exact - 0.001) < 5.0 * np.sqrt(0.001 / N)

    def other_mode(phi_P):
        return np.concatenate([phi_P[:K] + 50.0, phi_P[K:]])

    assert calibrate("full", 3, other_mode).outside == 1.0
    assert calibrate("diagonal", 3).outside > 0.01
