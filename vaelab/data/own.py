"""Data that do not come with vaelab: of a path, of another library, of Python."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vaelab.data import file, huggingface, tfds_images
from vaelab.data.arrays import make
from vaelab.data.sequences import as_array
from vaelab.data.settings import Settings
from vaelab.data.sources import DataError, DataSet

OF_PYTHON = "given"  # the data.name of what `vaelab.run` was given as data
READERS: dict[str, Callable[[Settings], DataSet]] = {"file": file.load, "huggingface": huggingface.load}
HUGGINGFACE = "hf:"  # and a path, short for huggingface with it


def is_own(name: str) -> bool:
    """Whether data of this name are read by `load_own`."""
    return name in READERS or name.startswith((HUGGINGFACE, tfds_images.PREFIX))


def load_own(name: str, settings: Settings) -> DataSet:
    """Reads the data that `settings` describe. Raises DataError, one line."""
    if settings.path and name not in READERS:
        problem = f"has no effect on {name}"
        raise DataError.of(setting="data.path", value=settings.path, problem=problem, fix="leave it out")
    if name.startswith(tfds_images.PREFIX):
        return tfds_images.load(name, settings)
    if name.startswith(HUGGINGFACE):
        return huggingface.load(settings._replace(path=name.removeprefix(HUGGINGFACE)))
    return READERS[name](settings)


def prepare_own(name: str, data_dir: Path, manual_dir: Path | None) -> bool:
    """Prepares data of tensorflow-datasets; False for those that need no preparing. Raises DataError."""
    return name.startswith(tfds_images.PREFIX) and tfds_images.prepare(name, data_dir, manual_dir)


def given(data: Any, settings: Settings) -> DataSet:
    """A DataSet as it is, or that of a sequence of examples, by the settings.

    Raises DataError for what is none, and where settings would have no effect on a DataSet.
    """
    if not isinstance(data, DataSet):
        array, label = as_array(data, None, name="data")
        return make(
            OF_PYTHON,
            {"train": array},
            {"train": label},
            fractions=settings.fractions,
            image_shape=settings.image_shape,
            max_value=settings.max_value,
            memory_bytes=settings.memory_bytes,
        )
    without = Settings(data_dir=settings.data_dir, memory_bytes=settings.memory_bytes)
    for name, value in settings._asdict().items():
        if value != getattr(without, name):
            problem, fix = "has no effect on a data set that is made", "give it to vaelab.data.from_arrays"
            raise DataError.of(setting=f"data.{name}", value=value, problem=problem, fix=fix)
    return data
