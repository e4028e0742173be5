"""Likelihoods of levels: probabilities that sum to one, their draws, and the order of ordinal ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from tests.support import oracles
from vaelab.model.levels import categorical, ordinal

L = 5
LEVELS = np.float32(np.arange(L) / (L - 1))


def probabilities(likelihood, out_Q):
    log_p_L = jax.vmap(lambda x: likelihood.log_prob(out_Q, x[None]))(LEVELS)
    return np.exp(np.float64(log_p_L))


def outputs(likelihood, first):
    return np.concatenate([np.float32(first), np.float32(likelihood.learned)])


CASES = {
    "categorical": (categorical(levels=L), [0.3, -1.0, 2.0, 0.0, 0.5]),
    "ordinal": (ordinal(levels=L), [0.7]),
    "ordinal, far off": (ordinal(levels=L), [-9.0]),
}


@pytest.mark.parametrize("case", CASES)
def test_probabilities_sum_to_one_and_draws_are_of_them(case):
    likelihood, first = CASES[case]
    out_Q = outputs(likelihood, first)
    p_L = probabilities(likelihood, out_Q)
    np.testing.assert_allclose(p_L.sum(), 1.0, atol=1e-6)
    np.testing.assert_allclose(likelihood.mean(out_Q), [p_L @ LEVELS], atol=1e-6)
    keys = jax.random.split(jax.random.key(0), 20_000)
    x_S = np.asarray(jax.vmap(lambda key: likelihood.sample(key, out_Q))(keys))[:, 0]
    assert set(np.unique(x_S)) <= set(LEVELS)
    seen = p_L > 1e-3
    oracles.assert_mean(x_S[:, None] == LEVELS[None, seen], p_L[seen])


def test_categorical_takes_each_dimension_by_itself():
    out_LxD = np.random.default_rng(0).normal(size=(L, 3)).astype(np.float32)
    x_D = LEVELS[[4, 0, 2]]
    exact = scipy.special.log_softmax(np.float64(out_LxD), axis=0)[[4, 0, 2], [0, 1, 2]].sum()
    np.testing.assert_allclose(categorical(levels=L).log_prob(out_LxD.reshape(-1), x_D), exact, rtol=1e-6)


@pytest.mark.parametrize("m", [-60.0, -3.0, 0.0, 1.3, 60.0])
def test_ordinal_is_the_difference_of_two_sigmoids_far_off_too(m):
    cuts = np.float64([-2.0, -0.5, 0.1, 3.0])
    out_Q = np.float32([m, cuts[0], *np.log(np.diff(cuts))])
    value_L = jax.vmap(lambda x: ordinal(levels=L).log_prob(out_Q, x[None]))(LEVELS)
    a, b = np.r_[-np.inf, cuts] - m, np.r_[cuts, np.inf] - m
    exact_L = scipy.special.log_expit(b) + scipy.special.log_expit(-a) + np.log(-np.expm1(-(b - a)))
    np.testing.assert_allclose(value_L, exact_L, rtol=2e-5, atol=2e-6)
    grad = jax.vmap(jax.grad(lambda out, x: ordinal(levels=L).log_prob(out, x[None])), (None, 0))(
        out_Q, LEVELS
    )
    slope = scipy.special.expit(a) - scipy.special.expit(-b)
    np.testing.assert_allclose(grad[:, 0], slope, atol=1e-5)
    assert np.isfinite(grad).all()


def test_the_cutpoints_of_an_ordinal_are_in_order_and_about_zero_at_the_start():
    likelihood = ordinal(levels=L)
    assert len(likelihood.learned) == L - 1
    p_L = probabilities(likelihood, outputs(likelihood, [0.0]))
    np.testing.assert_allclose(p_L, p_L[::-1], atol=1e-6)
    assert p_L.min() > 0.05


def test_nothing_overflows_whatever_the_output():
    for likelihood, first in CASES.values():
        for size in (-1e6, -100.0, 100.0, 1e6):
            out_Q = jnp.asarray(outputs(likelihood, [size] * len(first)))
            for x in LEVELS:
                value, grad_Q = jax.value_and_grad(likelihood.log_prob)(out_Q, x[None])
                assert np.isfinite(value)
                assert np.isfinite(grad_Q).all()
