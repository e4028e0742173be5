"""Likelihoods are normalised densities, and their values and gradients hold at the extremes."""

import itertools

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from tests.support import oracles
from tests.support.oracles import EPS
from vaelab.measure.diagnostics import bits_per_dim
from vaelab.measure.subject import Quantized
from vaelab.model.likelihood import (
    bernoulli,
    discretized_logistic,
    discretized_logistic_mixture,
    gaussian,
    gaussian_one_variance,
)

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


LEVELS = 256
X_LxD = np.arange(LEVELS)[:, None] / (LEVELS - 1)
M = 3


def mixture(logit_M, mean_M, raw_M):
    """out_Q of one dimension."""
    return np.concatenate([logit_M, mean_M, raw_M]).astype(float)


# Weights of 1 and e^-400, centres far outside, scales beyond both cuts.
MIXTURES = [
    mixture([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
    mixture([1.0, -2.0, 0.5], [0.1, -0.2, 0.3], [-3.0, -1.0, -4.5]),
    mixture([200.0, -200.0, 0.0], [0.0, 1.0, -1.0], [-100.0, 100.0, -100.0]),
    mixture([0.0, 1e4, -1e4], [1e4, -1e4, 1e4], [-1e4, -1e4, 1e4]),
    mixture([3.0, 3.0, 3.0], [-1e6, 1e6, 0.0], [-7.0, -7.0, -7.0]),
]
MIXTURE = discretized_logistic_mixture(levels=LEVELS, num_components=M)
SINGLES = np.array([[m, r] for m in (-1e6, -0.5, 0.3, 2.0, 1e4) for r in (-1e4, -7.0, -2.0, 1e4)])


@pytest.mark.parametrize(
    ("density", "out_NxQ"), [(MIXTURE, np.stack(MIXTURES)), (discretized_logistic(levels=LEVELS), SINGLES)]
)
def test_probabilities_of_256_levels_sum_to_one_whatever_the_parameters(density, out_NxQ):
    with jax.enable_x64(True):
        log_p_NxL = over(jax.vmap(density.log_prob, (None, 0)), (0, None))(out_NxQ, X_LxD)
    assert log_p_NxL.dtype == np.float64
    # An edge is rounded to eps |m|, and a scale of e^-7 makes 1097 times that of it; tails are no sums.
    np.testing.assert_allclose(np.exp(log_p_NxL).sum(axis=1), 1.0, rtol=1e-11)


def test_a_mixture_of_discretized_logistics_is_the_sum_of_differences_of_cdfs():
    with jax.enable_x64(True):
        log_p_NxL = over(jax.vmap(MIXTURE.log_prob, (None, 0)), (0, None))(np.stack(MIXTURES[:2]), X_LxD)
    for out_Q, log_p_L in zip(MIXTURES, log_p_NxL, strict=False):
        np.testing.assert_allclose(np.exp(log_p_L), exact_probabilities(out_Q), rtol=1e-9)


def exact_probabilities(out_Q):
    logit_M, mean_M, raw_M = out_Q.reshape(3, M)
    centre_M, scale_M = (np.arange(M) + 0.5) / M + mean_M, np.exp(raw_M) / M
    edges_E = np.concatenate([[-np.inf], (np.arange(LEVELS - 1) + 0.5) / (LEVELS - 1), [np.inf]])
    cdf_MxE = scipy.stats.logistic(centre_M[:, None], scale_M[:, None]).cdf(edges_E)
    return scipy.special.softmax(logit_M) @ np.diff(cdf_MxE, axis=1)


def test_a_mixture_of_one_is_a_discretized_logistic():
    rng, D = np.random.default_rng(5), 4
    one, alone = discretized_logistic_mixture(levels=17, num_components=1), discretized_logistic(levels=17)
    out_Q, x_D = np.float32(rng.normal(size=2 * D)), np.float32(rng.integers(0, 17, D) / 16)
    with_logit_Q = np.concatenate([np.float32(rng.normal(size=D)), out_Q])
    value, grad_Q = jax.jit(jax.value_and_grad(one.log_prob))(with_logit_Q, x_D)
    other, other_grad_Q = jax.jit(jax.value_and_grad(alone.log_prob))(out_Q, x_D)
    np.testing.assert_allclose(value, other, rtol=4 * EPS)
    np.testing.assert_allclose(grad_Q, np.concatenate([np.zeros(D), other_grad_Q]), atol=8 * EPS)


def test_gradients_of_a_mixture_are_finite_at_all_extremes_and_lead_back():
    run = over(jax.value_and_grad(MIXTURE.log_prob), (0, None))
    for x in (0.0, 0.5, 1.0):
        value_N, grad_NxQ = run(np.float32(MIXTURES), np.float32([x]))
        assert np.all(np.isfinite(value_N))
        assert np.all(np.isfinite(grad_NxQ))
    for far in (-1e3, 1e3):  # all components on one side: their mean gradient is towards x
        out_Q = np.float32(mixture(np.zeros(M), np.full(M, far), np.full(M, -3.0)))[None]
        _, grad_NxQ = run(out_Q, np.float32([0.5]))
        assert np.sum(grad_NxQ[0, M : 2 * M]) * far < 0


@pytest.mark.long
def test_draws_and_mean_of_a_mixture_are_of_its_probabilities():
    """Two dimensions at once, so that one taken for the other, or a component for a dimension, is seen."""
    out_Q = np.float32(np.stack(MIXTURES[:2], axis=1).reshape(-1))  # [3, M, D]
    p_DxL = np.stack([exact_probabilities(out) for out in MIXTURES[:2]])
    mean_D = p_DxL @ X_LxD[:, 0]
    np.testing.assert_allclose(jax.jit(MIXTURE.mean)(out_Q), mean_D, rtol=LEVELS * EPS)
    keys = jax.random.split(jax.random.key(0), 20_000)
    level_SxD = np.float64(over(MIXTURE.sample, (0, None))(keys, out_Q)) * (LEVELS - 1)
    np.testing.assert_allclose(level_SxD, np.round(level_SxD), atol=1e-3)
    level_SxD = np.round(level_SxD).astype(int)
    # In sixteenths of the levels, and the ends alone, which take the tails.
    for d in range(2):
        shares_B = p_DxL[d].reshape(16, 16).sum(axis=1)
        ends = level_SxD[:, d, None] == np.array([0, LEVELS - 1])
        oracles.assert_mean(level_SxD[:, d, None] // 16 == np.arange(16), shares_B)
        oracles.assert_mean(ends, p_DxL[d][[0, -1]])
    both = (level_SxD[:, 0] < 64) & (level_SxD[:, 1] < 64)
    oracles.assert_mean(both[:, None], [p_DxL[0][:64].sum() * p_DxL[1][:64].sum()])


def test_bits_of_probabilities_of_levels_are_their_entropy_with_no_constant():
    """Were 8 bits for the width of a level added or left, as for a density, both would be off by 8."""
    p_L = exact_probabilities(MIXTURES[1])
    with jax.enable_x64(True):
        log_p_L = over(MIXTURE.log_prob, (None, 0))(MIXTURES[1], X_LxD)
    nats = {"mean": float(p_L @ np.asarray(log_p_L)), "stderr": 0.0}
    entropy = scipy.stats.entropy(p_L, base=2)
    assert bits_per_dim(nats, Quantized(LEVELS, 1, False))["mean"] == pytest.approx(entropy, rel=1e-9)
    assert 0 < entropy < 8
