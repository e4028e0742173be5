"""Examples as an array, whatever sequence they come in."""

import numpy as np
import pytest

from vaelab.data.sequences import as_array
from vaelab.data.sources import DataError

X = np.arange(6.0).reshape(3, 2)


class Pairs:
    """What a map-style data set is: a length, and items by their number."""

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return X[i], np.int64(i % 2)


@pytest.mark.parametrize(
    ("examples", "labels"),
    [
        (X, None),
        (X.tolist(), None),
        (Pairs(), [0, 1, 0]),
        ([{"x": x, "y": i} for i, x in enumerate(X)], [0, 1, 2]),
        ([{"y": i, "x": x} for i, x in enumerate(X)], [0, 1, 2]),
        ([(x, np.array([i])) for i, x in enumerate(X)], [0, 1, 2]),
        (np.ma.masked_equal(X, 9.0), None),
        ([(x, "ab"[i % 2]) for i, x in enumerate(X)], ["a", "b", "a"]),
    ],
)
def test_items_are_examples_or_pairs_with_labels(examples, labels):
    x, label = as_array(examples, None, name="train")
    np.testing.assert_array_equal(x, X)
    assert (None if label is None else label.tolist()) == labels


def test_a_sequence_of_several_types_of_numbers_loses_none():
    x, _ = as_array([np.array([200], np.uint8), np.array([-1], np.int16), [0.5]], None, name="train")
    np.testing.assert_array_equal(x, [[200.0], [-1.0], [0.5]])


@pytest.mark.parametrize(
    ("examples", "label", "says"),
    [
        (Pairs(), [0, 1, 0], "train_label is given, and the items of train are pairs with labels: give one"),
        (np.float64(3), None, "train is a single number"),
        (np.arange(3), None, "train has the shape (3,): give [N, D]"),
        (np.array([None, 1]), None, "train holds objects of Python"),
        (iter(X), None, "give an array, or a sequence with __len__"),
        ("abc", None, "train is a str"),
        ([], None, "train holds no examples"),
        ([[1.0], [1.0, 2.0]], None, "example 1 has the shape (2,), example 0 (1,)"),
        ([(X[0], 1), (X[1], None)], None, "example 1 has no label, and others have"),
        (np.ma.masked_equal(X, 3.0), None, "train has 1 numbers that are masked: fill them in"),
        ([np.ma.masked_equal(x, 3.0) for x in X], None, "example 1 has numbers that are masked"),
        ([{"x": X[0], "y": 1, "z": 2}], None, "it has 3 entries, x, y, z: give x and a label"),
        ([["a"]], None, "example 0 is a list that is no array of numbers"),
    ],
)
def test_what_is_no_sequence_of_examples_is_one_line(examples, label, says):
    with pytest.raises(DataError) as caught:
        as_array(examples, label, name="train")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_picture_of_pil_is_its_colours_and_not_the_numbers_of_its_palette():
    from PIL import Image

    colours = np.array([[[250, 0, 0], [0, 250, 0]], [[0, 250, 0], [0, 0, 250]]], np.uint8)
    of_palette = Image.fromarray(colours).quantize(3)
    assert of_palette.mode == "P"
    x, label = as_array([(of_palette, 1)] * 2, None, name="train")
    np.testing.assert_array_equal(x, [colours] * 2)
    assert label.tolist() == [1, 1]
