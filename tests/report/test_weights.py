"""Weights as a file: names are the paths of arrays, and what is read back is what was written."""

import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab.errors import VERSION
from vaelab.report.weights import fill, named, read_weights, write_weights


class Affine(NamedTuple):
    W: jax.Array
    b: jax.Array


THETA = {
    "layers": [Affine(jnp.arange(6.0).reshape(2, 3), jnp.zeros(2)), Affine(jnp.ones((1, 2)), jnp.ones(1))]
}
PSI = {"shared": jnp.arange(3, dtype=jnp.int32)}


def test_an_array_is_named_by_its_path_through_dicts_lists_and_records():
    arrays = named({"theta": THETA, "encoder/full": PSI})
    assert sorted(arrays) == [
        "encoder/full/shared",
        *(f"theta/layers/{layer}/{part}" for layer in (0, 1) for part in ("W", "b")),
    ]
    np.testing.assert_array_equal(arrays["theta/layers/0/W"], [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])


def test_what_is_read_back_fills_the_tree_it_came_from(tmp_path):
    path = tmp_path / "model.safetensors"
    turned = {"W": np.arange(6.0, dtype=np.float32).reshape(2, 3).T}  # not contiguous
    write_weights(path, {"theta": THETA, "encoder/full": PSI, "turned": turned}, {"seed": 3})
    weights = read_weights(path)
    np.testing.assert_array_equal(weights["turned/W"], turned["W"])
    template = jax.tree.map(jnp.zeros_like, THETA)
    filled = fill(jax.eval_shape(lambda: template), "theta", weights)
    assert isinstance(filled["layers"][1], Affine)
    jax.tree.map(np.testing.assert_array_equal, filled, THETA)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    metadata = json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]
    assert (json.loads(metadata["config"]), metadata["version"]) == ({"seed": 3}, VERSION)


@pytest.mark.parametrize(
    ("array", "line"),
    [
        (None, "there is no encoder/shared"),
        (np.zeros(4, np.int32), r"encoder/shared is int32\[4\] and should be int32\[3\]"),
        (np.zeros(3, np.float32), r"encoder/shared is float32\[3\] and should be int32\[3\]"),
    ],
)
def test_an_array_that_does_not_fit_is_named(array, line):
    with pytest.raises(ValueError, match=line):
        fill(PSI, "encoder", {} if array is None else {"encoder/shared": array})


def test_a_file_that_was_cut_off_is_one_error(tmp_path):
    path = tmp_path / "model.safetensors"
    write_weights(path, {"theta": THETA}, {})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"\w"):
        read_weights(path)
