"""A state as bytes and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab.runtime.packing import CheckpointError, arrays_of, describe, leaves_of, pack, sha256, unpack

STATE = {
    "weights": [jnp.array([[1.5, -2.0]]), jnp.array([7, 8, 9], jnp.uint8)],
    "key": jax.random.key(5),
    "step": jnp.int32(3),
    "half": jnp.array([0.5], jnp.bfloat16),
}
LEAVES = leaves_of(STATE)
TEXTS = {
    "['half']": "bfloat16[1]",
    "['key']": "key<fry>[]",
    "['step']": "int32[]",
    "['weights'][0]": "float32[1, 2]",
    "['weights'][1]": "uint8[3]",
}


def test_each_leaf_is_described_by_its_path_type_and_shape():
    assert describe(LEAVES) == TEXTS


def test_bytes_lie_in_the_order_of_the_paths_and_come_back():
    packed = pack(LEAVES)
    # Of two bytes, two words, a number, two floats and three bytes.
    assert packed.size == 2 + 8 + 4 + 8 + 3
    assert packed[-3:].tolist() == [7, 8, 9]
    for template in (LEAVES, jax.eval_shape(lambda: LEAVES)):
        back = unpack(packed, template)
        assert describe(back) == TEXTS
        assert jax.random.key_data(back["['key']"]).tolist() == jax.random.key_data(STATE["key"]).tolist()
        for path in TEXTS.keys() - {"['key']"}:
            np.testing.assert_array_equal(back[path], LEAVES[path])


def test_without_a_template_all_but_keys_are_read():
    arrays = arrays_of(describe(LEAVES), pack(LEAVES))
    assert arrays.keys() == LEAVES.keys() - {"['key']"}
    for path, array in arrays.items():
        np.testing.assert_array_equal(array, LEAVES[path])
        assert array.dtype == LEAVES[path].dtype


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_what_lies_behind_a_key_of_any_kind_is_read_where_it_is(impl):
    leaves = leaves_of({"a": jax.random.split(jax.random.key(0, impl=impl), 3), "b": jnp.array([1.5])})
    assert {path: array.tolist() for path, array in arrays_of(describe(leaves), pack(leaves)).items()} == {
        "['b']": [1.5]
    }


def test_a_key_of_a_kind_that_is_not_known_is_named():
    described = {"['a']": "key<own>[]", "['b']": "float32[1]"}
    with pytest.raises(CheckpointError, match=r"leaf \['a'\] is a key<own>, of a size that is not known"):
        arrays_of(described, np.zeros(12, np.uint8))


def test_the_digest_knows_the_bytes_and_what_they_are():
    packed = pack(LEAVES)
    other = packed.copy()
    other[4] ^= 1
    digests = {sha256(TEXTS, packed), sha256(TEXTS, other), sha256(TEXTS | {"['step']": "uint32[]"}, packed)}
    assert len(digests) == 3
    assert sha256(dict(reversed(TEXTS.items())), packed.copy()) in digests


def test_a_leaf_that_is_no_array_is_named():
    with pytest.raises(CheckpointError, match=r"leaf \['n'\] of the state is a int, not a jax array"):
        leaves_of({"n": 3})
