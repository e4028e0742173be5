"""The best validation so far, and what counts as a gain."""

import jax.numpy as jnp
import numpy as np
import pytest

from vaelab.training import best
from vaelab.training.step import TrainState

NUM_POINTS = 400


def state_at(step):
    return TrainState(jnp.int32(step), {"w": jnp.full(2, float(step))}, {"v": jnp.float32(-step)}, ())


def seen(validations, *, keep=True):
    """The best after these bounds, at the steps 10, 20, ..."""
    kept = best.nothing_yet(state_at(0), len(validations[0]), keep=keep)
    for number, elbo_N in enumerate(validations, 1):
        kept = best.after(kept, state_at(10 * number), np.float32(elbo_N), keep=keep)
    return kept


def bounds(mean):
    """Of datapoints that differ by far more than the mean moves, each with its own draws."""
    return mean - 20.0 + 5.0 * np.random.RandomState(0).standard_normal(NUM_POINTS)


def test_a_gain_is_told_from_the_error_of_the_difference_and_not_of_the_mean():
    """The errors of both means are 0.25 nats, that of their difference 0.01."""
    noise_N = 0.2 * np.random.RandomState(1).standard_normal(NUM_POINTS)
    noise_N -= noise_N.mean()
    stderr = noise_N.std(ddof=1) / np.sqrt(NUM_POINTS)
    before_N = np.float32(bounds(0.0))
    # Bounds near -20 in float32 have a rounding of 1e-6, far below a hundredth of this error.
    assert best.is_gain(before_N + noise_N + 1.01 * stderr, before_N)
    assert not best.is_gain(before_N + noise_N + 0.99 * stderr, before_N)
    assert not best.is_gain(before_N + noise_N - 5.0 * stderr, before_N)


def test_gains_that_are_each_within_their_error_add_up():
    """Each of the differences is 0.7 of its error: two of them are a gain, of 1.4."""
    spread_N = np.random.RandomState(2).standard_normal(NUM_POINTS)
    spread_N -= spread_N.mean()
    rise = 0.7 / np.sqrt(NUM_POINTS)
    start_N = bounds(0.0)
    validations = [start_N, *(start_N + (n % 2) * spread_N + n * rise for n in (1, 2, 3))]
    assert int(seen(validations[:2]).since) == 1
    # The third has no spread against the first: a gain by any error; the fourth is again within its own.
    assert int(seen(validations[:3]).since) == 0
    assert int(seen(validations).since) == 1
    assert int(seen([start_N] * 4).since) == 3


def test_the_best_state_is_that_of_the_highest_mean_and_the_first_of_equal_ones():
    kept = seen([bounds(0.0), bounds(0.3), bounds(0.1), bounds(0.3)])
    assert int(kept.step) == 20
    np.testing.assert_array_equal(kept.theta["w"], [20.0, 20.0])
    np.testing.assert_array_equal(kept.psi["v"], -20.0)
    assert float(kept.elbo) == np.float32(bounds(0.3)).mean()
    assert int(kept.since) == 2


def test_a_rise_within_its_error_is_kept_and_is_no_gain():
    spread_N = np.random.RandomState(2).standard_normal(NUM_POINTS)
    rise_N = spread_N - spread_N.mean() + 0.5 / np.sqrt(NUM_POINTS)
    kept = seen([bounds(0.0), bounds(0.0) + rise_N])
    assert (int(kept.step), int(kept.since)) == (20, 1)


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_a_validation_that_is_not_finite_is_neither_best_nor_a_gain(bad):
    broken_N = bounds(5.0)
    broken_N[3] = bad
    kept = seen([broken_N, broken_N])
    assert (int(kept.step), int(kept.since)) == (20, 2)  # while there is no other, the newest
    kept = seen([broken_N, bounds(0.0), broken_N])
    assert (int(kept.step), int(kept.since)) == (20, 1)
    assert float(kept.elbo) == np.float32(bounds(0.0)).mean()


def test_parameters_are_copies_and_kept_only_if_asked_for():
    state = state_at(10)
    kept = best.after(best.nothing_yet(state, NUM_POINTS, keep=True), state, bounds(0.0), keep=True)
    for buffer in (state.step, state.theta["w"]):  # as the next chunk takes them
        buffer.delete()
    assert int(kept.step) == 10
    np.testing.assert_array_equal(kept.theta["w"], [10.0, 10.0])
    assert seen([bounds(0.0)], keep=False).theta == ()
