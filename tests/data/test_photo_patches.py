"""Patches of the photographs of scikit-learn: whole, and no pixel in two splits."""

import numpy as np
import pytest

from vaelab import data
from vaelab.data import photo_patches

NAMES = {"photo_patches": 16, "photo_patches_32": 32}
# Of the places alone: pixels hang on the version of the JPEG library. Whoever changes it changes which patch
# an index means.
FIRST = {
    16: {
        "test": [[0, 0, 560], [1, 0, 64], [1, 128, 160]],
        "validation": [[1, 96, 208], [1, 224, 416], [1, 48, 512]],
        "train": [[1, 260, 416], [1, 36, 144], [0, 232, 288]],
    },
    32: {
        "test": [[1, 128, 160], [0, 224, 224], [1, 256, 0]],
        "validation": [[0, 256, 288], [0, 64, 0], [0, 288, 256]],
        "train": [[0, 260, 472], [1, 384, 604], [0, 288, 460]],
    },
}


def places(side):
    return photo_patches.places((427, 640), 2, side)


@pytest.mark.parametrize(("name", "side"), NAMES.items())
def test_a_patch_is_its_place_in_its_photograph_row_by_row(name, side):
    from sklearn.datasets import load_sample_images

    images, patches = load_sample_images().images, data.load(name, data_dir="unused")
    assert patches.label_names == ("china", "flower")
    for split, places_Nx3 in places(side).items():
        made = patches.splits[split]
        assert len(made.index_N) == len(places_Nx3)
        np.testing.assert_array_equal(made.label_N, places_Nx3[:, 0])
        for (image, row, column), pixels_D in list(zip(places_Nx3, made.pixels_NxD, strict=True))[::97]:
            whole = np.asarray(images[image])[row : row + side, column : column + side]
            np.testing.assert_array_equal(pixels_D.reshape(side, side, 3), whole)


@pytest.mark.parametrize("side", NAMES.values())
def test_no_pixel_is_in_two_splits_nor_in_two_patches_that_are_tested_on(side):
    times = {split: np.zeros((2, 427, 640), int) for split in data.SPLITS}
    for split, places_Nx3 in places(side).items():
        for image, row, column in places_Nx3:
            times[split][image, row : row + side, column : column + side] += 1
    assert np.max(sum(count > 0 for count in times.values())) == 1
    assert times["test"].max() == times["validation"].max() == 1
    seen = {split: np.mean(count > 0) for split, count in times.items()}
    # Shares of the blocks, less what is too small for a patch at the lower end.
    assert 0.14 < seen["test"] < 0.21
    assert 0.06 < seen["validation"] < 0.11
    assert 0.6 < seen["train"] < 0.71


@pytest.mark.parametrize("side", NAMES.values())
def test_an_index_is_the_same_patch_everywhere(side):
    assert {split: places_Nx3[:3].tolist() for split, places_Nx3 in places(side).items()} == FIRST[side]
    for places_Nx3 in places(side).values():  # the first ones are of both photographs
        assert 0.3 < places_Nx3[:50, 0].mean() < 0.7
