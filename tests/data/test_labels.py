"""Labels as class numbers."""

import numpy as np
import pytest

from vaelab.data.labels import class_numbers
from vaelab.data.sources import DataError


def test_names_are_numbered_in_their_order_over_all_splits():
    labels = {"train": np.array(["pear", "fig"]), "test": np.array(["apple"]), "validation": None}
    numbers, names = class_numbers({"train": 2, "test": 1, "validation": 3}, labels)
    assert names == ("apple", "fig", "pear")
    assert {split: label_N.tolist() for split, label_N in numbers.items()} == {
        "train": [2, 1],
        "test": [0],
        "validation": [-1, -1, -1],
    }


@pytest.mark.parametrize("labels", [np.array([3.0, -1.0, 0.0]), [[3], [-1], [0]], np.array([3, -1, 0])])
def test_integers_stay_however_they_are_stored(labels):
    numbers, names = class_numbers({"train": 3}, {"train": labels})
    assert (numbers["train"].tolist(), numbers["train"].dtype, names) == ([3, -1, 0], np.int32, ())


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0, 1], "train has 12 examples and 2 labels"),
        (np.zeros((12, 2)), "the labels of train have the shape (12, 2)"),
        ([0.5] * 12, "no classes (0.5)"),
        ([-2] * 12, "hold -2: classes are 0 or more"),
        ([2**31] * 12, f"hold {2**31}"),
        ([np.nan] * 12, "no classes (nan)"),
        ([np.inf] * 12, "no classes (inf)"),
        ([1j] * 12, "are complex128: give integers, or names"),
        (np.arange(12).astype("datetime64[D]"), "are datetime64[D]"),
        (range(12), "12 examples have 12 different labels, one each"),
    ],
)
def test_what_is_no_class_is_refused(labels, says):
    with pytest.raises(DataError) as caught:
        class_numbers({"train": 12}, {"train": labels})
    assert says in str(caught.value)


def test_a_class_for_each_of_few_examples_may_be_and_examples_without_one_are_not_counted():
    class_numbers({"train": 10}, {"train": range(10)})
    class_numbers({"train": 12}, {"train": [*range(11), -1]})


@pytest.mark.parametrize(
    ("labels", "numbers", "names"),
    [
        (["b", None, "a", ""], [1, -1, 0, -1], ("a", "b")),
        (np.array(["b", np.nan, "a", None], object), [1, -1, 0, -1], ("a", "b")),
        (np.array([3, None, 0, 3], object), [3, -1, 0, 3], ()),
        (np.array([3.0, np.nan, 0.0, 3.0], object), [3, -1, 0, 3], ()),
        (np.array(["é".encode(), b"b", b"b", b""]), [1, 0, 0, -1], ("b", "é")),
    ],
)
def test_a_missing_label_is_none_and_no_class(labels, numbers, names):
    of_split, found = class_numbers({"train": 4}, {"train": np.asarray(labels, dtype=None)})
    assert (of_split["train"].tolist(), found) == (numbers, names)
