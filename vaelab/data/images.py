"""A folder of images as a data set."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.data.arrays import make
from vaelab.data.decode import Item, decoded
from vaelab.data.settings import Settings
from vaelab.data.sources import SPLITS, DataError, DataSet, folder


def load_folder(settings: Settings) -> DataSet:
    """The images below a folder, in the order of their paths, which their indices count.

    Sub-folders are classes; sub-folders train, validation and test (or train and test) are splits, with
    classes below. Links are followed. What is no image by its name is left out. Raises DataError.
    """
    path = folder(settings.path, "path")
    files, others = _files(path)
    tops = {file.parts[0] for file in files if len(file.parts) > 1}
    split_folders = tops <= set(SPLITS) and {"train", "test"} <= tops
    of_split = (
        {s: [f for f in files if f.parts[0] == s] for s in SPLITS if s in tops} if split_folders else {}
    )
    of_split = of_split or {"train": files}
    depth = 1 if split_folders else 0
    classes = sorted({f.parts[depth] for part in of_split.values() for f in part if len(f.parts) > depth + 1})
    _check_classes(
        path, [path / split for split in of_split] if split_folders else [path], len(files), classes
    )
    number = {name: i for i, name in enumerate(classes)}
    labels = {
        split: np.array([number[f.parts[depth]] if len(f.parts) > depth + 1 else -1 for f in part], np.int32)
        for split, part in of_split.items()
    }
    items = [Item(str(path / f), _opener(path / f)) for part in of_split.values() for f in part]
    stamp = [_stamp(path, f) for f in files]
    array, notes = decoded(items, settings, what=str(path), stamp="\n".join([str(path.resolve()), *stamp]))
    ends = np.cumsum([len(part) for part in of_split.values()])[:-1]
    if others:
        first = sorted(others)[0]
        notes = (*notes, f"{len(others)} files of {path} are no images by name and left out, as {first}")
    return make(
        "file",
        dict(zip(of_split, np.split(array, ends) if len(ends) else [array], strict=True)),
        labels if classes else dict.fromkeys(of_split),
        label_names=tuple(classes),
        fractions=settings.fractions,
        image_shape=(),
        max_value=settings.max_value,
        memory_bytes=settings.memory_bytes,
        notes=notes,
    )


def _files(path: Path) -> tuple[list[Path], list[str]]:
    """(paths of images below `path`, of what else there is), in an order that depends on the names alone."""
    from PIL import Image

    known = set(Image.registered_extensions())
    files: list[Path] = []
    others: list[str] = []
    for place, folders, names in os.walk(path, onerror=_unreadable, followlinks=True):
        folders[:] = sorted(n for n in folders if not n.startswith(".") and not _leads_back(place, n))
        for name in names:
            relative = (Path(place) / name).relative_to(path)
            if name.startswith("."):
                continue
            (files if relative.suffix.lower() in known else others).append(relative)
    if not files:
        has = f"; it has {len(others)} other files, as {sorted(map(str, others))[0]}" if others else ""
        raise DataError(f"{path} holds no image{has}: give a folder of images, or a file of arrays")
    return sorted(files, key=lambda file: file.as_posix()), [str(other) for other in others]


def _unreadable(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be read ({error.strerror}): mend it, or take it out")


def _stamp(path: Path, file: Path) -> str:
    """What the content of a file is known by. Raises DataError, for a link that leads nowhere too."""
    try:
        status = (path / file).stat()
    except OSError as error:
        _unreadable(error)
    return f"{file} {status.st_size} {status.st_mtime_ns}"


def _leads_back(place: str, name: str) -> bool:
    """Whether a folder is a link to one that it lies in, through which a walk would have no end."""
    real, here = os.path.realpath(os.path.join(place, name)), os.path.realpath(place)
    return os.path.commonpath([real, here]) == real


def _check_classes(path: Path, places: Sequence[Path], num_images: int, classes: Sequence[str]) -> None:
    """Raises DataError for more sub-folders, which are classes, than images."""
    names = {
        entry.name
        for place in places
        for entry in place.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    }
    if len(names | set(classes)) > num_images:
        line = f"{path} has {len(names)} sub-folders, which are classes, and {num_images} images"
        raise DataError(f"{line}: put the images of a class into one")


def _opener(path: Path) -> Callable[[], Any]:
    def opened() -> Any:
        from PIL import Image

        return Image.open(path)

    return opened
