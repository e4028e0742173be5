"""Colour images of published archives, by name and without TensorFlow.

`prepare` decodes the archives once, into arrays below DATA_DIR/vaelab that `load` reads or maps. An archive
is believed by its sha256 alone.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vaelab.data import archives
from vaelab.data.arrays import taken
from vaelab.data.rows import rows_of
from vaelab.data.settings import MEMORY_BYTES
from vaelab.data.sources import SPLITS, DataError, DataSet, Source, Split, first_line, folder

New = Callable[[str, int], np.ndarray]
"""(split, count) -> uint8 [count, *image_shape] to be filled."""


class Archive(NamedTuple):
    """A published file, and its sha256."""

    filename: str
    checksum: str


class Recipe(NamedTuple):
    """How a data set is made of its archives.

    name, image_shape, max_value, label_names: those of the data set
    stored: the folder of its arrays, below DATA_DIR/vaelab
    archives: by URL; needed(folder, archives): those of them that are read there, all where it is None
    read(folder, new) -> label_N by split, having filled new(split, count) with the images of each, in the
        order of the archives
    downloads: whether the URLs give the archives to a program
    validation_divisor: the last floor(N / divisor) of N training images are for validation; 0 where the
        archives have such a split
    convert: [M, ...] as stored -> [M, ...] as given out; None where they are the same
    """

    name: str
    image_shape: tuple[int, ...]
    archives: Mapping[str, Archive]
    read: Callable[[Path, New], dict[str, np.ndarray]]
    stored: str
    max_value: int = 255
    label_names: tuple[str, ...] = ()
    downloads: bool = True
    validation_divisor: int = 0
    convert: Callable[[np.ndarray], np.ndarray] | None = None
    needed: Callable[[Path, Mapping[str, Archive]], Mapping[str, Archive]] | None = None


def source(recipe: Recipe) -> Source:
    """The recipe as a source."""
    return Source(partial(load, recipe), recipe.image_shape, recipe.max_value, partial(prepare, recipe))


def load(recipe: Recipe, data_dir: str | os.PathLike[str]) -> DataSet:
    """Reads a prepared data set; what is large stays on the disk. Raises DataError where that cannot be.

    The index of an image is its position in the archives, counted through their splits.
    """
    data_dir = folder(data_dir)
    place, command = _place(recipe, data_dir), _command(recipe, data_dir)
    if not place.is_dir():
        raise DataError(f"{recipe.name} is not prepared in {data_dir}: run `{command}`")
    parts, start = {}, 0
    for split in _stored(recipe):
        try:
            images = np.load(place / f"{split}.npy", mmap_mode="r")
            label_N = np.load(place / f"{split}_label.npy")
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(place, command, first_line(error)) from error
        if images.dtype != np.uint8 or images.shape != (len(label_N), *recipe.image_shape):
            raise _damaged(place, command, f"{split}.npy holds {images.dtype} {images.shape}")
        index_N = np.arange(start, start + len(label_N), dtype=np.int32)
        parts[split] = Split(images, label_N, index_N)
        start += len(label_N)
    size = int(np.prod(recipe.image_shape))
    in_memory = start * size <= MEMORY_BYTES
    convert = recipe.convert or _as_it_is
    for split, (images, label_N, index_N) in parts.items():
        rows = rows_of(images, convert, size=size, dtype=np.uint8)
        parts[split] = Split(rows[:] if in_memory else rows, label_N, index_N)
    splits = _divided(parts, recipe.validation_divisor)
    return DataSet(recipe.name, recipe.image_shape, recipe.max_value, splits, recipe.label_names)


def prepare(recipe: Recipe, data_dir: Path, manual_dir: Path | None = None) -> bool:
    """Decodes the archives of manual_dir, or downloads them; False where that was done before.

    Raises DataError where one is missing or damaged, or data_dir cannot be written.
    """
    place = _place(recipe, data_dir)
    if place.is_dir():
        return False
    if manual_dir is None:
        manual_dir = _downloaded(recipe, data_dir)
    else:
        wanted = recipe.needed(manual_dir, recipe.archives) if recipe.needed else recipe.archives
        archives.check(wanted, manual_dir)
    making = place.with_name(f"{place.name}.{uuid.uuid4().hex}.partial")
    try:
        making.mkdir(parents=True)
        labels = recipe.read(manual_dir, partial(_new, making, recipe.image_shape))
        for split, label_N in labels.items():
            np.save(making / f"{split}_label.npy", np.asarray(label_N, np.int32))
        making.rename(place)
    except OSError as error:
        reason = f"cannot write to {data_dir} ({error.strerror})"
        raise DataError(f"{reason}: choose another --data_dir") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return True


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Says of what goes wrong in reading an archive which one it is, in one DataError."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        # Broad, for a damaged archive raises nearly anything, zlib.error, KeyError and EOFError among it.
        line = f"{path} cannot be read ({first_line(error)})"
        raise DataError(f"{line}: bring the published archive again") from error


def _downloaded(recipe: Recipe, data_dir: Path) -> Path:
    """The folder with the archives, fetched where they are not whole."""
    if not recipe.downloads:
        files = " and ".join(archive.filename for archive in recipe.archives.values())
        pages = ", ".join(dict.fromkeys(url.partition("#")[0] for url in recipe.archives))
        line = f"{recipe.name} is given to people alone"
        raise DataError(f"{line}: bring {files} here from {pages}, and pass their folder as --manual_dir")
    place = data_dir / "downloads" / recipe.stored
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot write to {data_dir} ({error.strerror})"
        raise DataError(f"{reason}: choose another --data_dir") from error
    archives.download(recipe.archives, place)
    return place


def _new(place: Path, image_shape: Sequence[int], split: str, count: int) -> np.ndarray:
    return np.lib.format.open_memmap(place / f"{split}.npy", "w+", np.uint8, (count, *image_shape))


def _place(recipe: Recipe, data_dir: Path) -> Path:
    return data_dir / "vaelab" / recipe.stored


def _stored(recipe: Recipe) -> tuple[str, ...]:
    return ("train", "test") if recipe.validation_divisor else SPLITS


def _divided(parts: Mapping[str, Split], validation_divisor: int) -> dict[str, Split]:
    splits = dict(parts)
    if validation_divisor:
        train, count = parts["train"], len(parts["train"].index_N)
        cut = count - count // validation_divisor
        splits["train"] = taken(train, np.arange(cut))
        splits["validation"] = taken(train, np.arange(cut, count))
    return {name: splits[name] for name in SPLITS}


def _command(recipe: Recipe, data_dir: Path) -> str:
    by_hand = "" if recipe.downloads else " --manual_dir=FOLDER"
    return f"python -m vaelab.prepare {recipe.name} --data_dir={data_dir}{by_hand}"


def _damaged(place: Path, command: str, reason: str) -> DataError:
    return DataError(f"{place} is damaged ({reason}): delete it and run `{command}`")


def _as_it_is(images: np.ndarray) -> np.ndarray:
    return images
