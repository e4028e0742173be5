"""A data set from arrays: the shape of an example, and how the splits are drawn."""

import numpy as np
import pytest

from tests.support.files import COLOUR, GREY, whole
from vaelab import data
from vaelab.data.arrays import divide
from vaelab.data.sources import Split


def test_channels_stand_last_and_one_is_none():
    first = data.from_arrays(np.moveaxis(COLOUR, -1, 1))
    assert first.image_shape == (6, 5, 3)
    assert "[channels, height, width]" in first.notes[0]
    np.testing.assert_array_equal(whole(first)[0], COLOUR.reshape(60, -1))
    assert (
        data.from_arrays(GREY[:, None]).image_shape == data.from_arrays(GREY[..., None]).image_shape == (6, 5)
    )
    assert data.from_arrays(GREY.reshape(60, 30), image_shape=(6, 5)).image_shape == (6, 5)


def test_a_split_that_is_given_is_not_drawn_and_the_fractions_of_the_others_are_of_what_remains():
    """0.2 of 0.6 + 0.2 for validation, where test is given: 10 of 40."""
    part = Split(np.arange(80).reshape(40, 2), np.zeros(40, np.int32), np.arange(40, dtype=np.int32))
    test = Split(np.ones((7, 2)), np.zeros(7, np.int32), np.arange(40, 47, dtype=np.int32))
    splits = divide({"train": part, "test": test}, (0.6, 0.2, 0.2))
    assert list(splits) == list(data.SPLITS)
    assert splits["test"] is test
    assert [len(split.index_N) for split in splits.values()] == [30, 10, 7]
    drawn = np.concatenate([splits["train"].index_N, splits["validation"].index_N])
    np.testing.assert_array_equal(np.sort(drawn), np.arange(40))
    for split in ("train", "validation"):  # pixels stay with their index
        np.testing.assert_array_equal(splits[split].pixels_NxD[:, 0], 2 * splits[split].index_N)


@pytest.mark.parametrize(
    ("splits", "settings", "says"),
    [
        ({"train": np.eye(9), "validation": np.eye(9)}, {}, "and none to test: give test too"),
        ({"train": np.eye(5)}, {}, "the validation split has 0 of 5 examples, and needs 2 or more"),
        ({"train": np.eye(20)}, {"image_shape": (3, 7)}, "image_shape=(3, 7): does not hold"),
        ({"train": np.eye(20)}, {"fractions": (0.5, 0.4, 0.2)}, "three numbers above 0 with the sum 1"),
        ({"train": np.ones((20, 0))}, {}, "an example has the shape (0,)"),
    ],
)
def test_arrays_that_make_no_data_set(splits, settings, says):
    with pytest.raises(data.DataError) as caught:
        data.from_arrays(**splits, **settings)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
