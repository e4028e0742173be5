"""Likelihoods of counts: equal to SciPy's in float64 at all extremes, with gradients and draws."""

import jax
import numpy as np
import pytest
import scipy.special
import scipy.stats

from tests.support import oracles
from tests.support.densities import each
from vaelab.model.counts import (
    LARGE_RATE,
    LARGEST_COUNT,
    _quantile_of_large,
    negative_binomial,
    poisson,
    zero_inflated_negative_binomial,
)

POISSON, NEGATIVE_BINOMIAL = poisson(), negative_binomial()
LIKELIHOODS = {each.name: each for each in (POISSON, NEGATIVE_BINOMIAL, zero_inflated_negative_binomial())}
COUNTS = np.float32([0, 1, 2, 7, 30, 1000, 123_456, 5_000_000])
LOG_RATES = np.float32([-15.0, -3.0, 0.0, 2.0, 7.0, 11.7, 15.4])


def sensitivity(x_N, rate_N):
    """How much log p moves by a rounding of the log rate: no float32 can be better than that."""
    return 2e-6 * np.abs(x_N - rate_N) + 4e-7 * rate_N**0.5


def test_poisson_is_that_of_scipy():
    l_N, x_N = (np.ravel(a) for a in np.meshgrid(LOG_RATES, COUNTS))
    value_N, grad_NxQ = each(POISSON, l_N[:, None], x_N)
    rate_N = np.exp(np.float64(l_N))
    exact_N = scipy.stats.poisson.logpmf(x_N, rate_N)
    assert np.all(np.abs(value_N - exact_N) <= 1e-5 + 1e-6 * np.abs(exact_N) + sensitivity(x_N, rate_N))
    np.testing.assert_allclose(
        grad_NxQ[:, 0], x_N - rate_N, rtol=2e-5, atol=2e-5 * np.maximum(1.0, rate_N.max() ** 0)
    )


@pytest.mark.parametrize("log_theta", [-7.0, -2.0, 0.0, 2.3, 6.0, 13.0])
def test_negative_binomial_is_that_of_scipy(log_theta):
    l_N, x_N = (np.ravel(a) for a in np.meshgrid(LOG_RATES, COUNTS))
    out_NxQ = np.stack([l_N, np.full_like(l_N, log_theta)], axis=1)
    value_N, grad_NxQ = each(NEGATIVE_BINOMIAL, out_NxQ, x_N)
    rate_N, theta = np.exp(np.float64(l_N)), np.exp(np.float64(np.float32(log_theta)))

    def exact(l_N, t):
        rate_N, theta = np.exp(l_N), np.exp(t)
        combine = scipy.special.gammaln(x_N + theta) - scipy.special.gammaln(theta)
        combine -= scipy.special.gammaln(np.float64(x_N) + 1)
        return combine - theta * np.log1p(rate_N / theta) + x_N * (l_N - np.log(theta + rate_N))

    exact_N = exact(np.float64(l_N), np.log(theta))
    moved = theta * np.abs(x_N - rate_N) / (theta + rate_N)
    assert np.all(np.abs(value_N - exact_N) <= 2e-5 + 2e-6 * np.abs(exact_N) + 3e-6 * moved)
    slope_N = theta * (x_N - rate_N) / (theta + rate_N)
    np.testing.assert_allclose(grad_NxQ[:, 0], slope_N, rtol=1e-4, atol=1e-4)
    step = 1e-5
    slope_N = (
        exact(np.float64(l_N), np.log(theta) + step) - exact(np.float64(l_N), np.log(theta) - step)
    ) / (2 * step)
    np.testing.assert_allclose(grad_NxQ[:, 1], slope_N, rtol=5e-3, atol=5e-3 + 1e-5 * theta)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_probabilities_sum_to_one_and_draws_are_of_them(name):
    likelihood = LIKELIHOODS[name]
    out_Q = np.float32([1.2, 0.3, -0.5])[: likelihood.outputs_per_dim]
    count_N = np.arange(400, dtype=np.float32)
    log_p_N = jax.vmap(lambda x: likelihood.log_prob(out_Q, x[None]))(count_N)
    p_N = np.exp(np.float64(log_p_N))
    np.testing.assert_allclose(p_N.sum(), 1.0, atol=1e-5)
    np.testing.assert_allclose(likelihood.mean(out_Q), [p_N @ count_N], rtol=1e-4)
    keys = jax.random.split(jax.random.key(0), 20_000)
    x_S = np.asarray(jax.vmap(lambda key: likelihood.sample(key, out_Q))(keys))[:, 0]
    assert x_S.dtype == np.float32
    oracles.assert_mean(x_S[:, None] == [[0.0, 1.0, 2.0, 5.0]], p_N[[0, 1, 2, 5]])
    oracles.assert_mean(x_S, p_N @ count_N)


def test_zeros_beyond_those_of_the_counts():
    """At g = +-inf the gate is all or nothing; at a count above 0 only the open gate counts."""
    x_D = np.float32([0.0, 3.0])
    nb = negative_binomial().log_prob(np.float32([0.5, 0.5, 1.0, 1.0]), x_D)
    zinb = zero_inflated_negative_binomial().log_prob
    np.testing.assert_allclose(zinb(np.float32([0.5, 0.5, 1.0, 1.0, -50.0, -50.0]), x_D), nb, rtol=1e-6)
    shut = zinb(np.float32([0.5, 1.0, 40.0]), x_D[:1])
    np.testing.assert_allclose(shut, 0.0, atol=1e-6)
    np.testing.assert_allclose(
        zinb(np.float32([0.5, 1.0, 2.0]), x_D[1:]),
        scipy.special.log_expit(-2.0) + negative_binomial().log_prob(np.float32([0.5, 1.0]), x_D[1:]),
        rtol=1e-5,
    )


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_nothing_overflows_whatever_the_output(name):
    likelihood = LIKELIHOODS[name]
    size_N, x_N = (np.ravel(a) for a in np.meshgrid([-1e9, -100.0, 100.0, 1e9], [0.0, 1.0, LARGEST_COUNT]))
    out_NxQ = np.float32(np.tile(size_N[:, None], (1, likelihood.outputs_per_dim)))
    value_N, grad_NxQ = each(likelihood, out_NxQ, x_N)
    assert np.isfinite(value_N).all()
    assert np.isfinite(grad_NxQ).all()
    keys = jax.random.split(jax.random.key(1), len(out_NxQ))
    assert np.isfinite(jax.jit(jax.vmap(likelihood.sample))(keys, out_NxQ)).all()


@pytest.mark.parametrize("log_rate", [4.0, 9.1, 9.3, 13.8, 14.9, 16.0])
def test_samples_of_large_counts_have_the_moments_of_poisson(log_rate):
    """jax.random.poisson at e^14.9 has a variance 9% low, at e^16 an excess kurtosis of 1.6."""
    count = 100_000
    rate = float(np.exp(np.float64(np.float32(log_rate))))
    out_D = np.full(count, log_rate, np.float32)
    x_S = np.float64(jax.jit(POISSON.sample)(jax.random.key(3), out_D))
    np.testing.assert_array_equal(x_S, np.round(x_S))
    # The rate is exp in float32: 1e-6 of it, which at e^16 is 9 counts of a standard deviation of 2,981.
    standard_S = (x_S - rate) / np.sqrt(rate)
    assert abs(standard_S.mean()) < 5 / np.sqrt(count) + 1e-6 * np.sqrt(rate)
    assert abs(standard_S.var() - 1.0) < 5 * np.sqrt(2 / count)
    skewness = np.mean((standard_S - standard_S.mean()) ** 3)
    assert abs(skewness - 1 / np.sqrt(rate)) < 5 * np.sqrt(6 / count)
    kurtosis = np.mean((standard_S - standard_S.mean()) ** 4) / standard_S.var() ** 2 - 3.0
    assert abs(kurtosis - 1 / rate) < 5 * np.sqrt(24 / count)


@pytest.mark.parametrize("rate", [LARGE_RATE, 3e6])
def test_a_sample_of_a_large_rate_is_the_quantile_of_its_normal_number(rate):
    """To the whole number beside, and the rounding of float32: samples are floats."""
    g_N = np.linspace(-4.0, 4.0, 81)
    exact_N = scipy.stats.poisson.ppf(scipy.stats.norm.cdf(g_N), rate)
    made_N = np.float64(_quantile_of_large(np.float32(rate), np.float32(g_N)))
    assert np.max(np.abs(made_N - exact_N)) <= 1.0 + 2e-7 * rate
    assert abs(np.mean(made_N - exact_N)) < 0.6  # ppf rounds up, and this to the nearest
