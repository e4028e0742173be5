"""The Pareto k-hat against exact tails, the maximum of the likelihood and other implementations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blackjax.diagnostics import psis_weights
from scipy import stats

from tests.support import oracles
from vaelab.evidence.pareto import PRIOR_DRAWS, PRIOR_K, tail_size
from vaelab.evidence.weights import from_log_weights

SIZE = 10_000
TAIL = 300


@functools.cache
def tails(count=50):
    """{k: log weights [count, SIZE]} with exactly Pareto tails of index k."""
    rng = np.random.default_rng(0)
    return {
        k: np.log1p(stats.genpareto.rvs(k, size=(count, SIZE), random_state=rng))
        for k in (-0.4, 0.01, 0.3, 0.5, 0.7, 1.0, 2.0)
    }


@functools.cache
def k_of():
    return jax.jit(jax.vmap(lambda log_w_S: from_log_weights(log_w_S).pareto_k))


def test_tail_sizes():
    assert [tail_size(size) for size in (1, 20, 100, 225, 10_000, 100_000)] == [1, 4, 20, 45, 300, 949]


@pytest.mark.long
@pytest.mark.parametrize("k", [-0.4, 0.01, 0.3, 0.5, 0.7, 1.0, 2.0])
def test_k_of_exact_tails(k):
    """Unbiased up to the prior's pull and the order 1 / M of a posterior mean."""
    value_N = np.float64(k_of()(np.float32(tails()[k])))
    expected = (TAIL * k + PRIOR_DRAWS * PRIOR_K) / (TAIL + PRIOR_DRAWS)
    oracles.assert_mean(value_N, expected, rounding=5.0 / TAIL)
    # The asymptotic variance of the maximum likelihood is (1 + k)^2 / M where k > -1/2.
    np.testing.assert_allclose(np.std(value_N), (1 + k) / np.sqrt(TAIL), rtol=5 / np.sqrt(2 * 50))


@pytest.mark.parametrize("k", [0.3, 0.7, 1.0])
def test_k_is_near_the_maximum_of_the_likelihood(k):
    for log_w_S in tails()[k][:5]:
        w_S = np.sort(np.exp(log_w_S))[::-1]
        likely = stats.genpareto.fit(w_S[:TAIL] - w_S[TAIL], floc=0)[0]
        expected = (TAIL * likely + PRIOR_DRAWS * PRIOR_K) / (TAIL + PRIOR_DRAWS)
        # A posterior mean and a mode differ by a part of the standard error.
        assert abs(k_of()(np.float32(log_w_S)[None])[0] - expected) < 0.25 * (1 + k) / np.sqrt(TAIL)


@pytest.mark.long
@pytest.mark.parametrize("k", [-0.4, 0.3, 1.0, 2.0])
def test_k_equals_that_of_blackjax(k):
    for log_w_S in np.float32(tails()[k][:3]):
        other = psis_weights(jnp.asarray(log_w_S))[1]
        np.testing.assert_allclose(k_of()(log_w_S[None])[0], other, rtol=1e-3, atol=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0, 300.0])
def test_k_of_weights_that_span_more_than_float32(spread):
    """Against the same fit in float64 NumPy, and unmoved by a factor of the weights."""
    log_w_S = np.random.default_rng(0).normal(size=1000) * spread
    expected = zhang_stephens(np.sort(np.float64(np.float32(log_w_S)))[::-1][:96])
    for shift in (0.0, 64.0):
        weighed = from_log_weights(np.float32(log_w_S) + np.float32(shift)).pareto_k
        np.testing.assert_allclose(weighed, expected, rtol=0.02, atol=0.01)


def zhang_stephens(log_w):
    """k-hat as the paper writes it, in float64; log_w in falling order."""
    x = np.exp(log_w[:-1] - log_w[0])[::-1] - np.exp(log_w[-1] - log_w[0])
    n, m = x.size, 30 + int(np.sqrt(x.size))
    b = 1 / x[-1] + (1 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))) / (3 * x[int(n / 4 + 0.5) - 1])
    k = np.mean(np.log1p(-b[:, None] * x), axis=1)
    likelihood = n * (np.log(-b / k) - k - 1)
    weight = np.exp(likelihood - likelihood.max())
    b_mean = b @ weight / weight.sum()
    return (n * np.mean(np.log1p(-b_mean * x)) + PRIOR_DRAWS * PRIOR_K) / (n + PRIOR_DRAWS)


def test_a_tail_that_cannot_be_fitted_is_marked():
    few = np.full(1000, -np.inf, np.float32)
    few[:3] = 0.0
    one = np.zeros(1000, np.float32)
    one[0] = 9.0
    assert from_log_weights(jnp.zeros(1000)).pareto_k == -np.inf  # equal weights: nothing to fear
    for log_w_S in (few, one, np.zeros(10, np.float32), np.full(1000, -np.inf), np.full(1000, np.nan)):
        assert from_log_weights(jnp.float32(log_w_S)).pareto_k == np.inf
