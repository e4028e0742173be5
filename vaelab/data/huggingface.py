"""Data sets that the library `datasets` of Hugging Face has saved: `save_to_disk`."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vaelab.data.arrays import make
from vaelab.data.decode import Item, decoded
from vaelab.data.settings import Settings
from vaelab.data.sources import SPLITS, DataError, DataSet, first_line, folder

OTHER_NAMES = {"valid": "validation", "val": "validation", "dev": "validation"}


def load(settings: Settings) -> DataSet:
    """What `load_from_disk` gives of settings.path: one split, or several by their names.

    Its one column of images, or of arrays, is x; its one column of classes, or settings.label, the label.
    Raises DataError, also where `datasets` is not installed.
    """
    if not settings.path:
        problem = "data.name=huggingface needs it"
        raise DataError.of(setting="data.path", problem=problem, fix="give a folder of save_to_disk")
    path = folder(settings.path, "path")
    try:
        import datasets
    except ImportError:
        raise DataError("needs the library datasets: run `pip install datasets`") from None
    try:
        loaded = datasets.load_from_disk(str(path))
    except Exception as error:
        # Broad, for it raises exceptions of many kinds.
        raise DataError(f"{path} cannot be read by load_from_disk ({first_line(error)})") from error
    splits = _splits(loaded, str(path))
    image, label = _columns(splits["train"], settings.label, str(path))
    is_image = type(splits["train"].features[image]).__name__ == "Image"
    arrays, notes = (_images if is_image else _numbers)(splits, image, settings, str(path))
    labels, names = _labels(splits, label)
    of_loaded = list(loaded) if hasattr(loaded, "keys") else []
    others = [name for name in of_loaded if OTHER_NAMES.get(name, name) not in SPLITS]
    if others:
        notes = (*notes, f"the splits {', '.join(others)} of {path} are left out")
    return make(
        "huggingface",
        arrays,
        labels,
        label_names=names,
        fractions=settings.fractions,
        image_shape=() if is_image else settings.image_shape,
        max_value=settings.max_value,
        memory_bytes=settings.memory_bytes,
        notes=notes,
    )


def _splits(loaded: Any, what: str) -> dict[str, Any]:
    """The rows of each split, by our names, in our order."""
    if not hasattr(loaded, "keys"):
        return {"train": loaded}
    ours = {OTHER_NAMES.get(split, split): rows for split, rows in loaded.items()}
    if "train" not in ours:
        raise DataError(f"{what} has no split train: it has {', '.join(loaded)}")
    if "test" not in ours and "validation" in ours:
        ours["test"] = ours.pop("validation")  # what was held out is what is tested on
    return {split: ours[split] for split in SPLITS if split in ours}


def _columns(rows: Any, label: str, what: str) -> tuple[str, str | None]:
    """(the column of x, that of the classes, if there is one). Raises DataError."""
    kinds = {name: type(feature).__name__ for name, feature in rows.features.items()}
    if label and label not in kinds:
        fix = f"there are {', '.join(kinds)}"
        raise DataError.of(setting="data.label", value=label, problem=f"{what} has no such column", fix=fix)
    classes = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    chosen = label or (classes[0] if len(classes) == 1 else None)
    images = [name for name, kind in kinds.items() if kind == "Image"]
    several = ("List", "LargeList", "Sequence", "Array2D", "Array3D")
    columns = images or [name for name, kind in kinds.items() if kind in several and name != chosen]
    if len(columns) != 1:
        has = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise DataError(f"{what} must have one column of images, or of arrays: it has {has}")
    return columns[0], chosen


def _images(
    splits: dict[str, Any], image: str, settings: Settings, what: str
) -> tuple[dict[str, np.ndarray], Sequence[str]]:
    items = [
        Item(f"{what} {split}, row {i},", _opener(rows, i, image))
        for split, rows in splits.items()
        for i in range(len(rows))
    ]
    stamp = " ".join(str(rows._fingerprint) for rows in splits.values())
    stamp = hashlib.sha256(f"{what} {stamp}".encode()).hexdigest()
    array, notes = decoded(items, settings, what=what, stamp=stamp)
    ends = np.cumsum([len(rows) for rows in splits.values()])[:-1]
    return dict(zip(splits, np.split(array, ends), strict=True)), notes


def _opener(rows: Any, i: int, image: str) -> Callable[[], Any]:
    return lambda: rows[i][image]


def _numbers(
    splits: dict[str, Any], column: str, settings: Settings, what: str
) -> tuple[dict[str, np.ndarray], Sequence[str]]:
    arrays = {}
    for split, rows in splits.items():
        try:
            arrays[split] = np.asarray(rows.with_format("numpy")[column][:])
        except ValueError as error:
            raise DataError(f"{what}: {column} in {split} is no array ({first_line(error)})") from error
        if arrays[split].dtype == object:
            line = f"{what}: {column} in {split} holds lists of several lengths, or no numbers"
            raise DataError(f"{line}: bring all to one")
    return arrays, ()


def _labels(splits: dict[str, Any], label: str | None) -> tuple[dict[str, np.ndarray | None], Sequence[str]]:
    if label is None:
        return dict.fromkeys(splits), ()
    names = tuple(getattr(splits["train"].features[label], "names", None) or ())
    return {split: np.asarray(rows[label]) for split, rows in splits.items()}, names
