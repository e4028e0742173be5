"""Data of a path: what is read, how it is divided, and what is said of what cannot be read."""

import numpy as np
import pytest

from tests.support.files import COLOUR, GREY, LABEL, REAL, load, one_line, whole
from tests.support.images import assert_same
from vaelab import data


def test_an_array_is_divided_once_and_for_all_and_its_index_is_the_row(tmp_path):
    np.save(tmp_path / "a.npy", GREY)
    np.save(tmp_path / "a_label.npy", LABEL)
    dataset = load(tmp_path / "a.npy", fractions=(0.5, 0.2, 0.3))
    assert dataset[:3] == ("file", (6, 5), 255)
    assert tuple(dataset.splits) == data.SPLITS
    assert [len(split.index_N) for split in dataset.splits.values()] == [30, 12, 18]
    for split in dataset.splits.values():
        assert [field.dtype for field in split] == [np.uint8, np.int32, np.int32]
        np.testing.assert_array_equal(split.pixels_NxD, GREY.reshape(60, 30)[split.index_N])
        np.testing.assert_array_equal(split.label_N, LABEL[split.index_N])
    order = np.random.RandomState(0).permutation(60)
    np.testing.assert_array_equal(dataset.splits["test"].index_N, order[:18])
    assert_same(load(tmp_path / "a.npy", fractions=(0.5, 0.2, 0.3)), dataset)


def test_splits_that_are_given_stay_and_count_on(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        train=COLOUR[:30],
        validation=COLOUR[30:40],
        test=COLOUR[40:],
        test_label=LABEL[40:],
    )
    dataset = load(tmp_path / "a.npz")
    assert dataset.image_shape == (6, 5, 3)
    x, label = whole(dataset)
    np.testing.assert_array_equal(x, COLOUR.reshape(60, -1))
    np.testing.assert_array_equal(label, np.where(np.arange(60) < 40, -1, LABEL))
    np.testing.assert_array_equal(dataset.splits["test"].index_N, np.arange(40, 60))


def test_without_validation_a_part_of_train_is(tmp_path):
    for name, part in (("train", REAL[:40]), ("test", REAL[40:])):
        np.save(tmp_path / f"{name}.npy", part)
    dataset = load(tmp_path, fractions=(0.6, 0.2, 0.2))
    assert (dataset.image_shape, dataset.max_value) == ((7,), data.REAL)
    assert [len(split.index_N) for split in dataset.splits.values()] == [30, 10, 20]
    np.testing.assert_array_equal(dataset.splits["test"].index_N, np.arange(40, 60))
    x, _ = whole(dataset)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, REAL.astype(np.float32))


def test_paths_that_are_nothing(tmp_path):
    one_line("", "--config.data.path: data.name=file needs it; give a file")
    one_line(
        "gs://bucket/a.npy", "--config.data.path='gs://bucket/a.npy': is an address, which is not supported"
    )
    one_line(tmp_path / "a.npy", f"there is no {tmp_path}/a.npy")
    (tmp_path / "a.mat").touch()
    one_line(tmp_path / "a.mat", "is no file of a known kind; there are .npy, .npz")
    (tmp_path / "empty").mkdir()
    one_line(tmp_path / "empty", "holds no image: give a folder")
    (tmp_path / "empty" / "a.txt").touch()
    one_line(tmp_path / "empty", "1 other files, as a.txt")


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_files_that_are_damaged(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    (np.save if suffix == "npy" else np.savez)(path, GREY)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    one_line(path, f"{path} cannot be read (it is cut short, or damaged): save it anew")
    path.write_bytes(b"")
    one_line(path, f"{path} cannot be read (it is empty)")
    path.write_text("1,2,3")
    one_line(path, f"{path} cannot be read (it is no file of NumPy)")
    np.save(tmp_path / "o.npy", np.array([{}, []], object), allow_pickle=True)
    one_line(tmp_path / "o.npy", "it holds objects of Python")


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"train": GREY, "extra": GREY}, "holds extra beside train"),
        ({"train": GREY, "validation": GREY}, "and no test"),
        ({"train": GREY, "test_label": LABEL}, "test_label and no test"),
        ({"a": GREY, "b": GREY}, "give train, validation and test, or one array"),
        ({}, "holds nothing"),
        ({"a": GREY, "y": LABEL[:-1]}, "train has 60 examples and 59 labels"),
        ({"a": GREY, "y": LABEL + 0.5}, "are no classes (0.5)"),
        ({"a": GREY, "y": np.arange(60)}, "60 examples have 60 different labels, one each"),
        ({"train": GREY[:30], "test": COLOUR[30:]}, "several shapes (train (6, 5), test (6, 5, 3))"),
        ({"train": GREY[:30], "test": GREY[:0]}, "test holds no examples"),
        ({"train": GREY, "test": GREY[40:]}, "20 of the 20 test examples are in train too"),
        ({"train": GREY[:50], "test": GREY[45:]}, "5 of the 15 test examples are in train too"),
        ({"a": GREY / 255 - 0.5}, "float images must lie in 0..1, and go from -0.5 to 0.5: bring them there"),
        ({"a": np.where(GREY[7, 3, 2] == GREY, np.nan, GREY)[7:]}, "row 0 holds"),
        ({"a": np.where(np.arange(60)[:, None] == 9, np.inf, REAL)}, "row 9 holds 7 numbers that are inf"),
        ({"a": GREY.astype(int) - 5}, "are no levels in 0..255: give floats"),
        ({"a": REAL + 1j}, "complex128, not numbers"),
        ({"a": np.full((60, 4), 3.0)}, "every number of train is 3: there is nothing to learn"),
        ({"a": np.zeros((60, 2, 2, 2, 2))}, "it must be numbers [D], or an image"),
        ({"a": GREY[:12]}, "the validation split has 1 of 12 examples, and needs 2 or more"),
        ({"a": 1e39 * REAL}, "do not fit into float32"),
    ],
)
def test_arrays_that_cannot_be_data(arrays, says, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    one_line(tmp_path / "a.npz", says)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"fractions": (0.9, 0.1, 0.1)},
            "--config.data.fractions=(0.9, 0.1, 0.1): must be three numbers above 0 with the sum 1",
        ),
        ({"fractions": (0.9, 0.1, 0.0)}, "three numbers above 0"),
        ({"fractions": (0.5, 0.5)}, "three numbers above 0"),
        (
            {"image_shape": (6, 6)},
            "--config.data.image_shape=(6, 6): does not hold an example of the shape (6, 5)",
        ),
        ({"max_value": 100}, "are no levels in 0..100; give the largest level"),
        ({"max_value": 256}, "levels lie in 0..255"),
    ],
)
def test_settings_that_do_not_fit(settings, says, tmp_path):
    np.save(tmp_path / "a.npy", GREY)
    one_line(tmp_path / "a.npy", says, **settings)
