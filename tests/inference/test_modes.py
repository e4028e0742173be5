"""Ascents, curvatures and the telling apart of modes, on densities whose modes are known exactly."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from vaelab.inference.climb import climb
from vaelab.inference.modes import mode_at, polish, tell_apart

EPS = np.finfo(np.float32).eps


def told_apart(log_joint, z_SxK, *, num_steps=60, num_modes=12):
    """The modes among the ends of ascents from these starts, as NumPy arrays."""

    @jax.jit
    def all_of(z_SxK):
        ends = jax.vmap(partial(climb, log_joint, num_steps=num_steps))(z_SxK)
        return tell_apart(log_joint, ends, num_modes=num_modes, num_given=2, num_polish=4)

    return jax.device_get(all_of(z_SxK))


def starts(num_starts, latent_dim, scale=1.0, seed=0):
    return scale * jax.random.normal(jax.random.key(seed), (num_starts, latent_dim))


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e3])
def test_the_weight_of_a_gaussian_mode_is_its_integral(size):
    root = size * np.array([[1.0, 0.0, 0.0], [0.9, 0.3, 0.0], [-0.5, 0.2, 2.0]])
    precision_KxK = jnp.float32(np.linalg.inv(root @ root.T))
    mean_K = jnp.array([3.0, -1.0, 0.5]) * size

    def log_joint(z_K):
        return 1.5 - 0.5 * (z_K - mean_K) @ precision_KxK @ (z_K - mean_K)

    mode = jax.jit(partial(polish, log_joint, num_steps=4))(mean_K + 0.7 * size, jnp.full(3, 0.5 * size))
    exact = 1.5 + 1.5 * math.log(2.0 * math.pi) + math.log(abs(np.linalg.det(root)))
    assert mode.value + 1.5 * math.log(2.0 * math.pi) + mode.log_det == pytest.approx(exact, abs=2e-3)
    np.testing.assert_allclose(mode.scale_KxK @ mode.scale_KxK.T, root @ root.T, rtol=0, atol=5e-3 * size**2)
    np.testing.assert_allclose(mode.inverse_KxK @ mode.scale_KxK, np.eye(3), atol=1e-4)
    np.testing.assert_allclose(mode.axis_K, np.diag(precision_KxK) ** -0.5, rtol=1e-3)
    assert mode.peaked
    assert mode.decrement < 1e-3


def test_the_decrement_is_what_newtons_step_gains():
    precision_KxK = jnp.array([[4.0, 1.0], [1.0, 0.5]])
    away_K = jnp.array([0.3, -0.4])
    mode = mode_at(lambda z_K: -0.5 * z_K @ precision_KxK @ z_K, away_K, jnp.array([0.5, 1.4]))
    assert mode.decrement == pytest.approx(0.5 * away_K @ precision_KxK @ away_K, rel=1e-3)
    np.testing.assert_allclose(mode.newton_K, -away_K, atol=1e-3)


def test_a_saddle_is_no_peak_and_newtons_step_leaves_it_uphill():
    def log_joint(z_K):
        return -((z_K[0] ** 2 - 1.0) ** 2) - z_K[1] ** 2

    saddle = mode_at(log_joint, jnp.array([0.05, 0.0]), jnp.full(2, 0.1))
    assert not saddle.peaked
    assert saddle.newton_K[0] > 0.0
    end = polish(log_joint, jnp.array([0.05, 0.0]), jnp.full(2, 0.1), num_steps=8)
    assert abs(abs(end.z_K[0]) - 1.0) < 0.02


MEANS = np.array([[3.0, 0.0], [-1.5, 2.4], [-1.5, -2.4]])
SHARES = np.array([0.6, 0.3, 0.1])
WIDTHS = np.array([0.2, 0.3, 0.6])


def mixture(z_K):
    parts_M = jnp.sum(norm.logpdf(z_K[None, :], MEANS, WIDTHS[:, None]), axis=1) + jnp.log(SHARES)
    return jax.nn.logsumexp(parts_M)


def test_the_modes_of_a_mixture_are_its_components_with_their_weights():
    modes = told_apart(mixture, starts(64, 2, scale=2.0))
    weight_M = modes.log_weight_M[np.isfinite(modes.log_weight_M)]
    np.testing.assert_allclose(np.exp(weight_M), SHARES, rtol=0.02)
    np.testing.assert_allclose(modes.z_MxK[:3], MEANS, atol=0.01)
    np.testing.assert_allclose(modes.axis_MxK[:3], np.stack([WIDTHS, WIDTHS], axis=1), rtol=0.02)
    assert not modes.crowded


@pytest.mark.parametrize("width", [1e-3, 0.2, 5.0])
def test_modes_with_kinks_have_the_axes_and_weights_of_their_size(width):
    """Laplace distributions about (-30, -30) and (30, 30) widths, of weights 0.6 and 0.4.

    Laplace's method is off by a factor of order 1 a dimension, and not by the tiny steps of an ascent that
    has arrived at a kink.
    """
    means = 30.0 * width * jnp.array([[1.0, 1.0], [-1.0, -1.0]])

    def log_joint(z_K):
        away_2xK = jnp.abs(z_K[None, :] - means) / width
        return jax.nn.logsumexp(-jnp.sum(away_2xK, axis=1) + jnp.log(jnp.array([0.6, 0.4]))) - 2.0 * jnp.log(
            2.0 * width
        )

    modes = told_apart(log_joint, starts(64, 2, scale=40.0 * width))
    weight_M = modes.log_weight_M[np.isfinite(modes.log_weight_M)]
    assert len(weight_M) == 2
    np.testing.assert_allclose(weight_M, np.log([0.6, 0.4]), atol=1.0)
    assert weight_M[0] - weight_M[1] == pytest.approx(np.log(1.5), abs=0.3)
    assert np.all(modes.axis_MxK[:2] > 0.3 * width)
    assert np.all(modes.axis_MxK[:2] < 3.0 * width)


def test_signs_make_eight_modes_of_one_weight_and_more_than_are_kept_is_said():
    x_K = jnp.array([1.0, 0.7, 0.5])

    def log_joint(z_K):
        return jnp.sum(norm.logpdf(x_K, z_K**2, 0.1) + norm.logpdf(z_K))

    modes = told_apart(log_joint, starts(96, 3))
    weight_M = modes.log_weight_M[np.isfinite(modes.log_weight_M)]
    assert len(weight_M) == 8
    assert np.ptp(weight_M) < 1e-2
    assert len({tuple(np.sign(z_K)) for z_K in modes.z_MxK[:8]}) == 8
    assert not modes.crowded
    assert told_apart(log_joint, starts(96, 3), num_modes=4).crowded


def test_the_named_starts_know_the_mode_that_they_led_to():
    given = jnp.array([[2.9, 0.1], [-1.4, -2.2]])
    modes = told_apart(mixture, jnp.concatenate([given, starts(64, 2, scale=2.0)]))
    np.testing.assert_allclose(modes.z_MxK[modes.reached_F], MEANS[[0, 2]], atol=0.01)


@pytest.mark.parametrize("heaviest_first", [True, False])
def test_each_mode_knows_the_start_that_led_to_it(heaviest_first):
    """The high one is narrow, and of less weight than the wide one beside it, or of more."""
    sd = jnp.array([0.05, 1.0]) if heaviest_first else jnp.array([1.0, 0.05])
    log_weight = jnp.log(jnp.array([0.2, 0.8]) if heaviest_first else jnp.array([0.7, 0.3]))
    mean_Mx2 = jnp.array([[-4.0, 0.0], [4.0, 0.0]])

    def log_joint(z_K):
        log_p_M = jnp.sum(norm.logpdf(z_K[None], mean_Mx2, sd[:, None]), axis=1)
        return jax.nn.logsumexp(log_weight + log_p_M)

    z_Sx2 = jnp.concatenate([mean_Mx2[1:] + 0.01, mean_Mx2[1:] - 0.02, mean_Mx2[:1] + 0.01])
    modes = told_apart(log_joint, z_Sx2)
    assert np.isfinite(modes.log_weight_M).sum() == 2
    began_at = np.asarray(z_Sx2)[np.asarray(modes.start_M[:2]), 0]
    np.testing.assert_array_equal(np.sign(began_at), np.sign(modes.z_MxK[:2, 0]))


@pytest.mark.parametrize(("height", "number"), [(0.1, 1), (1.0, 3)])
def test_bumps_far_apart_are_modes_only_where_they_are_high_enough(height, number):
    """Bumps of log(1 + height) nats at -3 and 3, on a wide distribution whose own maximum is at 0.

    With the high ones the ground between is no maximum of its own: there are two modes, not three.
    """
    number = min(number, 2)

    def log_joint(z_K):
        bumps = jnp.exp(-0.5 * ((z_K[0] - jnp.array([-3.0, 3.0])) / 0.5) ** 2)
        return norm.logpdf(z_K[0], 0.0, 20.0) + jnp.log1p(height * jnp.sum(bumps))

    modes = told_apart(log_joint, starts(64, 1, scale=3.0))
    assert np.isfinite(modes.log_weight_M).sum() == number


@pytest.mark.parametrize(("apart", "number"), [(1.5, 1), (6.0, 2), (100.0, 2)])
def test_two_equal_distributions_are_two_modes_only_where_the_density_dips_between_them(apart, number):
    def log_joint(z_K):
        return jnp.logaddexp(norm.logpdf(z_K[0], 0.0, 1.0), norm.logpdf(z_K[0], apart, 1.0))

    modes = told_apart(log_joint, starts(32, 1, scale=1.0 + apart))
    assert np.isfinite(modes.log_weight_M).sum() == number


@pytest.mark.parametrize("apart", [0.5, 1.0])
def test_small_modes_with_kinks_not_far_from_each_other_are_two(apart):
    """x = |z| + Laplace noise: an ascent from beside one of them must not leap to the other."""

    def log_joint(z_K):
        return jnp.sum(norm.logpdf(z_K) - jnp.abs(jnp.abs(z_K) - apart) / 0.2)

    assert np.isfinite(told_apart(log_joint, starts(64, 1)).log_weight_M).sum() == 2


def test_skewed_modes_beside_each_other_are_both_at_their_tops():
    """Four of log-gamma distributions of shape 0.3 in six dimensions, by signs of their first two."""

    def log_joint(z_K):
        side_2 = jnp.logaddexp(norm.logpdf(z_K[:2], -6.0, 0.5), norm.logpdf(z_K[:2], 6.0, 0.5))
        return jnp.sum(side_2) + jnp.sum(0.3 * z_K[2:] - 0.3 * jnp.exp(z_K[2:]))

    modes = told_apart(log_joint, starts(64, 6, scale=4.0))
    assert np.isfinite(modes.log_weight_M).sum() == 4


ONE_MODE = {
    "banana": lambda z_K: norm.logpdf(z_K[0]) + norm.logpdf(z_K[1], z_K[0] ** 2, 0.01),
    "ring": lambda z_K: norm.logpdf(z_K @ z_K, 1.0, 0.01) + jnp.sum(norm.logpdf(z_K, jnp.array([0.0, 0.3]))),
    "heavy tails": lambda z_K: jnp.sum(jax.scipy.stats.t.logpdf(z_K, 2.0)),
    "large numbers": lambda z_K: jnp.sum(norm.logpdf(z_K)) - 1e5,
    "kinks": lambda z_K: jnp.sum(norm.logpdf(z_K)) - jnp.abs(jax.nn.relu(z_K[0] - 0.2) - z_K[1]),
    "skewed": lambda z_K: jnp.sum(5.0 * z_K - jnp.exp(z_K)),
}


@pytest.mark.parametrize("name", ONE_MODE)
def test_one_mode_is_one_however_it_is_shaped(name):
    modes = told_apart(ONE_MODE[name], starts(64, 2, scale=2.0))
    assert np.isfinite(modes.log_weight_M).sum() == 1
