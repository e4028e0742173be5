"""IDX files, as MNIST and its like are published: read as they are, without TensorFlow.

TFDS prepares a split's rows in the order of md5(split name, number of the row): the same order is made here,
so that an index means the same image whichever way it was read.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vaelab.data.cache import Parts
from vaelab.data.sources import DataError, first_line

PREFIX = {"train": "train", "test": "t10k"}  # of the files of a split
IMAGES, LABELS = "images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"


def are_idx(file_names: Iterable[str]) -> bool:
    """Whether a data set is published as these four files."""
    return set(file_names) == {f"{start}-{end}" for start in PREFIX.values() for end in (IMAGES, LABELS)}


def read(folder: Path, splits: tuple[str, ...]) -> Parts:
    """Each split's pixels_NxD and label_N in the order of TFDS. Raises DataError for what is no IDX file."""
    parts = {}
    for split in splits:
        pixels_NxHxW = _array(folder / f"{PREFIX[split]}-{IMAGES}", 3)
        label_N = _array(folder / f"{PREFIX[split]}-{LABELS}", 1)
        if len(pixels_NxHxW) != len(label_N):
            raise DataError(
                f"{folder} has {len(pixels_NxHxW):,} images of {split} and {len(label_N):,} labels: "
                "take the four archives of one data set"
            )
        order_N = order(split, len(label_N))
        parts[split] = pixels_NxHxW.reshape(len(label_N), -1)[order_N], label_N[order_N].astype(np.int32)
    return parts


def order(split: str, count: int) -> np.ndarray:
    """The row of the file at each place of the split that TFDS prepares."""
    hashed = [hashlib.md5(f"{split}{row}".encode(), usedforsecurity=False) for row in range(count)]
    keys = [each.digest() for each in hashed]
    return np.array(sorted(range(count), key=keys.__getitem__), np.int64)


def _array(path: Path, ndim: int) -> np.ndarray:
    """The array of unsigned bytes in a compressed IDX file: its magic number, its sizes, its values."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({first_line(error)}): fetch it again") from None
    header = 4 * (1 + ndim)
    magic, *shape = (int(n) for n in np.frombuffer(content[:header], ">i4"))
    if magic != 0x800 + ndim or len(content) != header + np.prod(shape):
        raise DataError(f"{path} is no IDX file of {ndim} dimensions of bytes: fetch it again")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
