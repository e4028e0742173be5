"""What data are known by: every change is told by its name, and nothing else is."""

import numpy as np
import pytest

from vaelab import data
from vaelab.data.rows import rows_of

X = np.arange(60, dtype=np.uint8).reshape(20, 3)


def made(**changed):
    parts, index_N = {}, np.arange(20, dtype=np.int32)
    for name, rows in (("train", slice(0, 12)), ("validation", slice(12, 16)), ("test", slice(16, 20))):
        parts[name] = data.Split(X[rows], index_N[rows] % 3, index_N[rows])
        parts[name] = parts[name]._replace(**changed.pop(name, {}))
    return data.DataSet("made", (3,), 255, parts)._replace(**changed)


FIRST = data.fingerprint(made())


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, []),
        ({"name": "another", "notes": ("read",), "label_names": ("a", "b", "c")}, []),
        ({"image_shape": (1, 3)}, ["the shape of an example was 3 and is 1x3"]),
        ({"max_value": 59}, ["the largest level was 255 and is 59"]),
        ({"test": {"label_N": np.array([0, 0, 0, 1])}}, ["the labels of test changed"]),
        ({"test": {"pixels_NxD": X[:4]}}, ["x in test changed"]),
        ({"train": {"index_N": np.arange(20, 32)}}, ["which examples are in train changed"]),
    ],
)
def test_what_has_changed_is_named(changed, says):
    assert data.changes(FIRST, data.fingerprint(made(**changed))) == says


def test_another_number_of_examples_is_told_alone():
    few = made(test={"pixels_NxD": X[:3], "label_N": np.zeros(3), "index_N": np.arange(3)})
    assert data.changes(FIRST, data.fingerprint(few)) == ["test had 4 examples and has 3"]


def test_another_order_of_the_same_examples_changes_which_are_there_alone():
    order = np.array([2, 0, 3, 1])
    split = made().splits["test"]
    moved = {"pixels_NxD": split.pixels_NxD[order], "label_N": split.label_N[order]}
    other = data.fingerprint(made(test=moved | {"index_N": split.index_N[order]}))
    assert data.changes(FIRST, other) == ["which examples are in test changed"]


def test_on_the_disk_or_of_the_other_byte_order_they_are_the_same():
    real = (X / 7).astype("<f4")
    known = data.fingerprint(made(train={"pixels_NxD": real[:12]}))
    swapped = data.fingerprint(made(train={"pixels_NxD": real[:12].astype(">f4")}))
    unread = rows_of(real[:12], lambda part: part, size=3, dtype=np.float32)
    assert known == swapped == data.fingerprint(made(train={"pixels_NxD": unread}))


def test_what_a_reader_wants_stands_beside_it():
    dataset = made(label_names=("a", "b", "c"), notes=("brought to 1x3",))
    beside = {"label_names": ["a", "b", "c"], "notes": ["brought to 1x3"], "label_counts": [4, 4, 4]}
    assert data.described(dataset) == FIRST | beside
