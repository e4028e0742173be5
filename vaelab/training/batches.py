"""The training data as the compiled steps take them: whole, or a portion of steps at a time."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from vaelab.data.rows import Examples, Rows
from vaelab.runtime.devices import on_host, place
from vaelab.types import Array

PORTION_BYTES = 2**25

RowsOfBatches = Array | tuple[Array, Array]
"""Rows of the training set, int32 [T, B]; or (these, where they are in a portion of it)."""


class Batches:
    """An array is on the devices whole, once; of `Rows` only what a portion of the steps needs is."""

    def __init__(self, pixels_NxD: Examples, index_N: np.ndarray, mesh: Mesh | None):
        self._pixels, self._index, self._mesh = pixels_NxD, index_N, mesh
        self._whole: Any = None
        if not isinstance(pixels_NxD, Rows):
            self._whole = place((jnp.asarray(pixels_NxD), jnp.asarray(index_N)), mesh)

    def portions(self, rows: np.ndarray, axes: Sequence[str]) -> Iterator[tuple[RowsOfBatches, Array, Array]]:
        """(rows, pixels, index) for `train_chunk`, one after the other, for batches [T, B] of rows.

        axes: those before T, of runs. Portions are of one length where there is one that divides T.
        """
        axes = (*axes, None, "data")
        if self._whole is not None:
            yield place(rows, self._mesh, *axes), *self._whole
            return
        num_steps, axis = rows.shape[-2], rows.ndim - 2
        step_bytes = rows.size // num_steps * self._pixels.nbytes // len(self._pixels)
        for part in np.split(rows, _cuts(num_steps, max(1, PORTION_BYTES // max(1, step_bytes))), axis=axis):
            chosen = part.reshape(-1)
            at = np.arange(part.size, dtype=np.int32).reshape(part.shape)
            data = place((jnp.asarray(self._pixels[chosen]), jnp.asarray(self._index[chosen])), self._mesh)
            yield tuple(place(each, self._mesh, *axes) for each in (part, at)), *data


def joined(parts: Sequence[Any], axis: int) -> Any:
    """The metrics of all portions, along the axis of steps."""
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda *of_parts: np.concatenate(of_parts, axis), *map(on_host, parts))


def _cuts(length: int, most: int) -> list[int]:
    """Where to cut `length` steps into parts of at most `most`, equal ones if they need not be short."""
    number = -(-length // most)
    equal = next((n for n in range(number, 2 * number) if length % n == 0), number)
    size = -(-length // equal)
    return list(range(size, length, size))
