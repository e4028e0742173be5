"""What is put onto devices, and the trees of several runs as one; meshes are in end_to_end/test_devices."""

import jax
import numpy as np
import pytest

from vaelab.runtime.devices import device_mesh, num_devices, on_devices, place, stack, take, unstack


@pytest.mark.parametrize("num_runs", [1, 3])
def test_the_trees_of_runs_are_stacked_and_taken_apart_again(num_runs):
    trees = [{"a": np.full((2, 4), run), "b": np.float32(run)} for run in range(num_runs)]
    together = stack(trees)
    assert together["a"].shape == ((3, 2, 4) if num_runs > 1 else (2, 4))
    for tree, again in zip(trees, unstack(together, num_runs), strict=True):
        jax.tree.map(np.testing.assert_array_equal, again, tree)


def test_a_single_run_is_not_copied():
    tree = {"a": np.zeros(3)}
    assert stack([tree]) is tree
    assert unstack(tree, 1)[0] is tree


def test_rows_are_taken_of_every_array():
    first, second = take((np.arange(5), np.arange(10).reshape(5, 2)), slice(1, 3))
    np.testing.assert_array_equal(first, [1, 2])
    np.testing.assert_array_equal(second, [[2, 3], [4, 5]])


def test_devices_are_those_of_the_block_and_then_as_before():
    assert num_devices() == 1
    assert device_mesh(1) is None
    with on_devices(jax.devices()[:4]):
        assert num_devices() == 4
        assert dict(device_mesh(2).shape) == {"runs": 2, "data": 2}
    assert num_devices() == 1


def test_what_is_placed_is_divided_over_its_axis_and_copied_over_the_others():
    with on_devices(jax.devices()[:4]):
        mesh = device_mesh(2)
    values, keys = np.arange(8.0), jax.random.split(jax.random.key(0), 4)
    placed, placed_keys = place((values, keys), mesh, "data")
    assert {part.data.shape for part in placed.addressable_shards} == {(4,)}
    np.testing.assert_array_equal(placed, values)
    np.testing.assert_array_equal(jax.random.key_data(placed_keys), jax.random.key_data(keys))
    assert place(values, None) is values
