"""Tempered SMC against exact log p(x), with the biases that it is said to have."""

import functools

import jax
import numpy as np
import pytest

from tests.support import oracles
from tests.support.oracles import LinearGaussian
from vaelab import model as models
from vaelab import posterior
from vaelab.evidence import smc
from vaelab.evidence.smc import Tempering, sequential_monte_carlo

K, D = 3, 5
EXACT = LinearGaussian.random(np.random.default_rng(0), D, (2.0, 1.0, 0.5), 1.0)
X_D = EXACT.sample(np.random.default_rng(1), 1)[0]
LOG_EVIDENCE = EXACT.log_evidence(X_D)
LOG_JOINT = models.bind(
    models.linear_gaussian(K, (1.0,) * K, 1.0, D), models.LinearGaussianParams(*EXACT.theta), X_D
)
DIAGONAL = posterior.diagonal(K)
OPTIMUM_P = EXACT.optimum("diagonal", X_D).astype(np.float32)
SMALL = Tempering(num_runs=8, num_particles=32, pilot_temperatures=8, pilot_chains=8)


@functools.cache
def estimator(settings):
    """(offset, phi_P, keys_N) -> Tempered of N keys."""

    def one(offset, phi_P, key):
        return sequential_monte_carlo(
            lambda z_K: LOG_JOINT(z_K) + offset, DIAGONAL, phi_P, key, settings=settings
        )

    return jax.jit(jax.vmap(one, (None, None, 0)))


def estimates(settings, phi_P, count, offset=0.0):
    tempered = estimator(settings)(offset, phi_P, jax.random.split(jax.random.key(0), count))
    return jax.tree.map(np.asarray, tempered)


@pytest.mark.long
@pytest.mark.parametrize("start", ["prior", "optimum"])
def test_intervals_hold_log_evidence_as_often_as_they_say(start):
    """Within t quantiles of 8 runs, after the stated bias of the logarithm, stderr^2 / 2 below."""
    phi_P = OPTIMUM_P if start == "optimum" else DIAGONAL.init()
    tempered = estimates(SMALL, phi_P, 200)
    error = np.float64(tempered.evidence.log_evidence) - LOG_EVIDENCE
    assert np.all(tempered.unfinished == 0.0)
    assert np.all(tempered.acceptance > 0.6)
    # Adaptive temperatures: consistent, with a bias of the order of one run's relative variance at most.
    oracles.assert_mean(np.exp(error), 1.0, rounding=np.var(error))
    t_quantile = 2.365  # 97.5%, 7 degrees of freedom
    held = np.mean(np.abs(error + 0.5 * tempered.evidence.stderr**2) <= t_quantile * tempered.evidence.stderr)
    assert abs(held - 0.95) <= 5.0 * np.sqrt(0.95 * 0.05 / error.size)
    assert np.sqrt(np.mean(error**2)) < 0.15


@pytest.mark.long
def test_particles_are_those_of_every_run_and_at_the_posterior():
    particle_NxSxK = estimates(SMALL, OPTIMUM_P, 200).particle_SxK
    assert particle_NxSxK.shape == (200, SMALL.num_runs * SMALL.num_particles, K)
    run_NxRxK = particle_NxSxK.reshape(200, SMALL.num_runs, -1, K).mean(axis=2)
    # No two runs of a datapoint: of all numbers at once two may well round alike.
    assert np.all(np.diff(np.sort(run_NxRxK, axis=1), axis=1) > 0)
    mean_K = EXACT.posterior(X_D)[0]
    for r in range(SMALL.num_runs):
        for k in range(K):
            oracles.assert_mean(np.float64(run_NxRxK[:, r, k]), mean_K[k], rounding=0.01)


def test_more_is_tempered_from_the_prior_than_from_near_the_posterior():
    prior, near = (estimates(SMALL, phi_P, 200).num_temperatures for phi_P in (DIAGONAL.init(), OPTIMUM_P))
    assert np.mean(near) < np.mean(prior)
    count = smc.evaluations(SMALL, 10.0) - smc.evaluations(SMALL, 9.0)
    assert count == 8 * 32 * (3 + 2 * 2)


@pytest.mark.long
def test_a_run_that_does_not_arrive_counts_as_no_weight():
    tempered = estimates(SMALL._replace(max_temperatures=2), DIAGONAL.init(), 2)
    np.testing.assert_array_equal(tempered.unfinished, 1.0)
    np.testing.assert_array_equal(tempered.evidence.log_evidence, -np.inf)
    assert not np.any(tempered.evidence.finite)


@pytest.mark.long
@pytest.mark.parametrize("offset", [-np.inf, np.nan])
def test_no_density_is_marked(offset):
    tempered = estimates(SMALL, OPTIMUM_P, 2, offset)
    assert not np.any(tempered.evidence.finite)
    np.testing.assert_array_equal(tempered.acceptance, 0.0)
    np.testing.assert_array_equal(tempered.evidence.effective_sample_size, 0.0)


@pytest.mark.long
def test_a_constant_factor_of_the_density_is_a_term_of_the_estimate():
    plain, moved = (estimates(SMALL, OPTIMUM_P, 2, offset).evidence.log_evidence for offset in (0.0, 8.0))
    np.testing.assert_allclose(moved - 8.0, plain, atol=2e-4)  # float32 sums, and what they do to ties
