"""The observation x of a stored example, and the order of training.

Every example draws its randomness from `fold_in(key, index)`: batch size, order and sharding change no
observation.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.data.rows import PORTION_BYTES, Examples, Rows


def _uniform_bits(key: jax.Array, size: int) -> jax.Array:
    """int32 [size], uniform on 0..65535: two from each 32-bit word, which halves the cost against
    jax.random.bits(..., uint16), where each number costs a whole word."""
    words = jax.random.bits(key, ((size + 1) // 2,), jnp.uint32)
    return jnp.concatenate([words & 0xFFFF, words >> 16])[:size].astype(jnp.int32)


def _integers(pixels_D: jax.Array) -> jax.Array:
    # A probability image cast to integers would be all black, without a word.
    if not jnp.issubdtype(pixels_D.dtype, jnp.integer):
        raise TypeError(f"pixels must be integers in 0..max_value, not {pixels_D.dtype}")
    return jnp.asarray(pixels_D, jnp.int32)


def binarize(key: jax.Array, pixels_D: jax.Array, *, max_value: int) -> jax.Array:
    """float32 x_D in {0, 1}: x_j ~ Bernoulli(pixels_j / max_value), independently.

    From 16 random bits, so P(x_j = 1) = round(65536 pixels_j / max_value) / 65536 exactly: within
    2^-17 of the ratio, 0 at 0 and 1 at max_value. Raises TypeError for pixels that are no integers.
    """
    threshold_D = (2 * 65536 * _integers(pixels_D) + max_value) // (2 * max_value)
    return (_uniform_bits(key, pixels_D.size) < threshold_D).astype(jnp.float32)


def dequantize(key: jax.Array, pixels_D: jax.Array, *, max_value: int) -> jax.Array:
    """float32 x_D in [0, 1): (pixels_D + u_D) / (max_value + 1), u_j ~ U[0, 1), max_value <= 255.

    u has 16 bits: with more, 255 + u would round to 256 in float32, and x to 1. Raises TypeError
    for pixels that are no integers.
    """
    levels_D = _integers(pixels_D) * 65536 + _uniform_bits(key, pixels_D.size)
    return levels_D.astype(jnp.float32) / (65536.0 * (max_value + 1))


def rescale(key: jax.Array, pixels_D: jax.Array, *, max_value: int) -> jax.Array:
    """float32 x_D = pixels_D / max_value, for likelihoods of levels. Raises TypeError as `dequantize`."""
    del key
    return _integers(pixels_D).astype(jnp.float32) / max_value


def identity(key: jax.Array, pixels_D: jax.Array, *, max_value: int = 1) -> jax.Array:
    """float32 x_D = pixels_D, for real-valued sources; takes what the other observations take."""
    del key, max_value
    return jnp.asarray(pixels_D, jnp.float32)


def observe(
    key: jax.Array,
    pixels_BxD: jax.Array,
    index_B: jax.Array,
    *,
    observation: Callable[[jax.Array, jax.Array], jax.Array],
) -> jax.Array:
    """x_BxD, row i = observation(fold_in(key, index_i), pixels_i), whatever the other rows are.

    Dynamic binarisation passes fold_in(key, step) as the key, evaluation the key itself.
    """
    keys_B = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(index_B))
    return jax.vmap(observation)(keys_B, jnp.asarray(pixels_BxD))


def observe_all(
    key: jax.Array,
    pixels_NxD: Examples,
    index_N: np.ndarray,
    *,
    observation: Callable[[jax.Array, jax.Array], jax.Array],
) -> Examples:
    """x_NxD float32 of every example by `observe`; of `Rows` it is `Rows`, each observed when it is read."""
    observed = jax.jit(partial(observe, observation=observation))
    if not isinstance(pixels_NxD, Rows):
        return np.asarray(observed(key, pixels_NxD, index_N))
    num_dims = pixels_NxD.shape[1]
    most = max(1, PORTION_BYTES // (4 * num_dims))

    def read(rows_M: np.ndarray) -> np.ndarray:
        filled = np.resize(rows_M, most)  # of one size, so that one program is compiled
        return np.asarray(observed(key, pixels_NxD[filled], index_N[filled]))[: len(rows_M)]

    return Rows(read, pixels_NxD.shape, np.float32)


def batch_indices(
    key_seed: int, start_step: int, num_steps: int, *, batch_size: int, num_points: int
) -> np.ndarray:
    """Rows of the batches of steps start_step .. start_step + num_steps - 1, int32 [T, B].

    Position p = step * batch_size + j of an endless stream holds entry p mod N of the permutation
    of epoch p // N. So the batch of a step depends on (seed, step) alone, and every row comes once
    an epoch, across the borders of batches. Raises ValueError where a size is below 1 or a step
    below 0.
    """
    if min(batch_size, num_points) < 1 or min(start_step, num_steps) < 0:
        raise ValueError(
            f"need sizes >= 1, steps >= 0: {batch_size=} {num_points=} {start_step=} {num_steps=}"
        )
    first, end = start_step * batch_size, (start_step + num_steps) * batch_size
    pieces = [np.empty(0, np.int32)]
    for epoch in range(first // num_points, -(-end // num_points)):
        offset = epoch * num_points
        permutation_N = _epoch_permutation(key_seed, epoch, num_points)
        pieces.append(permutation_N[max(first - offset, 0) : max(end - offset, 0)])
    return np.concatenate(pieces).reshape(num_steps, batch_size)


def _epoch_permutation(key_seed: int, epoch: int, num_points: int) -> np.ndarray:
    """int32 [N], from RandomState, whose frozen stream lets a run resume under a newer numpy."""
    words = [key_seed & 0xFFFFFFFF, (key_seed >> 32) & 0xFFFFFFFF, epoch]
    return np.random.RandomState(words).permutation(num_points).astype(np.int32)
