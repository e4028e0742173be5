"""The weights of a run as a file that PyTorch and NumPy read: `model.safetensors`.

    theta/PATH             parameters of the model
    encoder/FAMILY/PATH    parameters of each family's encoder

PATH is that of the array in its tree of parameters, joined by "/".
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vaelab.errors import VERSION
from vaelab.runtime.directory import write_whole
from vaelab.types import Params

FILE = "model.safetensors"


def named(trees: Mapping[str, Params]) -> dict[str, np.ndarray]:
    """Every array of these trees under its name: "theta/Dense_0/kernel", say."""
    return {
        "/".join((prefix, *map(_part, path))): np.asarray(leaf)
        for prefix, tree in trees.items()
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def fill(template: Params, prefix: str, weights: Mapping[str, np.ndarray]) -> Params:
    """The tree of `template` with the arrays of these names.

    template: its leaves give shapes and dtypes, their values are not read. Raises ValueError, naming the
    array and what is wrong with it.
    """

    def of(path: Any, leaf: Any) -> jax.Array:
        name = "/".join((prefix, *map(_part, path)))
        if name not in weights:
            raise ValueError(f"there is no {name}")
        array = weights[name]
        if (array.shape, array.dtype) != (leaf.shape, leaf.dtype):
            raise ValueError(
                f"{name} is {array.dtype}{list(array.shape)} and should be {leaf.dtype}{list(leaf.shape)}"
            )
        return jax.numpy.asarray(array)

    return jax.tree_util.tree_map_with_path(of, template)


def _part(entry: Any) -> str:
    for field in ("key", "name", "idx"):
        if hasattr(entry, field):
            return str(getattr(entry, field))
    raise TypeError(f"{entry!r} is no part of a path")


def write_weights(path: Path, trees: Mapping[str, Params], config: Any) -> None:
    """Writes the weights, with the config and vaelab's version in the file's metadata."""
    from safetensors.numpy import save

    metadata = {"config": json.dumps(config), "version": VERSION}
    arrays = {name: np.ascontiguousarray(array) for name, array in named(trees).items()}
    write_whole(path, save(arrays, metadata))


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The arrays by name. Raises ValueError where the file is damaged, OSError where it cannot be read."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(str(error)) from error
