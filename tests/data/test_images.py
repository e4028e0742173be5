"""A folder of images: its sub-folders are classes, or splits."""

import os

import numpy as np
import pytest

from tests.support.files import COLOUR, GREY, load, one_line, whole, write_images
from vaelab import data


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


def test_folders_of_images_that_do_not_fit(tmp_path):
    folder = write_images(tmp_path / "photos", [*GREY[:10], *GREY[10:20, :5]])
    one_line(
        folder,
        f"--config.data.image_shape: {folder} holds images of several sizes, as {folder}/000.png 6x5 and"
        f" {folder}/010.png 5x5; give (height, width, 3)",
    )
    one_line(folder, "image_shape=(6,): must be (height, width)", image_shape=(6,))
    from PIL import Image

    deep = tmp_path / "deep"
    deep.mkdir()
    Image.fromarray(np.arange(30, dtype=np.uint16).reshape(6, 5) * 999).save(deep / "a.png")
    one_line(deep, "a.png has more than 8 bits a pixel")
    many = write_images(tmp_path / "many", GREY[:3], ["a", "b", "c"])
    (many / "d").mkdir()
    one_line(many, "has 4 sub-folders, which are classes, and 3 images")


@pytest.mark.parametrize("names", [("others", "test", "train"), ("train", "validation")])
def test_folders_are_splits_only_where_all_are_and_train_and_test_are_there(names, tmp_path):
    for name in names:
        write_images(tmp_path / name, GREY[:10])
    dataset = load(tmp_path)
    assert dataset.label_names == names
    np.testing.assert_array_equal(np.bincount(whole(dataset)[1]), [10] * len(names))


def test_links_are_followed_but_for_those_that_lead_back(tmp_path):
    there = write_images(tmp_path / "there", GREY[:30])
    folder = write_images(tmp_path / "photos", GREY[30:], ["b"] * 30)
    (folder / "a").symlink_to(there)
    (folder / "b" / "all").symlink_to(folder)
    dataset = load(folder)
    np.testing.assert_array_equal(whole(dataset)[0], GREY.reshape(60, -1))
    np.testing.assert_array_equal(np.bincount(whole(dataset)[1]), [30, 30])
    gone = folder / "a" / "gone.png"
    gone.symlink_to(tmp_path / "nowhere.png")
    one_line(folder, f"{gone} cannot be read (No such file or directory): mend it, or take it out")


def test_a_folder_that_cannot_be_listed_is_not_left_out(tmp_path, monkeypatch):
    """As a class that the user may not read would be."""
    folder = write_images(tmp_path / "photos", GREY[:20], ["a", "b"] * 10)
    listed = os.scandir

    def refused(place):
        if str(place).endswith("/b"):
            raise PermissionError(13, "Permission denied", place)
        return listed(place)

    monkeypatch.setattr(os, "scandir", refused)
    one_line(folder, f"{folder / 'b'} cannot be read (Permission denied)")
