"""How much memory a program takes, by the shapes of its traced arrays alone: nothing is compiled or run.

And how much this machine has.
"""

import gc
import math
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.extend as jex

TRACED_ROWS = 64  # enough that what they share counts for little


class Memory(NamedTuple):
    """The bytes of each device that the rows of one chunk may take, by `bytes_per_row`."""

    bytes: int


LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container


def of_machine() -> int:
    """The bytes of memory that this machine has, or that its container may take where that is less."""
    least = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in map(Path, LIMITS):
        try:
            least = min(least, int(path.read_text()))
        except (OSError, ValueError):  # "max" is no limit
            continue
    return least


def most_resident() -> int:
    """The most bytes of memory that this process has had resident at once, so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most  # kibibytes but on macOS


def most_on_a_device() -> int | None:
    """The most bytes in use at once on a device of this process; None where it does not count them."""
    counts = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in jax.local_devices()]
    return max((count for count in counts if count is not None), default=None)


def shape_of(array: Any, *shape: int) -> jax.ShapeDtypeStruct:
    """An array of this shape with the other's type, as JAX takes it: of 32 bits unless 64 are allowed.

    That is said here because JAX 0.12 warns of it wherever it is left to it.
    """
    extended = jax.dtypes.issubdtype(array.dtype, jax.dtypes.extended)  # of keys
    return jax.ShapeDtypeStruct(
        shape, array.dtype if extended else jax.dtypes.canonicalize_dtype(array.dtype)
    )


def bytes_per_row(function: Callable[..., Any], shared: Any, rows: Any) -> int:
    """The bytes that a row of `map_datapoints` takes, about: the most of the arrays that live at once.

    The compiler keeps less alive where it fuses and more where it copies.
    """
    rows = jax.tree.map(lambda a: shape_of(a, TRACED_ROWS, *a.shape[1:]), rows)
    return -(-peak_bytes(jax.vmap(function, (None, 0)), shared, rows) // TRACED_ROWS)


def release_programs() -> bool:
    """Drops all compiled programs where half of the memory maps that a process may have are taken.

    On a CPU a program takes dozens of them, and XLA crashes without a word where there are no more (on Linux
    vm.max_map_count). What is called again is then compiled again, or read from the cache on disk.
    """
    try:
        most = int(Path("/proc/sys/vm/max_map_count").read_text())
        held = Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:
        return False
    if held < most // 2:
        return False
    jax.clear_caches()
    gc.collect()
    return True


def peak_bytes(function: Callable[..., Any], *arguments: Any) -> int:
    """The most bytes that a call has alive at once, its arguments left out, by shapes alone."""
    return peak_of(jax.make_jaxpr(function)(*arguments).jaxpr)


def peak_of(jaxpr: jex.core.Jaxpr) -> int:
    """The most bytes alive at once, the inputs left out: each array from its equation to its last use."""
    last_use = {v: i for i, e in enumerate(jaxpr.eqns) for v in e.invars if isinstance(v, jex.core.Var)}
    last_use |= {v: len(jaxpr.eqns) for v in jaxpr.outvars if isinstance(v, jex.core.Var)}
    alive, peak = {}, 0
    for i, equation in enumerate(jaxpr.eqns):
        parts = jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr)
        inside = max((peak_of(getattr(p, "jaxpr", p)) for p in parts if _is_jaxpr(p)), default=0)
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
