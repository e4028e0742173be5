"""Data of a path: arrays, a folder of images, a table, counts of cells."""

import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from vaelab.data.arrays import make
from vaelab.data.images import load_folder
from vaelab.data.settings import Settings
from vaelab.data.sources import SPLITS, DataError, DataSet, first_line, folder
from vaelab.data.tables import load_cells, load_table

FEW = 6  # arrays of a file that are named where they are not what they should be


def load(settings: Settings) -> DataSet:
    """Reads the data of settings.path, by what it is:

    NAME.npy                 examples [N, D], [N, h, w] or [N, h, w, c]; classes in NAME_label.npy beside it
    NAME.npz                 train, validation, test (or train, test), each with a TRAIN_label if there are
                             labels; or one array of examples, and one of labels
    a folder                 with train.npy and test.npy, as of an npz; or of images, sub-folders are classes
    NAME.csv, NAME.parquet   a column for each dimension; NAME.h5ad: X of the cells

    Raises DataError, one line.
    """
    if not settings.path:
        raise DataError.of(
            setting="data.path", problem="data.name=file needs it", fix="give a file or a folder"
        )
    path = folder(settings.path, "path")
    if not path.exists():
        raise _of_path(settings, "does not exist", f"there is no {path.absolute()}")
    if path.is_dir():
        if (path / "train.npy").is_file():
            return _from_arrays(_in_folder(path), str(path), settings)
        return load_folder(settings)
    readers: dict[str, Callable[[Settings], DataSet]] = {
        ".npy": _load_npy,
        ".npz": _load_npz,
        ".csv": load_table,
        ".parquet": load_table,
        ".h5ad": load_cells,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(readers)
        raise _of_path(settings, "is no file of a known kind", f"there are {known}, and folders")
    return reader(settings)


def _of_path(settings: Settings, problem: str, fix: str) -> DataError:
    return DataError.of(setting="data.path", value=settings.path, problem=problem, fix=fix)


def _load_npy(settings: Settings) -> DataSet:
    path = folder(settings.path, "path")
    label = path.with_name(f"{path.stem}_label.npy")
    arrays = {path.name: _mapped(path)}
    if label.is_file():
        arrays["label"] = _mapped(label)
    return _from_arrays(arrays, str(path), settings)


def _load_npz(settings: Settings) -> DataSet:
    path = folder(settings.path, "path")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error
    return _from_arrays(arrays, str(path), settings)


def _in_folder(path: Path) -> dict[str, np.ndarray]:
    names = [name for split in SPLITS for name in (split, f"{split}_label")]
    return {name: _mapped(path / f"{name}.npy") for name in names if (path / f"{name}.npy").is_file()}


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = first_line(error)
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    elif path.stat().st_size == 0:
        reason = "it is empty"
    elif _start(path) not in (b"\x93N", b"PK"):
        reason = "it is no file of NumPy"
    elif "pickle" in reason or "Python objects" in reason:
        reason = "it holds objects of Python"
    elif (
        isinstance(error, EOFError | zipfile.BadZipFile | zlib.error)
        or "mmap" in reason
        or "reshape" in reason
    ):
        reason = "it is cut short, or damaged"
    return DataError(f"{path} cannot be read ({reason}): save it anew, by numpy.save or numpy.savez")


def _from_arrays(arrays: Mapping[str, np.ndarray], what: str, settings: Settings) -> DataSet:
    examples, labels = _sorted_out(arrays, what)
    return make(
        "file",
        examples,
        labels,
        fractions=settings.fractions,
        image_shape=settings.image_shape,
        max_value=settings.max_value,
        memory_bytes=settings.memory_bytes,
    )


def _sorted_out(
    arrays: Mapping[str, np.ndarray], what: str
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray | None]]:
    """(examples, labels) of each split that there is. Raises DataError for what is neither."""
    known = {name for split in SPLITS for name in (split, f"{split}_label")}
    if "train" in arrays:
        unknown = sorted(arrays.keys() - known)
        if unknown:
            raise DataError(
                f"{what} holds {', '.join(unknown)} beside train: there are {', '.join(sorted(known))}"
            )
        if "validation" in arrays and "test" not in arrays:
            raise DataError(f"{what} holds train and validation, and no test: add it")
        splits = [split for split in SPLITS if split in arrays]
        for split in SPLITS:
            if f"{split}_label" in arrays and split not in arrays:
                raise DataError(f"{what} holds {split}_label and no {split}: add it, or leave the labels out")
        return {s: arrays[s] for s in splits}, {s: arrays.get(f"{s}_label") for s in splits}
    several = [name for name, array in arrays.items() if array.ndim > 1]
    single = [name for name, array in arrays.items() if array.ndim == 1]
    if len(several) != 1 or len(single) > 1 or len(several) + len(single) < len(arrays):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in [*arrays.items()][:FEW]) or "nothing"
        shapes += ", ..." * (len(arrays) > FEW)
        fix = "give train, validation and test, or one array of examples [N, ...] and one of labels [N]"
        raise DataError(f"{what} holds {shapes}: {fix}")
    return {"train": arrays[several[0]]}, {"train": arrays[single[0]] if single else None}


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(2)
