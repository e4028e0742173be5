"""The devices of a run, and one function of one datapoint over many datapoints of R runs on all of them.

A run has one device, JAX's first, unless `on_devices` says otherwise; `launch.py` gives it all devices of all
processes. They form one mesh with the axes `runs` (runs that are trained together) and `data` (datapoints).
What goes onto it is the same on every process, and what comes back is whole on every process.
"""

import functools
import logging
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vaelab.runtime.memory import Memory, bytes_per_row, peak_of
from vaelab.runtime.program import Program
from vaelab.types import ConfigError

T = TypeVar("T")
logger = logging.getLogger(__name__)
LESS = "evaluate.memory_bytes asks for fewer from the start"

Progress = Callable[[int], None]
"""Called with the number of datapoints just finished."""

_devices: tuple[jax.Device, ...] | None = None


class DoesNotFit(ConfigError):
    """One datapoint, of as many runs as are one program, takes more than the memory there may be."""


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
    """This process's own copy of arrays that are copied over the mesh, which is the same memory."""
    return jax.tree.map(lambda a: a.addressable_data(0), tree)


def take(tree: Any, rows: Any) -> Any:
    """These rows of every array: a slice, or positions."""
    return jax.tree.map(lambda a: a[rows], tree)


def stack(runs: Sequence[T]) -> T:
    """The trees of several runs as one with a leading R; a single run's tree as it is.

    What a single run computes is thereby the program of one run, with no axis more, bit for bit.
    """
    if len(runs) == 1:
        return runs[0]

    def together(*leaves: Any) -> Any:
        on_host = all(isinstance(leaf, np.ndarray) for leaf in leaves)
        return np.stack(leaves) if on_host else jnp.stack([jnp.asarray(leaf) for leaf in leaves])

    return jax.tree.map(together, *runs)


def unstack(tree: T, num_runs: int) -> list[T]:
    """Inverts `stack`."""
    return [tree] if num_runs == 1 else [take(tree, run) for run in range(num_runs)]


def map_datapoints(
    function: Callable[..., Any],
    shared: Any,
    rows: Any,
    *,
    static: tuple[Hashable, ...] = (),
    chunk_size: int | Memory,
    progress: Progress = lambda count: None,
) -> Any:
    """[function(*static, shared, row) for each row], `map_runs` of a single run."""
    settings = {"static": static, "chunk_size": chunk_size, "progress": progress}
    return map_runs(function, [shared], [rows], **settings)[0]


def map_runs(
    function: Callable[..., Any],
    shared: Sequence[Any],
    rows: Sequence[Any],
    *,
    static: tuple[Hashable, ...] = (),
    chunk_size: int | Memory,
    progress: Progress = lambda count: None,
) -> list[Any]:
    """[[function(*static, shared, row) for each row] for each run], in compiled chunks of `chunk_size` rows.

    shared, rows: of each run, with the same structure and shapes for all. rows is a pytree of arrays with the
    same leading size N > 0; the result of a run is a pytree of NumPy arrays with leading size N, in the same
    order. Several runs are one program; a single run has a program of its own, without an axis for runs. Each
    device takes rows of its own with a copy of `shared`. The last chunk is filled up with copies of its last
    row, so that one program is compiled; results do not depend on the chunk, or on the number of devices,
    beyond float rounding, provided that `function` takes its randomness from the row alone. Matrix products
    are in float32 on every device.

    static: what is compiled into the program. The program is kept under (function, *static): give a function
    of a module, and equal records, to compile once. progress: called with the rows of all runs just done.

    Where a device is out of memory all the same, chunks of half the size are tried, and a line says so.

    Raises DoesNotFit where one row of all runs takes more than the Memory given.
    """
    num_runs = len(shared)
    before = (slice(None),) if num_runs > 1 else ()
    axis = len(before)
    size = rows_at_a_time(function, shared, rows, chunk_size, static=static)
    mesh = device_mesh(num_devices())
    compiled = _compiled(function, static, mesh, num_runs > 1)
    all_shared, all_rows = place(stack(shared), mesh), stack(rows)
    num_rows = jax.tree.leaves(all_rows)[0].shape[axis]
    chunks, start = [], 0
    while start < num_rows:
        position = np.minimum(np.arange(start, start + size), num_rows - 1)
        chunk = place(take(all_rows, (*before, position)), mesh, *(None,) * axis, "data")
        try:
            with jax.default_matmul_precision("highest"):
                result = on_host(compiled(all_shared, chunk))
        except jax.errors.JaxRuntimeError as error:
            several = jax.process_count() > 1  # the others would wait for a chunk of the size before
            if "RESOURCE_EXHAUSTED" not in str(error) or size == num_devices() or several:
                raise
            size = num_devices() * (size // num_devices() // 2)
            logger.warning("out of memory: going on with %d datapoints at a time; a smaller %s", size, LESS)
            continue
        count = min(size, num_rows - start)
        chunks.append(take(result, (*before, slice(count))))
        progress(count * num_runs)
        start += size
    return unstack(jax.tree.map(lambda *parts: np.concatenate(parts, axis), *chunks), num_runs)


@functools.lru_cache(maxsize=64)
def _compiled(
    function: Callable[..., Any], static: tuple[Hashable, ...], mesh: Mesh | None, several: bool
) -> Callable[..., Any]:
    many, rows = jax.vmap(functools.partial(function, *static), (None, 0)), P("data")
    if several:
        many, rows = jax.vmap(many), P(None, "data")
    if mesh is None:
        return Program(many)
    # Each device runs the program of its own rows: nothing in it, a loop's end say, waits for another's.
    sharded = jax.shard_map(many, mesh=mesh, in_specs=(P(), rows), out_specs=rows, check_vma=False)
    return Program(sharded)


def rows_at_a_time(
    function: Callable[..., Any],
    shared: Sequence[Any],
    rows: Sequence[Any],
    chunk_size: int | Memory,
    *,
    static: tuple[Hashable, ...] = (),
    at_most: int | None = None,
) -> int:
    """The rows of a chunk, of each run: as many on every device, and no more than N but for that.

    at_most: on each device, of a Memory that has room for more. Raises DoesNotFit where one row of all runs
    takes more than the Memory.
    """
    num_rows = -(-jax.tree.leaves(rows[0])[0].shape[0] // num_devices())  # on one device
    if not isinstance(chunk_size, Memory):
        return num_devices() * min(-(-chunk_size // num_devices()), num_rows)
    most = min(at_most or num_rows, num_rows)
    # A program is traced once where as many rows as may be fit, and its trace serves again when it is run.
    size = num_devices() * _evenly(num_rows, most)
    if _chunk_bytes(function, shared, rows, static, size) <= chunk_size.bytes:
        return size
    needed = len(rows) * bytes_per_row(functools.partial(function, *static), shared[0], rows[0])
    if needed > chunk_size.bytes:
        of_runs = "" if len(rows) == 1 else f" of {len(rows)} runs"
        raise DoesNotFit.of(
            setting="evaluate.memory_bytes",
            value=chunk_size.bytes,
            problem=f"one datapoint{of_runs} takes {needed:,} bytes",
            fix="set that at least, or take fewer draws at a time",
        )
    return num_devices() * _evenly(num_rows, min(chunk_size.bytes // needed, most))


def _evenly(num_rows: int, most: int) -> int:
    """The rows of one of as few chunks as there can be: the last one is filled up with copies."""
    return -(-num_rows // -(-num_rows // most))


def _chunk_bytes(
    function: Callable[..., Any],
    shared: Sequence[Any],
    rows: Sequence[Any],
    static: tuple[Hashable, ...],
    size: int,
) -> int:
    """The most bytes that a chunk of `size` rows of every run has alive on one device."""
    runs = (len(rows),) if len(rows) > 1 else ()
    mesh = device_mesh(num_devices())
    chunk = jax.tree.map(lambda a: jax.ShapeDtypeStruct((*runs, size, *a.shape[1:]), a.dtype), rows[0])
    every = jax.eval_shape(stack, list(shared)) if runs else shared[0]
    with jax.default_matmul_precision("highest"):
        traced = _compiled(function, static, mesh, bool(runs)).jitted.trace(every, chunk)
    return peak_of(traced.jaxpr.jaxpr)
