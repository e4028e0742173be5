"""The distributions of observations, and the order of training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab import data
from vaelab.data import observe as data_observe

# Computed once: whoever changes it changes every run.
ORDER_GOLDEN = [[2, 6, 0, 4], [1, 3, 5, 7], [4, 0, 6, 1], [2, 7, 5, 3]]


@pytest.mark.parametrize("max_value", [16, 255, 1])
def test_binarize_frequency_is_pixel_over_max(max_value):
    values_V = np.arange(max_value + 1)
    repeats, num_keys = 128, 64
    pixels_D = np.repeat(values_V, repeats).astype(np.uint8)
    keys = jax.random.split(jax.random.key(0), num_keys)
    binarize = functools.partial(data.binarize, pixels_D=pixels_D, max_value=max_value)
    x_RxD = jax.jit(jax.vmap(binarize))(keys)
    assert x_RxD.dtype == jnp.float32
    assert set(np.unique(x_RxD)) == {0.0, 1.0}
    draws = num_keys * repeats
    frequency_V = np.asarray(x_RxD).reshape(num_keys, -1, repeats).mean((0, 2), dtype=np.float64)
    probability_V = values_V / max_value
    stderr_V = np.sqrt(probability_V * (1 - probability_V) / draws)
    assert frequency_V[0] == 0.0
    assert frequency_V[-1] == 1.0
    # 5 standard errors, and the documented 2^-17 by which a threshold of 16 bits misses the ratio.
    assert np.all(np.abs(frequency_V - probability_V) <= 5 * stderr_V + 2.0**-17)


@pytest.mark.parametrize("max_value", [16, 255])
def test_binarize_probability_is_exactly_the_rounded_threshold(max_value, monkeypatch):
    every_word = jnp.arange(65536)
    monkeypatch.setattr(data_observe, "_uniform_bits", lambda key, size: every_word)
    for value in range(max_value + 1):
        pixels_D = np.full(65536, value, np.uint8)
        ones = int(data.binarize(None, pixels_D, max_value=max_value).sum(dtype=jnp.int32))
        assert ones == round(value * 65536 / max_value)


def test_random_bits_are_uniform_and_independent_across_pixels():
    num_draws, num_pixels = 1 << 16, 7
    keys = jax.random.split(jax.random.key(1), num_draws)
    bits_RxD = np.asarray(jax.vmap(lambda key: data_observe._uniform_bits(key, num_pixels))(keys))
    assert bits_RxD.shape == (num_draws, num_pixels)
    assert bits_RxD.min() >= 0
    assert bits_RxD.max() <= 65535
    u_RxD = (bits_RxD + 0.5) / 65536
    # U[0, 1] has variance 1/12 and its square 4/45: 5 standard errors of means over num_draws.
    assert np.all(np.abs(u_RxD.mean(0) - 1 / 2) < 5 * np.sqrt(1 / 12 / num_draws))
    assert np.all(np.abs((u_RxD**2).mean(0) - 1 / 3) < 5 * np.sqrt(4 / 45 / num_draws))
    correlation_DxD = np.corrcoef(u_RxD.T) - np.eye(num_pixels)
    assert np.abs(correlation_DxD).max() < 5 / np.sqrt(num_draws)


@pytest.mark.parametrize("max_value", [1, 16, 255])
def test_dequantize_adds_uniform_noise_below_one_level(max_value):
    pixels_D = np.repeat(np.arange(max_value + 1), 400).astype(np.uint8)
    x_D = np.asarray(data.dequantize(jax.random.key(2), pixels_D, max_value=max_value), np.float64)
    u_D = x_D * (max_value + 1) - pixels_D
    # Rounding of x_D in float32, 2^-24, times the number of levels.
    assert u_D.min() >= -(2.0**-15)
    assert u_D.max() < 1
    assert abs(u_D.mean() - 1 / 2) < 5 * np.sqrt(1 / 12 / u_D.size)
    assert abs((u_D**2).mean() - 1 / 3) < 5 * np.sqrt(4 / 45 / u_D.size)


@pytest.mark.parametrize("max_value", [1, 16, 255])
def test_dequantize_stays_below_one_for_the_largest_noise(max_value, monkeypatch):
    monkeypatch.setattr(data_observe, "_uniform_bits", lambda key, size: jnp.full(size, 65535))
    dequantize = jax.jit(functools.partial(data.dequantize, max_value=max_value))
    x_D = dequantize(jax.random.key(0), np.full(3, max_value, np.uint8))
    assert float(x_D.max()) < 1.0
    assert float(x_D.min()) >= max_value / (max_value + 1)


def test_identity_keeps_real_values():
    x_D = np.asarray([-1.5, 0.0, 3.25], np.float32)
    observed_D = data.identity(jax.random.key(0), x_D)
    assert observed_D.dtype == jnp.float32
    np.testing.assert_array_equal(observed_D, x_D)


@pytest.mark.parametrize("observation", [data.binarize, data.dequantize])
def test_probabilities_are_not_taken_for_pixels(observation):
    with pytest.raises(TypeError, match="integers"):
        observation(jax.random.key(0), np.full(3, 0.5, np.float32), max_value=255)


BINARIZE = functools.partial(data.binarize, max_value=255)
DEQUANTIZE = functools.partial(data.dequantize, max_value=255)


@pytest.fixture
def batch():
    random = np.random.RandomState(3)
    pixels_BxD = random.randint(0, 256, (12, 31)).astype(np.uint8)
    return pixels_BxD, random.permutation(1000)[:12].astype(np.int32)


@pytest.mark.parametrize("observation", [BINARIZE, DEQUANTIZE])
def test_observation_does_not_depend_on_batch_order_or_jit(observation, batch):
    pixels_BxD, index_B = batch
    key = jax.random.key(4)
    observe = jax.jit(functools.partial(data_observe.observe, key, observation=observation))
    x_BxD = observe(pixels_BxD, index_B)
    order_B = np.random.RandomState(5).permutation(12)
    np.testing.assert_array_equal(observe(pixels_BxD[order_B], index_B[order_B]), x_BxD[order_B])
    for rows in (slice(0, 6), slice(6, 12)):
        np.testing.assert_array_equal(observe(pixels_BxD[rows], index_B[rows]), x_BxD[rows])
    alone_D = observation(jax.random.fold_in(key, index_B[7]), pixels_BxD[7])  # without jit
    np.testing.assert_array_equal(alone_D, x_BxD[7])


def test_dynamic_binarisation_differs_by_step_and_static_does_not(batch):
    pixels_BxD, index_B = batch
    key = jax.random.key(6)

    def dynamic(step):
        return data_observe.observe(jax.random.fold_in(key, step), pixels_BxD, index_B, observation=BINARIZE)

    assert np.any(dynamic(0) != dynamic(1))
    np.testing.assert_array_equal(dynamic(1), dynamic(1))
    static = [data_observe.observe(key, pixels_BxD, index_B, observation=BINARIZE) for _ in range(2)]
    np.testing.assert_array_equal(*static)


def test_equal_images_of_two_datapoints_are_observed_independently():
    pixels_BxD = np.full((2, 4096), 128, np.uint8)
    x_BxD = np.asarray(
        data_observe.observe(jax.random.key(7), pixels_BxD, np.arange(2), observation=BINARIZE)
    )
    # A correlation of independent draws has standard error 1/sqrt(D).
    assert abs(np.corrcoef(x_BxD)[0, 1]) < 5 / np.sqrt(4096)


@pytest.mark.parametrize(
    ("batch_size", "num_points"), [(4, 12), (5, 12), (12, 12), (30, 12), (1, 1), (7, 60)]
)
def test_every_epoch_is_a_permutation_across_batch_borders(batch_size, num_points):
    num_epochs = 5
    num_steps = -(-num_epochs * num_points // batch_size)
    rows_TxB = data.batch_indices(3, 0, num_steps, batch_size=batch_size, num_points=num_points)
    assert rows_TxB.dtype == np.int32
    assert rows_TxB.shape == (num_steps, batch_size)
    epochs_ExN = rows_TxB.reshape(-1)[: num_epochs * num_points].reshape(num_epochs, num_points)
    np.testing.assert_array_equal(
        np.sort(epochs_ExN, axis=1), np.tile(np.arange(num_points), (num_epochs, 1))
    )


def test_order_does_not_depend_on_chunks_or_on_where_a_run_resumed():
    order = functools.partial(data.batch_indices, 11, batch_size=7, num_points=20)
    whole_TxB = order(0, 40)
    for chunks in ([1] * 40, [13, 0, 20, 7], [39, 1]):
        starts = np.cumsum([0, *chunks[:-1]])
        pieces = [order(int(start), length) for start, length in zip(starts, chunks, strict=True)]
        np.testing.assert_array_equal(np.concatenate(pieces), whole_TxB)
    # Far into a run, and beyond the range of 32 bits, it is the same stream.
    np.testing.assert_array_equal(order(10**10, 3)[1:], order(10**10 + 1, 2))


def test_epochs_and_seeds_give_different_orders():
    def epochs(seed):
        return data.batch_indices(seed, 0, 4, batch_size=100, num_points=100)

    assert len({tuple(row) for seed in (0, 1, 2**32, 2**32 + 1) for row in epochs(seed)}) == 16


def test_first_row_of_an_epoch_is_uniform():
    num_epochs, num_points = 3000, 5
    rows_ExN = data.batch_indices(0, 0, num_epochs, batch_size=num_points, num_points=num_points)
    counts = np.bincount(rows_ExN[:, 0], minlength=num_points)
    stderr = np.sqrt(num_epochs * 0.2 * 0.8)
    assert np.all(np.abs(counts - num_epochs / num_points) < 5 * stderr)


def test_order_is_frozen():
    rows_TxB = data.batch_indices(0, 0, 4, batch_size=4, num_points=8)
    assert rows_TxB.tolist() == ORDER_GOLDEN


@pytest.mark.parametrize("bad", [{"batch_size": 0}, {"num_points": 0}, {"start_step": -1}, {"num_steps": -1}])
def test_order_rejects_bad_sizes(bad):
    sizes = {"start_step": 0, "num_steps": 1, "batch_size": 2, "num_points": 3} | bad
    with pytest.raises(ValueError, match=f"{next(iter(bad))}={next(iter(bad.values()))}"):
        data.batch_indices(0, **sizes)
