"""Data sets with fixed splits and stable indices, and the observation x of a stored example.

A data set is a function `load(data_dir) -> DataSet` in a file of this package, and one line in SOURCES. Data
of a path, or of another library, need none: `load_own`, `from_arrays`.
"""

import os
from typing import Any

from vaelab.data import celeba, cifar10, digits, made_cells, photo_patches, svhn, tfds
from vaelab.data.arrays import from_arrays
from vaelab.data.fingerprint import MOST_CLASSES, changes, described, fingerprint, label_counts
from vaelab.data.own import OF_PYTHON, given, is_own, load_own, prepare_own
from vaelab.data.rows import Examples
from vaelab.data.settings import Settings
from vaelab.data.sources import (
    DEFAULT_DATA_DIR,
    REAL,
    SPLITS,
    DataError,
    DataSet,
    Description,
    Known,
    Source,
    Split,
    of_arguments,
)
from vaelab.errors import did_you_mean

SOURCES: dict[str, Source] = {
    "digits": Source(digits.load, image_shape=(8, 8), max_value=16),
    "made_cells": Source(made_cells.load, image_shape=(made_cells.NUM_GENES,), max_value=REAL),
    "photo_patches": photo_patches.source(16, name="photo_patches"),
    "photo_patches_32": photo_patches.source(32, name="photo_patches_32"),
    "cifar10": cifar10.in_levels(),
    "cifar10_3bit": cifar10.in_three_bits(),
    "svhn_cropped": svhn.cropped(),
    "celeba": celeba.aligned(),
    "mnist": tfds.source(
        "mnist",
        "3.0.1",
        validation_divisor=12,
        digest="bd58c4704eea5663d1e60918ceccceebe201a1af6e8a8ebe8c86a631515c2c48",
    ),
    "fashion_mnist": tfds.source(
        "fashion_mnist",
        "3.0.1",
        validation_divisor=12,
        digest="75ab27f0b83cfe1cad20ff708b625ddfd9b706c62a4731a003165d0591216eda",
    ),
    "kmnist": tfds.source("kmnist", "3.0.1", validation_divisor=12),
    "omniglot": tfds.source("omniglot", "3.0.0", validation_divisor=10, invert=True),
    "binarized_mnist": tfds.source("binarized_mnist", "1.0.0", max_value=1),
}
"""name -> where the data set comes from.

mnist, fashion_mnist, kmnist: 55,000, 5,000 and 10,000 images. omniglot: white strokes on black, brought to
28x28. binarized_mnist: pixels 0 and 1, with a validation split from the start. photo_patches: 16x16x3, and
photo_patches_32: 32x32x3, of two photographs that come with scikit-learn. cifar10: 45,000, 5,000 and 10,000
images of 32x32x3, and cifar10_3bit: each channel of them 0 or 1. svhn_cropped: 65,932, 7,325 and 26,032 of
32x32x3. celeba: 162,770, 19,867 and 19,962 of 64x64x3. made_cells: made counts of 80 genes in 2,000 cells.
"""


def source_of(name: str) -> Source:
    """The entry of SOURCES. Raises DataError for an unknown name, with one that is near."""
    if name not in SOURCES:
        problem = f"there is no such data set among {', '.join(SOURCES)}"
        hint = did_you_mean(name.lower().replace("-", "_"), SOURCES)
        other = "take file and --config.data.path for your own, tfds:NAME for those of tensorflow-datasets"
        raise DataError.of(setting="data.name", value=name, problem=problem, fix=hint or other)
    return SOURCES[name]


def load(name: str, *, data_dir: str | os.PathLike[str]) -> DataSet:
    """Reads a data set of SOURCES. Raises DataError where its name is unknown, or it cannot be read."""
    with of_arguments():
        return source_of(name).load(data_dir)


def describe(name: str) -> Description:
    """The image shape and the largest pixel of a data set, without reading it. Raises DataError."""
    with of_arguments():
        source = source_of(name)
    return Description(source.image_shape, source.max_value)


OBSERVATIONS = ("batch_indices", "binarize", "dequantize", "identity", "rescale")


def __getattr__(name: str) -> Any:
    """What is of `observe`, which imports JAX: reading what runs have measured waits for none of it."""
    if name not in OBSERVATIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vaelab.data import observe

    return getattr(observe, name)


__all__ = [
    "DEFAULT_DATA_DIR",
    "MOST_CLASSES",
    "OF_PYTHON",
    "REAL",
    "SOURCES",
    "SPLITS",
    "DataError",
    "DataSet",
    "Description",
    "Examples",
    "Known",
    "Settings",
    "Source",
    "Split",
    "batch_indices",
    "binarize",
    "changes",
    "dequantize",
    "describe",
    "described",
    "fingerprint",
    "from_arrays",
    "given",
    "identity",
    "is_own",
    "label_counts",
    "load",
    "load_own",
    "prepare_own",
    "rescale",
    "source_of",
]
