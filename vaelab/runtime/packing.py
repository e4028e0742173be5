"""A state as bytes and back: what every leaf is, and the bytes of all of them, sorted by path."""

import hashlib
import json
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

State = Any  # a pytree of jax arrays, typed keys among them
Leaf = jax.Array | jax.ShapeDtypeStruct
KEY_WORDS = {"key<fry>": 2, "key<rbg>": 4, "key<urbg>": 4}  # of JAX's kinds of keys, as `describe` has them


class CheckpointError(RuntimeError):
    """A state cannot be saved or restored; the message is one line that names the fix."""


def leaves_of(tree: State) -> dict[str, Leaf]:
    leaves = {jax.tree_util.keystr(p): x for p, x in jax.tree_util.tree_leaves_with_path(tree)}
    for path, leaf in leaves.items():
        if not isinstance(leaf, Leaf):
            raise CheckpointError(
                f"leaf {path} of the state is a {type(leaf).__name__}, not a jax array:"
                " wrap it in jnp.asarray"
            )
    return leaves


def describe(leaves: dict[str, Leaf]) -> dict[str, str]:
    return {path: f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in leaves.items()}


def _raw(leaf: jax.Array) -> jax.Array:
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf


def pack(leaves: dict[str, jax.Array]) -> np.ndarray:
    arrays = jax.device_get([_raw(leaf) for _, leaf in sorted(leaves.items())])
    return np.frombuffer(b"".join(array.tobytes() for array in arrays), np.uint8)


def unpack(packed: np.ndarray, template: dict[str, Leaf]) -> dict[str, jax.Array]:
    leaves, start = {}, 0
    for path, like in sorted(template.items()):
        raw = jax.eval_shape(_raw, like)
        stop = start + raw.size * raw.dtype.itemsize
        leaves[path] = _place(packed[start:stop].view(raw.dtype).reshape(raw.shape), like)
        start = stop
    return leaves


def _place(array: np.ndarray, like: Leaf) -> jax.Array:
    # A leaf that was free to follow the others (uncommitted) must stay so: pinned to one device it
    # could no longer meet a batch that is sharded over eight.
    leaf = jax.device_put(array, like.sharding if getattr(like, "committed", True) else None)
    if leaf.dtype == like.dtype:
        return leaf
    return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(jnp.empty((0,), like.dtype)))


def sha256(described: dict[str, str], packed: np.ndarray) -> str:
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    digest.update(packed)
    return digest.hexdigest()


def arrays_of(described: dict[str, str], packed: np.ndarray) -> dict[str, np.ndarray]:
    """The leaves but for keys, from how `describe` writes and `pack` lays them.

    Raises CheckpointError for a kind of key whose size is not known: what lies behind it would be misread.
    """
    arrays, start = {}, 0
    for path, text in sorted(described.items()):
        name, _, sizes = text.removesuffix("]").partition("[")
        shape = tuple(int(size) for size in sizes.split(",") if size)
        is_key = name.startswith("key<")
        dtype = np.dtype(np.uint32) if is_key else np.dtype(name)
        if is_key and name not in KEY_WORDS:
            raise CheckpointError(
                f"leaf {path} is a {name}, of a size that is not known: restore by a template"
            )
        stop = start + math.prod(shape) * dtype.itemsize * (KEY_WORDS[name] if is_key else 1)
        if not is_key:
            arrays[path] = packed[start:stop].view(dtype).reshape(shape)
        start = stop
    return arrays
