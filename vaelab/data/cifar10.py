"""CIFAR-10 (Krizhevsky 2009) from its archive of Python batches."""

import pickle
import tarfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from vaelab.data.colour_archives import Archive, New, Recipe, Source, reading, source
from vaelab.data.sources import DataError

SHAPE = (32, 32, 3)
ARCHIVES = {
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz": Archive(
        "cifar-10-python.tar.gz", "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
    )
}
BATCHES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}
LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# What the pickle of an array names; anything else in an archive is not run.
NUMPY = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
}
MIDDLE = 128  # the level from which a channel is 1


def in_levels() -> Source:
    """The images as they are; the last 5,000 of the 50,000 to train on are for validation."""
    return source(_recipe("cifar10"))


def in_three_bits() -> Source:
    """Each channel 1 from level 128 on and else 0, 3 bits a pixel; from the same arrays on the disk."""
    return source(
        _recipe("cifar10_3bit")._replace(max_value=1, convert=lambda images: np.uint8(images >= MIDDLE))
    )


def _recipe(name: str) -> Recipe:
    return Recipe(name, SHAPE, ARCHIVES, read, stored="cifar10", label_names=LABELS, validation_divisor=10)


def read(folder: Path, new: New) -> dict[str, np.ndarray]:
    """Fills new(split, count) in the order of the batches; the labels by split. Raises DataError."""
    (archive,) = ARCHIVES.values()
    path, parts = folder / archive.filename, {}
    with reading(path), tarfile.open(path, "r:gz") as tar:
        for split, names in BATCHES.items():
            parts[split] = [
                _batch(tar.extractfile(f"cifar-10-batches-py/{name}"), path, name) for name in names
            ]
    labels = {}
    for split, batches in parts.items():
        images, numbers = zip(*batches, strict=True)
        labels[split] = np.concatenate(numbers)
        new(split, len(labels[split]))[:] = np.concatenate(images)
    return labels


def _batch(file: IO[bytes] | None, path: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(images [M, 32, 32, 3], label_M) of a batch, whose rows are red, green and blue, each row by row."""
    content = _Arrays(file, encoding="bytes").load()
    data, labels = np.asarray(content[b"data"]), np.asarray(content[b"labels"])
    if data.dtype != np.uint8 or data.shape != (len(labels), int(np.prod(SHAPE))):
        line = f"{path}: {name} holds {data.dtype} {data.shape} and {len(labels)} labels"
        raise DataError(f"{line}: bring the published archive again")
    return np.moveaxis(data.reshape(-1, 3, 32, 32), 1, 3), labels


class _Arrays(pickle.Unpickler):
    """Reads dicts, lists and arrays, and runs nothing: an archive may be anybody's."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NUMPY:
            raise pickle.UnpicklingError(f"it names {module}.{name}, of which images have no need")
        return NUMPY[module, name]
