"""The devices of a run, and one function of one datapoint over many datapoints on all of them.

A run has one device, JAX's first, unless `on_devices` says otherwise; `launch.py` gives it all devices of all
processes. They form one mesh with the axes `runs` (runs that are trained together) and `data` (datapoints).
What goes onto it is the same on every process, and what comes back is whole on every process.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vaelab.runtime.memory import Memory, bytes_per_row
from vaelab.types import ConfigError

Progress = Callable[[int], None]
"""Called with the number of datapoints just finished."""

_devices: tuple[jax.Device, ...] | None = None


@contextmanager
def on_devices(devices: Sequence[jax.Device]) -> Iterator[None]:
    """Inside, a run has these devices: with several processes all devices of each."""
    global _devices
    before, _devices = _devices, tuple(devices)
    try:
        yield
    finally:
        _devices = before


def num_devices() -> int:
    return 1 if _devices is None else len(_devices)


def device_mesh(data: int) -> Mesh | None:
    """The run's devices, in rows of `data` of them; None where there is a single one."""
    if num_devices() == 1:
        return None
    return Mesh(np.array(_devices).reshape(-1, data), ("runs", "data"))


def training_mesh(at_most: int, batch_size: int) -> Mesh | None:
    """`device_mesh` with `at_most` devices to a batch: a divisor of the batch and of all devices."""
    n = num_devices()
    return device_mesh(max(d for d in range(1, min(at_most, n) + 1) if n % d == 0 and batch_size % d == 0))


def over_runs(function: Callable[..., Any], mesh: Mesh | None, in_specs: Any, out_specs: Any) -> Any:
    """The function on each part of `runs` by itself; what happens along `data` is left to the compiler."""
    if mesh is None:
        return function
    return jax.shard_map(
        function,
        mesh=mesh,
        in_specs=in_specs,
        out_specs=out_specs,
        axis_names={"runs"},
        check_vma=False,
    )


def place(tree: Any, mesh: Mesh | None, *axes: str | None) -> Any:
    """The arrays, the same on every process, divided over these axes of the mesh and copied over the others.

    The leading sizes are multiples of the axes' sizes. Typed keys are arrays too.
    """
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, P(*axes))

    def put(a: Any) -> jax.Array:
        if isinstance(a, jax.Array) and jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(put(jax.random.key_data(a)), impl=jax.random.key_impl(a))
        host = np.asarray(a)
        return jax.make_array_from_callback(host.shape, sharding, lambda part: host[part])

    return jax.tree.map(put, tree)


def on_host(tree: Any) -> Any:
    """The arrays whole, as NumPy's, on every process, which all take part."""
    if all(not isinstance(a, jax.Array) or a.is_fully_addressable for a in jax.tree.leaves(tree)):
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)


def local(tree: Any) -> Any:
    """Of arrays that are copied over the mesh, this process's own copy, which is the same memory."""
    return jax.tree.map(lambda a: a.addressable_data(0), tree)


def take(tree: Any, rows: Any) -> Any:
    """These rows of every array: a slice, or positions."""
    return jax.tree.map(lambda a: a[rows], tree)


def map_datapoints(
    function: Callable[..., Any],
    shared: Any,
    rows: Any,
    *,
    chunk_size: int | Memory,
    progress: Progress = lambda count: None,
    runs: int | None = None,
) -> Any:
    """[function(shared, row) for each row], vmapped and compiled over chunks of `chunk_size` rows.

    rows: a pytree of arrays with the same leading size N > 0; the result is a pytree of NumPy arrays with
    leading size N, in the same order. Each device takes rows of its own with a copy of `shared`. The last
    chunk is filled up with copies of its last row, so that one program is compiled; results do not depend on
    the chunk, or on the number of devices, beyond float rounding, provided that `function` takes its
    randomness from the row alone. Matrix products are in float32 on every device. The program is kept for as
    long as `function` is: pass the same object to compile once. Raises ConfigError where one row takes more
    than the Memory given.

    runs: so many of them as one program: shared, rows and the result have it as their first size, and N as
    the second; a chunk is of chunk_size rows of each run, or as many as the Memory takes of all.
    """
    before = () if runs is None else (slice(None),)
    axis = len(before)
    num_rows = jax.tree.leaves(rows)[0].shape[axis]
    size = rows_at_a_time(function, shared, rows, chunk_size, runs=runs)
    mesh = device_mesh(num_devices())
    compiled, shared = _compiled(function, mesh, runs is not None), place(shared, mesh)
    chunks = []
    for start in range(0, num_rows, size):
        position = np.minimum(np.arange(start, start + size), num_rows - 1)
        chunk = place(take(rows, (*before, position)), mesh, *(None,) * axis, "data")
        with jax.default_matmul_precision("highest"):
            result = on_host(compiled(shared, chunk))
        count = min(size, num_rows - start)
        chunks.append(take(result, (*before, slice(count))))
        progress(count * (runs or 1))
    return jax.tree.map(lambda *parts: np.concatenate(parts, axis), *chunks)


@functools.lru_cache(maxsize=16)
def _compiled(function: Callable[..., Any], mesh: Mesh | None, several: bool) -> Callable[..., Any]:
    many, rows = jax.vmap(function, (None, 0)), P("data")
    if several:
        many, rows = jax.vmap(many), P(None, "data")
    if mesh is None:
        return jax.jit(many)
    # Each device runs the program of its own rows: nothing in it, a loop's end say, waits for another's.
    return jax.jit(jax.shard_map(many, mesh=mesh, in_specs=(P(), rows), out_specs=rows, check_vma=False))


def rows_at_a_time(
    function: Callable[..., Any],
    shared: Any,
    rows: Any,
    chunk_size: int | Memory,
    *,
    at_most: int | None = None,
    runs: int | None = None,
) -> int:
    """The rows of a chunk, of each run: as many on every device, and no more than N but for that.

    at_most: on each device, of a Memory that has room for more. Raises ConfigError where one row takes more
    than the Memory.
    """
    if runs is not None:
        shared, rows = take((shared, rows), 0)
    num_rows = -(-jax.tree.leaves(rows)[0].shape[0] // num_devices())  # of one device
    if not isinstance(chunk_size, Memory):
        return num_devices() * min(-(-chunk_size // num_devices()), num_rows)
    needed = (runs or 1) * bytes_per_row(function, shared, rows)
    if needed > chunk_size.bytes:
        of_runs = "" if runs is None else f" of {runs} runs"
        raise ConfigError(
            f"one datapoint{of_runs} takes {needed:,} bytes: set --config.evaluate.memory_bytes to that at "
            f"least, not {chunk_size.bytes:,}, or take fewer draws at a time"
        )
    # So many chunks as must be, of about the same size: the last one is filled up with copies.
    num_chunks = -(-num_rows // min(chunk_size.bytes // needed, at_most or num_rows, num_rows))
    return num_devices() * -(-num_rows // num_chunks)
