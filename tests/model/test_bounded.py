"""Likelihoods on [0, 1]: equal to SciPy's and to integrals in float64, at both extremes, with their draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from tests.support import oracles
from tests.support.densities import each
from vaelab.model.bounded import beta, clipped_gaussian, continuous_bernoulli

LOGITS = np.float32([-80.0, -9.0, -1.0, -0.3, -0.1, -1e-3, -1e-7, 0.0, 1e-7, 0.01, 0.3, 2.0, 30.0])
X = np.float32([0.0, 1e-3, 0.25, 0.5, 0.9, 1.0])
LIKELIHOODS = {
    "continuous_bernoulli": continuous_bernoulli(),
    "beta": beta(),
    "clipped_gaussian": clipped_gaussian(min_variance=1e-3),
}


def log_normaliser(logit_N):
    """log((e^l - 1) / l) in float64, by the integral of exp(l x) over [0, 1]."""
    l_N = np.float64(logit_N)
    near = np.abs(l_N) < 1e-3
    safe = np.where(near, 1.0, l_N)
    far = np.maximum(l_N, 0.0) + np.log(-np.expm1(-np.abs(safe)) / np.abs(safe))
    return np.where(near, l_N / 2 + l_N**2 / 24, far)


def test_continuous_bernoulli_is_normalised_and_right_near_one_half():
    l_N, x_N = (np.ravel(a) for a in np.meshgrid(LOGITS, X))
    value_N, grad_NxQ = each(LIKELIHOODS["continuous_bernoulli"], l_N[:, None], x_N)
    exact_N = np.float64(x_N) * l_N - log_normaliser(l_N)
    np.testing.assert_allclose(value_N, exact_N, rtol=1e-6, atol=1e-6)
    l = np.float64(LOGITS)
    near = np.abs(l) < 0.01
    mean = np.where(
        near, 0.5 + l / 12 - l**3 / 720, 1 / -np.expm1(-np.where(near, 1, l)) - 1 / np.where(near, 1, l)
    )
    np.testing.assert_allclose(continuous_bernoulli().mean(LOGITS), mean, atol=2e-6)
    means_N = np.ravel(np.meshgrid(mean, X)[0])
    np.testing.assert_allclose(grad_NxQ[:, 0], x_N - means_N, atol=3e-5)


@pytest.mark.parametrize("log_a", [-6.0, -2.0, 0.0, 3.0, 8.9])
@pytest.mark.parametrize("log_b", [-6.0, 0.0, 5.0, 8.9])
def test_beta_is_that_of_scipy(log_a, log_b):
    x_N = np.float32([2.0**-18, 1e-3, 0.1, 0.5, 0.7, 0.999, 1 - 2.0**-18])
    out_NxQ = np.tile(np.float32([log_a, log_b]), (len(x_N), 1))
    value_N, grad_NxQ = each(LIKELIHOODS["beta"], out_NxQ, x_N)
    a, b = np.exp(np.float64(np.float32([log_a, log_b])))
    exact_N = scipy.stats.beta.logpdf(np.float64(x_N), a, b)
    # A rounding of x, of log a or of log b moves log p by so much.
    moved_N = 2e-7 * (a + b) * (1 + np.abs(np.log(np.float64(x_N))) + np.abs(np.log1p(-np.float64(x_N))))
    assert np.all(np.abs(value_N - exact_N) <= 1e-4 + 2e-6 * np.abs(exact_N) + 10 * moved_N)
    slope_a = a * (np.log(np.float64(x_N)) - scipy.special.digamma(a) + scipy.special.digamma(a + b))
    slope_b = b * (np.log1p(-np.float64(x_N)) - scipy.special.digamma(b) + scipy.special.digamma(a + b))
    np.testing.assert_allclose(grad_NxQ[:, 0], slope_a, rtol=2e-4, atol=2e-3 + 1e-5 * a)
    np.testing.assert_allclose(grad_NxQ[:, 1], slope_b, rtol=2e-4, atol=2e-3 + 1e-5 * b)


@pytest.mark.parametrize(("mean", "raw"), [(0.5, 0.0), (0.1, -4.0), (-3.0, -2.0), (4.0, 1.0), (0.99, -100.0)])
def test_clipped_gaussian_has_masses_at_the_ends_and_a_density_between(mean, raw):
    likelihood, out_Q = LIKELIHOODS["clipped_gaussian"], np.float32([mean, raw])
    sd = np.sqrt(1e-3 + np.logaddexp(0.0, raw))
    value_N, grad_NxQ = each(likelihood, np.tile(out_Q, (3, 1)), np.float32([0.0, 1.0, 0.3]))
    ends = scipy.stats.norm.logcdf(-mean / sd), scipy.stats.norm.logcdf((mean - 1) / sd)
    np.testing.assert_allclose(value_N[:2], ends, rtol=2e-5)
    np.testing.assert_allclose(value_N[2], scipy.stats.norm.logpdf(0.3, mean, sd), rtol=2e-5, atol=2e-5)
    assert np.isfinite(grad_NxQ).all()
    inside, _ = scipy.integrate.quad(
        lambda x: scipy.stats.norm.pdf(x, mean, sd), 0, 1, points=[np.clip(mean, 0, 1)]
    )
    np.testing.assert_allclose(np.exp(value_N[:2]).sum() + inside, 1.0, atol=1e-5)
    first, _ = scipy.integrate.quad(
        lambda x: x * scipy.stats.norm.pdf(x, mean, sd), 0, 1, points=[np.clip(mean, 0, 1)]
    )
    np.testing.assert_allclose(likelihood.mean(out_Q), [first + np.exp(value_N[1])], atol=1e-5)


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("place", [(-0.5, 0.2), (0.001, 0.002), (1.5, 0.4)])
def test_draws_have_the_mean_and_the_square_of_the_density(name, place):
    likelihood = LIKELIHOODS[name]
    out_Q = np.float32(place)[: likelihood.outputs_per_dim]
    keys = jax.random.split(jax.random.key(0), 20_000)
    x_S = np.asarray(jax.jit(jax.vmap(lambda key: likelihood.sample(key, out_Q)))(keys))[:, 0]
    assert x_S.min() >= 0.0
    assert x_S.max() <= 1.0
    oracles.assert_mean(x_S, likelihood.mean(out_Q)[0])
    node_N, weight_N = np.polynomial.legendre.leggauss(400)
    x_N = np.float32(0.5 * (node_N + 1.0))
    p_N = np.exp(np.float64(jax.vmap(lambda x: likelihood.log_prob(out_Q, x[None]))(x_N))) * weight_N / 2
    at_one = np.exp(float(likelihood.log_prob(out_Q, jnp.ones(1)))) if name == "clipped_gaussian" else 0.0
    at_zero = np.exp(float(likelihood.log_prob(out_Q, jnp.zeros(1)))) if name == "clipped_gaussian" else 0.0
    np.testing.assert_allclose(p_N.sum() + at_one + at_zero, 1.0, atol=5e-3)
    oracles.assert_mean(x_S**2, p_N @ np.float64(x_N) ** 2 + at_one)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_nothing_overflows_whatever_the_output(name):
    likelihood = LIKELIHOODS[name]
    size_N, x_N = (np.ravel(a) for a in np.meshgrid([-1e6, -50.0, 50.0, 1e6], [0.0, 0.5, 1.0]))
    out_NxQ = np.tile(size_N[:, None], (1, likelihood.outputs_per_dim))
    value_N, grad_NxQ = each(likelihood, out_NxQ, x_N)
    assert np.isfinite(value_N).all()
    assert np.isfinite(grad_NxQ).all()
