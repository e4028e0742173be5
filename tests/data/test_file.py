"""Data of a path: what is read, how it is divided, and what is said of what cannot be read."""

import math
import os
from pathlib import Path

import numpy as np
import pytest

from tests.support.images import assert_same
from vaelab import data
from vaelab.data import overlap

RANDOM = np.random.RandomState(0)
GREY = RANDOM.randint(0, 256, (60, 6, 5)).astype(np.uint8)
COLOUR = RANDOM.randint(0, 256, (60, 6, 5, 3)).astype(np.uint8)
REAL = RANDOM.standard_normal((60, 7))
LABEL = np.arange(60) % 4


def load(path, **settings):
    return data.load_own("file", data.Settings(path=str(path), **settings))


def whole(dataset):
    """(x, label) of every index, in its order, whatever the split."""
    splits = dataset.splits.values()
    order = np.argsort(np.concatenate([split.index_N for split in splits]))
    x = np.concatenate([np.asarray(split.pixels_NxD) for split in splits])[order]
    return x, np.concatenate([split.label_N for split in splits])[order]


def write_images(folder, images, labels=None, suffix="png"):
    from PIL import Image

    for i, image in enumerate(images):
        place = folder / (labels[i] if labels else "")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i:03d}.{suffix}")
    return folder


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


@pytest.mark.parametrize(
    ("array", "max_value", "pixels"),
    [
        (GREY, 255, GREY),
        (GREY.astype(np.int64), 255, GREY),
        (GREY > 99, 1, GREY > 99),
        ((GREY > 99).astype(np.float64), 1, GREY > 99),
        (GREY / np.float32(255), 255, GREY),
        (GREY.reshape(60, -1) / 255, 255, GREY),
        (GREY / 256, data.REAL, (GREY / 256).astype(np.float32)),
    ],
)
def test_levels_are_levels_however_they_are_stored(array, max_value, pixels):
    dataset = data.from_arrays(array)
    assert dataset.max_value == max_value
    np.testing.assert_array_equal(whole(dataset)[0], pixels.reshape(60, -1))


def test_few_levels_are_named_and_taken_as_said():
    dark = (GREY // 16).astype(np.uint8)
    assert data.from_arrays(dark).max_value == 255
    assert "if 15 is the largest there is, say so by max_value=15" in data.from_arrays(dark).notes[0]
    said = data.from_arrays(dark.astype(float), max_value=15)
    assert (said.max_value, said.notes) == (15, ())
    np.testing.assert_array_equal(whole(said)[0], dark.reshape(60, -1))


def test_channels_stand_last_and_one_is_none():
    first = data.from_arrays(np.moveaxis(COLOUR, -1, 1))
    assert first.image_shape == (6, 5, 3)
    assert "[channels, height, width]" in first.notes[0]
    np.testing.assert_array_equal(whole(first)[0], COLOUR.reshape(60, -1))
    assert (
        data.from_arrays(GREY[:, None]).image_shape == data.from_arrays(GREY[..., None]).image_shape == (6, 5)
    )
    assert data.from_arrays(GREY.reshape(60, 30), image_shape=(6, 5)).image_shape == (6, 5)


def test_what_is_larger_than_the_memory_given_is_the_same_read_later(tmp_path):
    np.save(tmp_path / "a.npy", np.moveaxis(COLOUR, -1, 1))
    small, large = load(tmp_path / "a.npy"), load(tmp_path / "a.npy", memory_bytes=100)
    for name, split in large.splits.items():
        assert not isinstance(split.pixels_NxD, np.ndarray)
        pixels = small.splits[name].pixels_NxD
        for rows in (slice(1, 3), np.array([2, 0, 2]), slice(None)):
            np.testing.assert_array_equal(split.pixels_NxD[rows], pixels[rows])
    assert data.fingerprint(small) == data.fingerprint(large)


# Folders of images


def test_a_folder_of_images_has_its_sub_folders_for_classes(tmp_path):
    names = [["b", "a"][i % 2] for i in range(60)]
    folder = write_images(tmp_path / "photos", COLOUR, names)
    (folder / "readme.txt").write_text("mine")
    (folder / ".hidden.png").write_bytes(b"")
    dataset = load(folder)
    assert (dataset.image_shape, dataset.max_value, dataset.label_names) == ((6, 5, 3), 255, ("a", "b"))
    assert dataset.notes == (f"1 files of {folder} are no images by name and left out, as readme.txt",)
    x, label = whole(dataset)
    in_order = sorted(range(60), key=lambda i: (names[i], i))
    np.testing.assert_array_equal(x, COLOUR.reshape(60, -1)[in_order])
    np.testing.assert_array_equal(label, [0] * 30 + [1] * 30)
    cached = load(folder, memory_bytes=100, data_dir=str(tmp_path / "kept"))
    assert data.fingerprint(cached) == data.fingerprint(dataset)
    assert len(list((tmp_path / "kept" / "vaelab").iterdir())) == 1


def test_folders_of_splits_are_splits(tmp_path):
    for name, rows in (("train", slice(0, 40)), ("test", slice(40, 60))):
        write_images(tmp_path / name, GREY[rows], ["x"] * 60)
    dataset = load(tmp_path)
    assert [len(split.index_N) for split in dataset.splits.values()] == [36, 4, 20]
    np.testing.assert_array_equal(whole(dataset)[0], GREY.reshape(60, -1))


def test_images_are_brought_to_a_size_and_how_is_said(tmp_path):
    halves = np.zeros((4, 8, 12, 3), np.uint8)
    halves[:, :, 6:] = 200
    folder = write_images(tmp_path / "photos", [*halves, *halves[:, :, 2:-2]] * 3)
    dataset = load(folder, image_shape=(4, 4, 3))
    cut = f"images of {folder}, 8x8 to 8x12, cut to the middle of the proportions 4:4 and brought to 4x4 by"
    assert dataset.notes[0].startswith(cut)
    # The middle 8x8 of each is black on its left half; every pixel is the mean of four.
    expected = np.repeat([0, 0, 200, 200], 3)
    x, _ = whole(dataset)
    np.testing.assert_array_equal(x.reshape(24, 4, 12), np.broadcast_to(expected, (24, 4, 12)))


def test_grey_and_colour_together_are_colour_and_black_is_behind_what_is_transparent(tmp_path):
    clear = np.full((6, 5, 4), 90, np.uint8)
    clear[..., 3] = 0
    folder = write_images(tmp_path / "photos", [*GREY[:30], *COLOUR[:29], clear])
    dataset = load(folder)
    x, _ = whole(dataset)
    assert dataset.image_shape == (6, 5, 3)
    np.testing.assert_array_equal(x[0].reshape(6, 5, 3), GREY[0][..., None].repeat(3, axis=2))
    np.testing.assert_array_equal(x[-1], 0)
    assert "transparency" in dataset.notes[0]


# What a user gets wrong


def one_line(path, *says, **settings):
    with pytest.raises(data.DataError) as caught:
        load(path, **settings)
    message = str(caught.value)
    assert "\n" not in message
    for part in says:
        assert str(part) in message
    return message


def test_paths_that_are_nothing(tmp_path):
    one_line("", "data.name=file needs --config.data.path")
    one_line(
        "gs://bucket/a.npy", "--config.data.path=gs://bucket/a.npy is an address, which is not supported"
    )
    one_line(tmp_path / "a.npy", f"there is no {tmp_path}/a.npy")
    (tmp_path / "a.mat").touch()
    one_line(tmp_path / "a.mat", "is no file of a known kind: there are .npy, .npz")
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
            "fractions=(0.9, 0.1, 0.1) must be three numbers above 0 with the sum 1",
        ),
        ({"fractions": (0.9, 0.1, 0.0)}, "three numbers above 0"),
        ({"fractions": (0.5, 0.5)}, "three numbers above 0"),
        ({"image_shape": (6, 6)}, "image_shape=(6, 6) does not hold an example of the shape (6, 5)"),
        ({"max_value": 100}, "are no levels in 0..100: give the largest level"),
        ({"max_value": 256}, "levels lie in 0..255"),
    ],
)
def test_settings_that_do_not_fit(settings, says, tmp_path):
    np.save(tmp_path / "a.npy", GREY)
    one_line(tmp_path / "a.npy", says, **settings)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no image that can be read: mend it"),
        (b"text", "is no image that can be read"),
        (None, "truncated"),
    ],
)
def test_images_that_cannot_be_read_are_named(content, says, tmp_path):
    folder = write_images(tmp_path / "photos", np.repeat(np.repeat(COLOUR, 8, 1), 8, 2))
    bad = folder / "017.png"
    whole_file = bad.read_bytes()
    bad.write_bytes(whole_file[: len(whole_file) // 2] if content is None else content)
    one_line(folder, bad, says)


def test_folders_of_images_that_do_not_fit(tmp_path):
    folder = write_images(tmp_path / "photos", [*GREY[:10], *GREY[10:20, :5]])
    one_line(folder, f"several sizes, as {folder}/000.png 6x5 and {folder}/010.png 5x5: give image_shape=")
    one_line(folder, "image_shape=(6,) must be (height, width)", image_shape=(6,))
    from PIL import Image

    deep = tmp_path / "deep"
    deep.mkdir()
    Image.fromarray(np.arange(30, dtype=np.uint16).reshape(6, 5) * 999).save(deep / "a.png")
    one_line(deep, "a.png has more than 8 bits a pixel")
    many = write_images(tmp_path / "many", GREY[:3], ["a", "b", "c"])
    (many / "d").mkdir()
    one_line(many, "has 4 sub-folders, which are classes, and 3 images")


def test_data_of_few_values_repeat_without_an_overlap():
    """Rows of 3 bits: 8 different ones, so that every test row is in train too, by right."""
    bits = RANDOM.randint(0, 2, (400, 3)).astype(np.uint8)
    data.from_arrays(bits[:300], test=bits[300:])
    # One example in 20 is there twice: what is in both splits then is no overlap.
    once = RANDOM.standard_normal((4000, 5))
    rows = np.concatenate([once, once[:200]])[RANDOM.permutation(4200)]
    overlap.check_overlap({"train": rows[:3500], "test": rows[3500:]})


@pytest.mark.skipif(os.name != "posix", reason="madvise")
def test_reading_a_mapped_file_leaves_nothing_resident(tmp_path):
    """64 MiB are read through, in order and not, and at most a few portions stay."""
    np.save(tmp_path / "a.npy", RANDOM.randint(0, 256, (2**14, 64, 64)).astype(np.uint8))
    dataset = load(tmp_path / "a.npy", memory_bytes=1)

    def resident():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    before, train = resident(), dataset.splits["train"].pixels_NxD
    for start in range(0, len(train), 1000):
        train[start : start + 1000]
        train[RANDOM.permutation(len(train))[:500]]
    assert resident() - before < 2**24
    assert math.prod(train.shape) > 3 * 2**24
