"""Bidirectional Monte Carlo on simulated data: exact log p(x) inside, widths that fall as 1 / T."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import oracles
from tests.support.oracles import EPS, LinearGaussian
from vaelab import model as models
from vaelab import posterior
from vaelab.evidence import annealing, bdmc
from vaelab.evidence.annealing import Annealing

K, D = 3, 5
EXACT = LinearGaussian.random(np.random.default_rng(0), D, (2.0, 1.0, 0.5), 1.0)
MODEL = models.linear_gaussian(K, (1.0,) * K, 1.0, D)
THETA = models.LinearGaussianParams(*EXACT.theta)
DIAGONAL, FULL = posterior.diagonal(K), posterior.full(K)
SETTINGS = Annealing(
    num_temperatures=8, num_chains=1, num_leapfrogs=2, schedule=annealing.linear, pilot_temperatures=8
)


@functools.cache
def bounds(settings, count, seed=0):
    """(x_NxD, Bidirectional of N simulated datapoints), from the prior."""

    def one(key):
        key_data, key_bounds = jax.random.split(key)
        z_K, x_D = models.simulate(MODEL, THETA, key_data)
        log_joint = models.bind(MODEL, THETA, x_D)
        pair = bdmc.bidirectional(log_joint, DIAGONAL, DIAGONAL.init(), z_K, key_bounds, settings=settings)
        return x_D, pair, pair.width

    pair = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(seed), count))
    return jax.tree.map(np.asarray, pair)


@functools.cache
def divergence():
    """E_x[KL(prior || posterior) + KL(posterior || prior)]: 1/2 (tr Lam + E m' Lam m + tr C + E m' m) - K."""
    covariance = EXACT.posterior(EXACT.bias)[1]
    precision = np.linalg.inv(covariance)
    means = np.eye(K) - covariance  # E m m', as Var z = E Var[z given x] + Var E[z given x]
    parts = precision, precision @ means, covariance, means
    return 0.5 * sum(np.trace(part) for part in parts) - K


@pytest.mark.long
def test_simulated_pairs_have_the_distribution_of_the_model():
    z_NxK, x_NxD = jax.vmap(lambda key: models.simulate(MODEL, THETA, key))(
        jax.random.split(jax.random.key(0), 20_000)
    )
    x_NxD = np.float64(x_NxD) - EXACT.bias
    oracles.assert_mean(x_NxD[:, :, None] * x_NxD[:, None, :], EXACT.evidence_covariance)
    oracles.assert_mean(x_NxD[:, :, None] * np.float64(z_NxK)[:, None, :], EXACT.weight)


@pytest.mark.long
@pytest.mark.slow
def test_both_weights_are_unbiased_and_the_truth_is_between_the_bounds():
    count = 10_000
    settings = SETTINGS._replace(num_temperatures=24, num_chains=2, schedule=annealing.equal_length)
    x_NxD, pair, _ = bounds(settings, count)
    truth_N = np.array([EXACT.log_evidence(x_D) for x_D in x_NxD])
    lower, upper = (np.float64(side.log_evidence) - truth_N for side in (pair.lower, pair.upper))
    oracles.assert_mean(np.exp(lower), 1.0, rounding=1e-4)
    oracles.assert_mean(np.exp(-upper), 1.0, rounding=1e-4)
    assert np.std(np.exp(-upper)) < 1.0  # so that a percent or two would be seen
    for side in (-lower, upper):
        assert np.mean(side) > 5.0 * np.std(side) / np.sqrt(count)


@pytest.mark.long
def test_chains_and_temperatures_bring_the_truth_inside_within_hundredths():
    settings = SETTINGS._replace(num_temperatures=100, num_chains=16, schedule=annealing.equal_length)
    x_NxD, pair, width_N = bounds(settings, 100)
    truth_N = np.array([EXACT.log_evidence(x_D) for x_D in x_NxD])
    for side, sign in ((pair.lower, -1.0), (pair.upper, 1.0)):
        error = sign * (np.float64(side.log_evidence) - truth_N)
        assert np.mean(error) > -5.0 * np.std(error) / np.sqrt(error.size)
        assert np.sqrt(np.mean(error**2)) < 0.1
    oracles.assert_mean(width_N, 0.0, rounding=0.02)
    assert np.all(pair.acceptance > 0.7)


SIZES, POINTS = (16, 40, 100), 4000


@pytest.mark.slow
def test_the_width_falls_as_one_over_the_temperatures():
    """Its slope is -1 on logarithmic axes, and its size the one of perfect mixing."""
    means, stderrs = np.array(
        [
            (np.mean(width), np.std(width) / np.sqrt(POINTS))
            for width in (
                bounds(SETTINGS._replace(num_temperatures=size), POINTS, seed=size)[2] for size in SIZES
            )
        ]
    ).T
    slope = np.polyfit(np.log(SIZES), np.log(means), 1)[0]
    assert abs(slope + 1.0) <= 0.2
    # The slope's own error is a small part of that.
    centred = np.log(SIZES) - np.mean(np.log(SIZES))
    assert np.sqrt(np.sum((centred * stderrs / means) ** 2)) / np.sum(centred**2) < 0.2 / 3
    # The plan from the coarsest comes true within a fifth, and the errors of both.
    planned = bdmc.temperatures_for(float(means[0]), num_temperatures=16, wanted=float(means[0]) * 0.16)
    assert planned == 100
    assert abs(means[-1] - 0.16 * means[0]) <= 0.2 * means[-1] + 5.0 * np.hypot(
        stderrs[-1], 0.16 * stderrs[0]
    )
    expected = divergence() / SIZES[-1]
    assert abs(means[-1] - expected) <= 0.3 * expected + 5.0 * stderrs[-1]


def test_a_plan_for_no_width_is_refused():
    assert bdmc.temperatures_for(0.5, num_temperatures=100, wanted=0.05) == 1000
    for width, wanted in ((-0.1, 0.1), (0.1, 0.0)):
        with pytest.raises(ValueError, match="above 0 nats"):
            bdmc.temperatures_for(width, num_temperatures=10, wanted=wanted)


@pytest.mark.long
def test_bounds_from_the_posterior_itself_meet():
    """q = posterior: every weight is p(x), in both directions."""

    def one(key):
        z_K, x_D = models.simulate(MODEL, THETA, key)
        mean_K, precision_KxK = MODEL.exact.posterior(THETA, x_D)
        phi_P = FULL.gaussian.project(mean_K, jnp.linalg.inv(jnp.linalg.cholesky(precision_KxK)).T)
        log_joint = models.bind(MODEL, THETA, x_D)
        pair = bdmc.bidirectional(log_joint, FULL, phi_P, z_K, key, settings=SETTINGS)
        return pair.width, MODEL.exact.log_evidence(THETA, x_D) - pair.lower.log_evidence

    np.testing.assert_allclose(jax.jit(one)(jax.random.key(3)), 0.0, atol=100 * EPS * 20.0)
