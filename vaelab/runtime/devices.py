"""The devices of a run, and one function of one datapoint over many datapoints of R runs on all of them.

A run has one device, JAX's first, unless `on_devices` says otherwise; `launch.py` gives it all devices of all
processes. They form one mesh with the axes `runs` (runs that are trained together) and `data` (datapoints).
What goes onto it is the same on every process, and what comes back is whole on every process.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

T = TypeVar("T")

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
