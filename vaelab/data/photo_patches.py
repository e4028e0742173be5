"""Colour patches of the two photographs, 427x640 each, that come with scikit-learn."""

import os
from functools import partial

import numpy as np

from vaelab.data.sources import SPLITS, DataSet, Source, Split

BLOCK = 64  # pixels: a split has whole blocks of this side, the last row of them lower
STRIDE = 4  # pixels between patches to train on, which overlap
PARTS = {"test": 0.2, "validation": 0.1}  # of the blocks; the others are to train on
PHOTOGRAPHS = ("china", "flower")


def source(side: int, *, name: str) -> Source:
    """Patches of side x side pixels, side <= BLOCK. The labels are the photographs.

    Each lies within one block, and a block is of one split, so that no pixel is in two splits. Patches to
    validate and to test on are disjoint: their errors are those of as many datapoints as there are.
    """
    return Source(partial(load, side=side, name=name), image_shape=(side, side, 3), max_value=255)


def load(data_dir: str | os.PathLike[str], *, side: int, name: str) -> DataSet:
    """Reads the patches of `source`; data_dir is not used."""
    del data_dir
    from sklearn.datasets import load_sample_images

    images = load_sample_images().images
    places_of = places(images[0].shape[:2], len(images), side)
    splits, start = {}, 0
    for split in SPLITS:
        places_Nx3 = places_of[split]
        patches = [images[i][row : row + side, column : column + side] for i, row, column in places_Nx3]
        index_N = start + np.arange(len(patches), dtype=np.int32)
        pixels_NxD = np.stack(patches).reshape(len(patches), -1)
        splits[split] = Split(pixels_NxD, places_Nx3[:, 0].astype(np.int32), index_N)
        start += len(patches)
    return DataSet(name, (side, side, 3), 255, splits, PHOTOGRAPHS)


def places(size: tuple[int, int], num_images: int, side: int) -> dict[str, np.ndarray]:
    """[N, 3] of each split: image, first row and first column of each patch, in an order without pattern."""
    blocks = [
        (image, top, left)
        for image in range(num_images)
        for top in range(0, size[0], BLOCK)
        for left in range(0, size[1], BLOCK)
    ]
    # RandomState's stream is frozen for good, unlike that of numpy's newer Generator.
    random = np.random.RandomState(0)
    order = random.permutation(len(blocks))
    places_of, start = {}, 0
    for split in ("test", "validation", "train"):
        count = round(PARTS[split] * len(blocks)) if split in PARTS else len(blocks) - start
        stride = STRIDE if split == "train" else side
        places_Nx3 = np.array(
            [
                (image, row, column)
                for image, top, left in (blocks[b] for b in order[start : start + count])
                for row in range(top, min(top + BLOCK, size[0]) - side + 1, stride)
                for column in range(left, min(left + BLOCK, size[1]) - side + 1, stride)
            ]
        )
        places_of[split] = places_Nx3[random.permutation(len(places_Nx3))]
        start += count
    return places_of
