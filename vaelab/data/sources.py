"""What a data set is: fixed splits, in which every example has an index, the same on every machine."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaelab.data.rows import Examples
from vaelab.errors import SettingError

SPLITS = ("train", "validation", "test")
MADE_SPLITS = ("simulated", "corrupted")  # of datapoints that are made from a model, or from the test split
FIRST_SIMULATED = 2**30  # indices of simulated datapoints stay apart from those of any data set
DEFAULT_DATA_DIR = "~/tensorflow_datasets"


class DataError(SettingError):
    """A data set that cannot be had as asked for: of a setting of config.data, or of the data themselves."""

    def about(self, name: str, value: Any) -> "DataError":
        """The same in words of the config, of this setting of config.data where it is of none yet."""
        if self.setting is None:
            return type(self).of(setting=f"data.{name}", value=value, problem=str(self))
        return type(self).of(setting=self.setting, value=self.value, problem=self.problem, fix=self.fix)

    def in_words_of(self, prefix: str) -> "DataError":
        """The same where a setting is called by its name alone, after `prefix`: as an argument, or a flag."""
        said = self.said(prefix)
        parts = {"setting": self.setting, "value": self.value, "problem": self.problem, "fix": self.fix}
        return type(self)(said.replace(f"{prefix}data.", prefix, 1) if self.setting else said, **parts)


@contextmanager
def of_arguments() -> Iterator[None]:
    """Says what is wrong with a setting of config.data in words of the function that it is an argument of."""
    try:
        yield
    except DataError as error:
        raise error.in_words_of("") from error


class Split(NamedTuple):
    """Examples of one split: pixels_NxD uint8 (float32 from a real-valued source), label_N int32
    (-1 where there is none), index_N int32, unique over all splits of the data set. pixels_NxD of what does
    not fit into memory are `Rows`."""

    pixels_NxD: Examples
    label_N: np.ndarray
    index_N: np.ndarray


REAL = 0  # the max_value of real-valued data


class DataSet(NamedTuple):
    """`splits` has the keys "train", "validation" and "test"; pixels lie in 0..max_value, REAL where they are
    real numbers. label_names: that of label i at place i, where labels have names. notes: what was done to
    the data as they were read, a line each.
    """

    name: str
    image_shape: tuple[int, ...]
    max_value: int
    splits: dict[str, Split]
    label_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Source(NamedTuple):
    """Where a data set comes from.

    load(data_dir) -> DataSet               reads it from data_dir; raises DataError where that cannot be
    image_shape, max_value                  those of the DataSet, known before anything is read
    prepare(data_dir, manual_dir) -> bool   what `python -m vaelab.prepare` does: makes the data set be in
                                            data_dir, from the archives in manual_dir or, where that is None,
                                            by a download; False where it was prepared before. Raises
                                            DataError. None where nothing is to be prepared.
    """

    load: Callable[[str | os.PathLike[str]], DataSet]
    image_shape: tuple[int, ...]
    max_value: int
    prepare: Callable[[Path, Path | None], bool] | None = None


class Description(NamedTuple):
    """The shape of one example, and the largest value of a pixel, REAL for real numbers."""

    image_shape: tuple[int, ...]
    max_value: int


class Known(NamedTuple):
    """What a run has kept of its data: their `Description`, and the training examples of each class."""

    image_shape: tuple[int, ...]
    max_value: int
    label_counts: tuple[int, ...] = ()


def first_line(error: Exception) -> str:
    """What an exception says, cut to fit into a message of one line."""
    return str(error).partition("\n")[0] or type(error).__name__


def folder(path: str | os.PathLike[str], what: str = "data_dir") -> Path:
    """The folder that a user names, with `~`; what: the setting of config.data, or the flag, that names it.

    Raises DataError for the address of a bucket, which would be a folder of that name here, and for `~` where
    the user has no home.
    """
    if "://" in str(path):
        raise _of_folder(what, path, "is an address, which is not supported", "copy it to a local folder")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        problem = "needs a home directory, and there is none"
        raise _of_folder(what, path, problem, "give a full path") from None


def _of_folder(what: str, path: str | os.PathLike[str], problem: str, fix: str) -> DataError:
    if what.startswith("--"):
        return DataError(f"{what}={path} {problem}: {fix}")
    return DataError.of(setting=f"data.{what}", value=str(path), problem=problem, fix=fix)
