"""One function of one datapoint, over many datapoints: the only loop over data outside training."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

Progress = Callable[[int], None]
"""Called with the number of datapoints just finished."""


def map_datapoints(
    function: Callable[..., Any],
    shared: Any,
    rows: Any,
    *,
    chunk_size: int,
    progress: Progress = lambda count: None,
) -> Any:
    """[function(shared, row) for each row], vmapped and compiled over chunks of `chunk_size` rows.

    rows: a pytree of arrays with the same leading size N > 0; the result is a pytree of NumPy arrays with
    leading size N, in the same order. The last chunk is filled up with copies of its last row, so
    that one program is compiled; results do not depend on the chunk beyond float rounding, provided
    that `function` takes its randomness from the row alone. The program is kept for as long as
    `function` is: pass the same object to compile once.
    """
    num_rows = jax.tree.leaves(rows)[0].shape[0]
    size = min(chunk_size, num_rows)
    compiled = _compiled(function)
    chunks = []
    for start in range(0, num_rows, size):
        position = np.minimum(np.arange(start, start + size), num_rows - 1)
        result = jax.device_get(compiled(shared, jax.tree.map(lambda a: a[position], rows)))
        count = min(size, num_rows - start)
        chunks.append(jax.tree.map(lambda a: a[:count], result))
        progress(count)
    return jax.tree.map(lambda *parts: np.concatenate(parts), *chunks)


@functools.lru_cache(maxsize=16)
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(jax.vmap(function, (None, 0)))
