"""Likelihoods are normalised densities, and their values and gradients hold at the extremes."""

import itertools

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import scipy.stats

from tests.support import oracles
from tests.support.oracles import EPS
from vaelab.model.likelihood import bernoulli, discretized_logistic, gaussian, gaussian_one_variance

MIN_VARIANCE = 1e-4
EXTREME = np.float32([-100.0, -30.0, -3.0, 0.0, 0.5, 3.0, 30.0, 100.0])


def over(function, in_axes=0):
    return jax.jit(jax.vmap(function, in_axes))


def test_bernoulli_sums_to_one_over_all_binary_x():
    D = 10
    x_NxD = np.float32(list(itertools.product([0, 1], repeat=D)))
    rng = np.random.default_rng(0)
    for scale in (0.0, 1.0, 10.0, 100.0):
        logit_D = np.float32(scale * rng.normal(size=D))
        log_p_N = np.float64(over(bernoulli().log_prob, (None, 0))(logit_D, x_NxD))
        # Each log p is a float32 sum of terms up to |l|.
        np.testing.assert_allclose(
            scipy.special.logsumexp(log_p_N), 0.0, atol=2 * EPS * np.sum(1 + np.abs(logit_D))
        )


def test_bernoulli_value_and_gradient_are_exact_at_any_logit():
    x_D, logit_D = np.repeat(np.float32([0, 1]), EXTREME.size), np.tile(EXTREME, 2)
    value_D, (grad_D, slope_D) = over(jax.value_and_grad(bernoulli().log_prob, (0, 1)))(
        logit_D[:, None], x_D[:, None]
    )
    exact_D = -np.logaddexp(0.0, np.where(x_D == 1, -1.0, 1.0) * np.float64(logit_D))
    np.testing.assert_allclose(value_D, exact_D, atol=EPS * (1 + np.abs(logit_D)).max())
    np.testing.assert_allclose(grad_D[:, 0], x_D - scipy.special.expit(np.float64(logit_D)), atol=EPS)
    np.testing.assert_array_equal(slope_D[:, 0], logit_D)  # of the continuous extension in x


def test_bernoulli_equals_that_of_distrax():
    rng = np.random.default_rng(1)
    x_D = np.float32(rng.integers(0, 2, EXTREME.size + 50))
    logit_D = np.concatenate([EXTREME, np.float32(5 * rng.normal(size=50))])

    def of_distrax(logit_D):
        return distrax.Independent(distrax.Bernoulli(logits=logit_D), 1).log_prob(x_D)

    ours, grad_D = jax.jit(jax.value_and_grad(bernoulli().log_prob))(logit_D, x_D)
    theirs, their_grad_D = jax.jit(jax.value_and_grad(of_distrax))(logit_D)
    np.testing.assert_allclose(ours, theirs, atol=EPS * np.sum(1 + np.abs(logit_D)))
    np.testing.assert_allclose(grad_D, their_grad_D, atol=8 * EPS)


def test_bernoulli_second_derivative_is_minus_the_variance():
    p_D = scipy.special.expit(np.float64(EXTREME))
    curvature = jax.jit(jax.hessian(bernoulli().log_prob))(EXTREME, jnp.ones(EXTREME.size))
    np.testing.assert_allclose(curvature, -np.diag(p_D * (1 - p_D)), atol=EPS)


def test_bernoulli_draws_have_its_mean():
    likelihood, logit_D = bernoulli(), np.float32([-4.0, -1.0, 0.0, 2.0])
    keys = jax.random.split(jax.random.key(0), 20_000)
    x_SxD = np.asarray(over(likelihood.sample, (0, None))(keys, logit_D))
    np.testing.assert_array_equal(np.unique(x_SxD), [0.0, 1.0])
    np.testing.assert_allclose(likelihood.mean(logit_D), scipy.special.expit(logit_D), rtol=4 * EPS)
    oracles.assert_mean(x_SxD, likelihood.mean(logit_D))
    products = x_SxD[:, :, None] * x_SxD[:, None, :]
    off = ~np.eye(logit_D.size, dtype=bool)
    oracles.assert_mean(products[:, off], np.outer(*[likelihood.mean(logit_D)] * 2)[off])


def softplus(r):
    return np.logaddexp(0.0, np.float64(r))


def test_gaussian_integrates_to_one():
    log_prob = gaussian(min_variance=MIN_VARIANCE).log_prob
    for mean, raw in [(0.0, 0.0), (0.7, -3.0), (-2.0, 4.0), (1.0, -100.0)]:
        sd = np.sqrt(MIN_VARIANCE + softplus(raw))
        grid_N = np.linspace(mean - 10 * sd, mean + 10 * sd, 401)
        log_p_N = over(log_prob, (None, 0))(np.float32([mean, raw]), np.float32(grid_N)[:, None])
        # The trapezium rule is exact here to far below float32; x - mean is rounded to eps |x|.
        total = np.sum(np.exp(np.float64(log_p_N))) * (grid_N[1] - grid_N[0])
        np.testing.assert_allclose(total, 1.0, atol=20 * EPS * (1 + abs(mean) / sd))


def test_gaussian_equals_scipy_and_distrax():
    D, rng = 6, np.random.default_rng(2)
    out_Q, x_D = np.float32(2 * rng.normal(size=2 * D)), np.float32(rng.normal(size=D))

    def of_distrax(out_Q):
        mean_D, raw_D = out_Q[:D], out_Q[D:]
        scale_D = jnp.sqrt(MIN_VARIANCE + jnp.logaddexp(raw_D, 0.0))
        return distrax.Independent(distrax.Normal(mean_D, scale_D), 1).log_prob(x_D)

    value, grad_Q = jax.jit(jax.value_and_grad(gaussian(min_variance=MIN_VARIANCE).log_prob))(out_Q, x_D)
    sd_D = np.sqrt(MIN_VARIANCE + softplus(out_Q[D:]))
    np.testing.assert_allclose(value, scipy.stats.norm(out_Q[:D], sd_D).logpdf(x_D).sum(), rtol=10 * EPS)
    theirs, their_grad_Q = jax.jit(jax.value_and_grad(of_distrax))(out_Q)
    np.testing.assert_allclose(value, theirs, rtol=10 * EPS)
    np.testing.assert_allclose(grad_Q, their_grad_Q, rtol=50 * EPS, atol=50 * EPS)


def test_gaussian_variance_floor_bounds_the_density_of_a_constant_pixel():
    log_prob = gaussian(min_variance=MIN_VARIANCE).log_prob
    peak = -0.5 * np.log(2 * np.pi * MIN_VARIANCE)
    raw_N = np.float32([-1000.0, -100.0, -20.0, -5.0, 0.0, 5.0, 100.0, 1000.0])
    out_NxQ = np.stack([np.zeros_like(raw_N), raw_N], axis=1)
    value_N, grad_NxQ = over(jax.value_and_grad(log_prob), (0, None))(out_NxQ, np.zeros(1, np.float32))
    np.testing.assert_allclose(value_N[:2], peak, rtol=4 * EPS)  # the floor is reached ...
    assert np.all(np.diff(value_N) <= 0.0)  # ... and is the best that any output can do
    variance_N = MIN_VARIANCE + softplus(raw_N)
    slope_N = -0.5 * scipy.special.expit(np.float64(raw_N)) / variance_N
    np.testing.assert_allclose(grad_NxQ[:, 1], slope_N, rtol=1e-5, atol=EPS)  # 1e-5: the float32 exponential
    np.testing.assert_array_equal(grad_NxQ[:, 0], 0.0)


def test_gaussian_draws_have_its_moments():
    likelihood = gaussian(min_variance=MIN_VARIANCE)
    out_Q = np.float32([1.0, -2.0, 0.5, -30.0, 0.0, 3.0])
    keys = jax.random.split(jax.random.key(0), 20_000)
    x_SxD = np.float64(over(likelihood.sample, (0, None))(keys, out_Q))
    np.testing.assert_array_equal(likelihood.mean(out_Q), out_Q[:3])
    oracles.assert_mean(x_SxD, out_Q[:3])
    centred_SxD = x_SxD - out_Q[:3]
    covariance = np.diag(MIN_VARIANCE + softplus(out_Q[3:]))
    oracles.assert_mean(centred_SxD[:, :, None] * centred_SxD[:, None, :], covariance)


def test_gaussian_with_one_variance_is_the_gaussian_with_that_variance_everywhere():
    rng, raw = np.random.default_rng(4), 0.3
    mean_D, x_D = np.float32(rng.normal(size=(2, 5)))
    one, many = gaussian_one_variance(min_variance=MIN_VARIANCE), gaussian(min_variance=MIN_VARIANCE)
    out_Q = np.float32([*mean_D, raw])
    spread_Q = np.concatenate([mean_D, np.full(5, raw, np.float32)])
    value, grad_Q = jax.value_and_grad(one.log_prob)(out_Q, x_D)
    other, other_grad_Q = jax.value_and_grad(many.log_prob)(spread_Q, x_D)
    np.testing.assert_allclose(value, other, rtol=4 * EPS)
    np.testing.assert_allclose(grad_Q[:5], other_grad_Q[:5], rtol=8 * EPS)
    np.testing.assert_allclose(grad_Q[5], np.sum(other_grad_Q[5:]), rtol=1e-5)
    assert one.outputs_per_dim * 5 + len(one.learned) == out_Q.size


def logistic_cdf(x, mean, log_scale):
    return scipy.stats.logistic(0.5 + mean, np.exp(log_scale)).cdf(x)


def test_discretized_logistic_sums_to_one_over_its_levels():
    for levels in (2, 17, 256):
        x_NxD = np.float32(np.arange(levels) / (levels - 1))[:, None]
        log_prob = over(discretized_logistic(levels=levels).log_prob, (None, 0))
        for mean, log_scale in [
            (0.0, -2.0),
            (0.4, -6.0),
            (-0.5, 0.0),
            (3.0, -1.0),
            (0.1, -100.0),
            (0.0, 5.0),
            (0.0, 90.0),
        ]:
            log_p_N = np.float64(log_prob(np.float32([mean, log_scale]), x_NxD))
            # Each level's edge is rounded to eps, and a scale of e^-7 turns that into a thousandfold part.
            np.testing.assert_allclose(np.sum(np.exp(log_p_N)), 1.0, atol=1e-3 if log_scale < -5 else 1e-5)


def test_discretized_logistic_is_the_difference_of_two_cdfs():
    levels = 256
    half = 0.5 / (levels - 1)
    log_prob = discretized_logistic(levels=levels).log_prob
    for mean, log_scale in [(0.0, -2.0), (0.3, -3.0), (-0.2, 0.5)]:
        for level in (0, 1, 100, 254, 255):
            x = level / (levels - 1)
            low = 0.0 if level == 0 else logistic_cdf(x - half, mean, log_scale)
            high = 1.0 if level == 255 else logistic_cdf(x + half, mean, log_scale)
            log_p = log_prob(np.float32([mean, log_scale]), np.float32([x]))
            np.testing.assert_allclose(log_p, np.log(high - low), rtol=1e-4)


def test_discretized_logistic_stays_finite_far_from_its_centre():
    """There the two cdfs agree to the last bit, and their difference would be 0."""
    run = jax.value_and_grad(discretized_logistic(levels=256).log_prob)
    for mean, log_scale in [(5.0, -7.0), (-5.0, -7.0), (100.0, -50.0)]:
        value, grad_Q = run(np.float32([mean, log_scale]), np.float32([0.5]))
        exact = -abs(mean) * np.exp(-max(log_scale, -7.0))  # up to the width of a level
        np.testing.assert_allclose(value, exact, rtol=1e-2)
        assert np.all(np.isfinite(grad_Q))
        assert grad_Q[0] * mean < 0


def test_discretized_logistic_draws_have_its_probabilities():
    levels, likelihood, out_Q = 5, discretized_logistic(levels=5), np.float32([0.2, -1.5])
    keys = jax.random.split(jax.random.key(0), 20_000)
    x_SxD = np.asarray(over(likelihood.sample, (0, None))(keys, out_Q))
    values = np.float32(np.arange(levels) / (levels - 1))
    p_L = np.exp(np.float64(over(likelihood.log_prob, (None, 0))(out_Q, values[:, None])))
    oracles.assert_mean(np.abs(x_SxD - values[None, :]) < 1e-6, p_L)
