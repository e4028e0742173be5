"""One function of one datapoint, over many datapoints: the only loop over data outside training."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.extend as jex
import numpy as np

from vaelab.types import ConfigError

Progress = Callable[[int], None]
"""Called with the number of datapoints just finished."""


class Memory(NamedTuple):
    """As many rows at a time as fit, by `bytes_per_row`, in so many bytes."""

    bytes: int


def map_datapoints(
    function: Callable[..., Any],
    shared: Any,
    rows: Any,
    *,
    chunk_size: int | Memory,
    progress: Progress = lambda count: None,
) -> Any:
    """[function(shared, row) for each row], vmapped and compiled over chunks of `chunk_size` rows.

    rows: a pytree of arrays with the same leading size N > 0; the result is a pytree of NumPy arrays with
    leading size N, in the same order. The last chunk is filled up with copies of its last row, so
    that one program is compiled; results do not depend on the chunk beyond float rounding, provided
    that `function` takes its randomness from the row alone. The program is kept for as long as
    `function` is: pass the same object to compile once. Raises ConfigError where one row takes more than
    the Memory given.
    """
    num_rows = jax.tree.leaves(rows)[0].shape[0]
    size = rows_at_a_time(function, shared, rows, chunk_size)
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


def rows_at_a_time(function: Callable[..., Any], shared: Any, rows: Any, chunk_size: int | Memory) -> int:
    """The rows of a chunk, N at most. Raises ConfigError where one row takes more than the Memory."""
    num_rows = jax.tree.leaves(rows)[0].shape[0]
    if not isinstance(chunk_size, Memory):
        return min(chunk_size, num_rows)
    needed = bytes_per_row(function, shared, rows)
    if needed > chunk_size.bytes:
        raise ConfigError(
            f"one datapoint takes {needed:,} bytes: set --config.evaluate.memory_bytes to that at least, "
            f"not {chunk_size.bytes:,}, or take fewer draws at a time"
        )
    # So many chunks as must be, of about the same size: the last one is filled up with copies.
    num_chunks = -(-num_rows // min(chunk_size.bytes // needed, num_rows))
    return -(-num_rows // num_chunks)


def bytes_per_row(function: Callable[..., Any], shared: Any, rows: Any) -> int:
    """About what a row of `map_datapoints` takes: the most of the traced program's arrays that live at once.

    Nothing is compiled or run. The compiler keeps less alive where it fuses and more where it copies.
    """
    rows = jax.tree.map(lambda a: jax.ShapeDtypeStruct((TRACED_ROWS, *a.shape[1:]), a.dtype), rows)
    return -(-peak_bytes(jax.vmap(function, (None, 0)), shared, rows) // TRACED_ROWS)


def peak_bytes(function: Callable[..., Any], *arguments: Any) -> int:
    """The most bytes that a call has alive at once, its arguments left out, by shapes alone."""
    return _peak_bytes(jax.make_jaxpr(function)(*arguments).jaxpr)


TRACED_ROWS = 64  # so many that what they share counts for little


def _peak_bytes(jaxpr: jex.core.Jaxpr) -> int:
    """The most bytes alive at once, the inputs left out: each array from its equation to its last use."""
    last_use = {v: i for i, e in enumerate(jaxpr.eqns) for v in e.invars if isinstance(v, jex.core.Var)}
    last_use |= {v: len(jaxpr.eqns) for v in jaxpr.outvars if isinstance(v, jex.core.Var)}
    alive, peak = {}, 0
    for i, equation in enumerate(jaxpr.eqns):
        parts = jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr)
        inside = max((_peak_bytes(getattr(p, "jaxpr", p)) for p in parts if _is_jaxpr(p)), default=0)
        made = {v: math.prod(v.aval.shape) * v.aval.dtype.itemsize for v in equation.outvars}
        # A loop writes its outputs beside what lives inside; anything else hands its own over.
        beside = equation.primitive.name in ("scan", "while")
        here = inside + sum(made.values()) if beside else max(inside, sum(made.values()))
        peak = max(peak, sum(alive.values()) + here)
        alive |= made
        alive = {v: size for v, size in alive.items() if last_use.get(v, -1) > i}
    return peak


def _is_jaxpr(value: Any) -> bool:
    return isinstance(value, jex.core.Jaxpr | jex.core.ClosedJaxpr)
