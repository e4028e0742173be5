"""Data in files: arrays and images to write, and what is read of them."""

import numpy as np
import pytest

from vaelab import data

_RANDOM = np.random.RandomState(0)
GREY = _RANDOM.randint(0, 256, (60, 6, 5)).astype(np.uint8)
COLOUR = _RANDOM.randint(0, 256, (60, 6, 5, 3)).astype(np.uint8)
REAL = _RANDOM.standard_normal((60, 7))
LABEL = np.arange(60) % 4
NAMES = np.array(["b", "a", "c"])[np.arange(60) % 3]


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


def one_line(path, *says, **settings):
    with pytest.raises(data.DataError) as caught:
        load(path, **settings)
    message = str(caught.value)
    assert "\n" not in message
    for part in says:
        assert str(part) in message
    return message
