"""One function of one datapoint over many datapoints of R runs, in chunks, on all devices of the run.

What goes onto the devices is the same on every process, and what comes back is whole on every process.
"""

import functools
import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from vaelab.errors import ConfigError
from vaelab.runtime.devices import device_mesh, num_devices, on_host, place, stack, take, unstack
from vaelab.runtime.memory import Memory, bytes_per_row, peak_of, shape_of
from vaelab.runtime.program import Program

logger = logging.getLogger(__name__)
LESS = "evaluate.memory_bytes asks for fewer from the start"

Progress = Callable[[int], None]
"""Called with the number of datapoints just finished."""


class DoesNotFit(ConfigError):
    """One datapoint, of as many runs as are one program, takes more than the memory there may be."""


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

    On a CPU that is a single device two chunks run at once, each the same program on a thread of its own, so
    that what one of them does on a single core leaves the others their work.

    static: what is compiled into the program. The program is kept under (function, *static): give a function
    of a module, and equal records, to compile once. progress: called with the rows of all runs just done.

    Where a device is out of memory all the same, one chunk at a time is tried, then chunks of half the size,
    and a line says so.

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
    compiling = threading.Lock()
    # JAX keeps what a `with` says of these for the thread that says it.
    device, double = jax.config.jax_default_device, jax.config.jax_enable_x64

    def run(start: int, size: int) -> Any:
        position = np.minimum(np.arange(start, start + size), num_rows - 1)
        with jax.default_device(device), jax.enable_x64(double), jax.default_matmul_precision("highest"):
            chunk = place(take(all_rows, (*before, position)), mesh, *(None,) * axis, "data")
            with compiling:
                result = compiled(all_shared, chunk)  # is not waited for
            return on_host(result)

    chunks, start = [], 0
    running: deque[Future[Any]] = deque()
    at_once = chunks_at_once() if size < num_rows else 1
    with ThreadPoolExecutor(at_once) as pool:
        while start < num_rows:
            while 1 < at_once > len(running) and start + size * len(running) < num_rows:
                running.append(pool.submit(run, start + size * len(running), size))
            try:
                result = running.popleft().result() if running else run(start, size)
            except jax.errors.JaxRuntimeError as error:
                several = jax.process_count() > 1  # the others would wait for a chunk of the size before
                smallest = size == num_devices() and at_once == 1
                if "RESOURCE_EXHAUSTED" not in str(error) or smallest or several:
                    raise
                wait(running)
                running.clear()
                if at_once > 1:  # one of this size may fit by itself
                    at_once = 1
                    continue
                size = num_devices() * (size // num_devices() // 2)
                logger.warning(
                    "out of memory: going on with %d datapoints at a time; a smaller %s", size, LESS
                )
                continue
            count = min(size, num_rows - start)
            chunks.append(take(result, (*before, slice(count))))
            progress(count * num_runs)
            start += size
    return unstack(jax.tree.map(lambda *parts: np.concatenate(parts, axis), *chunks), num_runs)


def chunks_at_once() -> int:
    """The chunks of datapoints that run at the same time: two on a CPU that is a single device."""
    return 2 if num_devices() == 1 and jax.default_backend() == "cpu" else 1


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
    chunk = jax.tree.map(lambda a: shape_of(a, *runs, size, *a.shape[1:]), rows[0])
    every = jax.eval_shape(stack, list(shared)) if runs else shared[0]
    with jax.default_matmul_precision("highest"):
        traced = _compiled(function, static, mesh, bool(runs)).jitted.trace(every, chunk)
    return peak_of(traced.jaxpr.jaxpr)
