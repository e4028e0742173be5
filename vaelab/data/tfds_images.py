"""Any image data set of tensorflow-datasets (TFDS), by its name: `tfds:NAME` or `tfds:NAME/CONFIG`.

What `python -m vaelab.prepare tfds:NAME` wrote is read without TensorFlow. Shape, splits, the features with
the image and its class are taken from what the data set says of itself.
"""

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaelab.data import archives
from vaelab.data.arrays import make
from vaelab.data.decode import Item, decoded
from vaelab.data.settings import Settings
from vaelab.data.sources import SPLITS, DataError, DataSet, first_line, folder

PREFIX = "tfds:"
OTHER_NAMES = {"valid": "validation", "val": "validation", "dev": "validation"}


class Features(NamedTuple):
    """The names of the features that hold the image and its class; the names of the classes."""

    image: str
    label: str | None
    names: tuple[str, ...] = ()


def load(name: str, settings: Settings) -> DataSet:
    """Reads a prepared data set. The index of an example counts through train, validation and test.

    Splits that it has not are drawn from train, `settings.fractions` of it. Raises DataError where it is not
    prepared, holds no image, is damaged, or cannot be read without TensorFlow.
    """
    place = prepared(name, folder(settings.data_dir))
    if place is None:
        raise DataError(
            f"{name} is not prepared in {settings.data_dir}: run `{_command(name, settings.data_dir)}`"
        )
    builder = _of_directory(place, name, settings.data_dir)
    features = found_features(builder.info.features, name, settings.label)
    sources = _sources(builder, features, name, settings.data_dir)
    items = [
        Item(f"{place} {split}, row {i},", _opener(rows, i, features.image))
        for split, rows in sources.items()
        for i in range(len(rows))
    ]
    stamp = hashlib.sha256((place / "dataset_info.json").read_bytes()).hexdigest()
    array, notes = decoded(items, settings, what=name, stamp=f"{place} {stamp}")
    ends = np.cumsum([len(rows) for rows in sources.values()])[:-1]
    return make(
        name,
        dict(zip(sources, np.split(array, ends), strict=True)),
        {split: _labels(rows, features.label) for split, rows in sources.items()},
        label_names=features.names,
        fractions=settings.fractions,
        image_shape=(),
        max_value=settings.max_value,
        memory_bytes=settings.memory_bytes,
        notes=notes,
        overlap=False,
    )


def prepare(name: str, data_dir: Path, manual_dir: Path | None) -> bool:
    """Prepares it by its builder, see `archives.prepare`; False where it was prepared before."""
    if prepared(name, data_dir) is not None:
        return False
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name.removeprefix(PREFIX), data_dir=str(data_dir), file_format="array_record")
    except Exception as error:
        # Broad, for what a builder that is imported may lack.
        fix = "the catalogue of tensorflow-datasets has the names, as tfds:cifar10 or tfds:NAME/CONFIG"
        raise DataError(f"{name} is no data set of TFDS ({first_line(error)}): {fix}") from error
    found_features(builder.info.features, name, "")
    archives.prepare(builder, data_dir, manual_dir)
    return True


def prepared(name: str, data_dir: Path) -> Path | None:
    """The folder of its newest version that is prepared in data_dir; None where there is none."""
    place = data_dir / name.removeprefix(PREFIX).partition(":")[0]
    wanted = name.removeprefix(PREFIX).partition(":")[2]
    if not place.is_dir():
        return None
    versions = [
        entry
        for entry in place.iterdir()
        if (entry / "dataset_info.json").is_file() and (not wanted or entry.name == wanted)
    ]
    if not versions:
        configs = sorted({entry.parent.parent.name for entry in place.glob("*/*/dataset_info.json")})
        if len(configs) == 1 and not wanted:
            return prepared(f"{name}/{configs[0]}", data_dir)
        if configs and not wanted:
            raise DataError(
                f"{name} has several configurations: take {', '.join(f'{name}/{c}' for c in configs)}"
            )
        return None
    return max(versions, key=lambda entry: [int(part) for part in entry.name.split(".") if part.isdigit()])


def found_features(features: Mapping[str, Any], name: str, label: str) -> Features:
    """The one image and the one class of an example. label: the name of the latter, where there are several.

    Raises DataError where there is no image, or more than one.
    """
    kinds = {key: type(feature).__name__ for key, feature in features.items()}
    images = [key for key, kind in kinds.items() if kind == "Image"]
    if len(images) != 1:
        has = ", ".join(f"{key} ({kind})" for key, kind in sorted(kinds.items()))
        raise DataError(
            f"{name} has {len(images)} features that are one image, and must have one: it has {has}"
        )
    classes = [key for key, kind in kinds.items() if kind == "ClassLabel"]
    if label and label not in kinds:
        fix = f"there are {', '.join(sorted(kinds))}"
        raise DataError.of(setting="data.label", value=label, problem=f"{name} has no such feature", fix=fix)
    chosen = label or (classes[0] if len(classes) == 1 else None)
    names = tuple(getattr(features[chosen], "names", None) or ()) if chosen else ()
    return Features(images[0], chosen, names)


def _command(name: str, data_dir: str) -> str:
    return f"python -m vaelab.prepare {name} --data_dir={data_dir}"


def _of_directory(place: Path, name: str, data_dir: str) -> Any:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(str(place))
    except Exception as error:
        raise _damaged(place, _command(name, data_dir), error) from error
    kind = builder.info.file_format.value
    if kind != "array_record":
        raise DataError(
            f"{place} holds {kind} files, which only TensorFlow reads: "
            f"run `python -m vaelab.prepare {name}` with another --data_dir"
        )
    return builder


def _damaged(place: Path, command: str, error: Exception) -> DataError:
    return DataError(f"{place} is damaged ({first_line(error)}): delete it and run `{command}`")


def _sources(builder: Any, features: Features, name: str, data_dir: str) -> dict[str, Any]:
    """The rows of each split, by our names, in our order; those that are none of ours are left out."""
    import tensorflow_datasets as tfds

    of_ours = {OTHER_NAMES.get(split, split): split for split in builder.info.splits}
    splits = [split for split in SPLITS if split in of_ours]
    if "train" not in splits:
        raise DataError(f"{name} has no split train: it has {', '.join(builder.info.splits)}")
    if "test" not in splits and "validation" in splits:
        of_ours["test"] = of_ours.pop("validation")  # what was held out is what is tested on
        splits = ["train", "test"]
    decoders = {features.image: tfds.decode.SkipDecoding()}
    try:
        return {s: builder.as_data_source(of_ours[s], decoders=decoders) for s in splits}
    except Exception as error:
        raise _damaged(Path(builder.data_path), _command(name, data_dir), error) from error


def _opener(rows: Any, i: int, image: str) -> Callable[[], Any]:
    def opened() -> Any:
        from PIL import Image

        return Image.open(io.BytesIO(rows[i][image]))

    return opened


def _labels(rows: Any, label: str | None) -> np.ndarray | None:
    return None if label is None else np.array([int(rows[i][label]) for i in range(len(rows))])
