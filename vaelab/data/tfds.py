"""Grey images of 28x28 pixels from tensorflow-datasets (TFDS).

`load` reads what `prepare` wrote, or the cache of an earlier reading: it neither downloads nor imports
TensorFlow.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaelab.data import archives, cache, idx
from vaelab.data.cache import Parts
from vaelab.data.sources import SPLITS, DataError, DataSet, Source, Split, first_line, folder

SIDE = 28
FROM_ARCHIVES = "archives"  # the fingerprint of what no builder has prepared


class Recipe(NamedTuple):
    """How the splits of a data set are made of those of a TFDS builder: see `source`."""

    name: str
    version: str
    splits: tuple[str, ...]
    validation_divisor: int
    max_value: int
    invert: bool
    digest: str | None


def source(
    name: str,
    version: str,
    *,
    validation_divisor: int = 0,
    max_value: int = 255,
    invert: bool = False,
    digest: str | None = None,
) -> Source:
    """A builder of TFDS, at the version whose order is known, as a source.

    validation_divisor: the first N - floor(N / divisor) rows of TFDS train, in its prepared order, are the
        training split and the rest is validation; 0 where the builder has a validation split.
    invert: whether white and black are exchanged.
    digest: `digest_of` the decoded splits, where the archives were at hand to compute it. It is what makes
        an index mean the same image on every machine.
    """
    splits = ("train", "test") if validation_divisor else SPLITS
    recipe = Recipe(name, version, splits, validation_divisor, max_value, invert, digest)
    return Source(partial(load, recipe), (SIDE, SIDE), max_value, partial(prepare, recipe))


def load(recipe: Recipe, data_dir: str | os.PathLike[str]) -> DataSet:
    """Reads a prepared data set.

    The first reading decodes all images into DATA_DIR/vaelab/NAME-VERSION.npz, where that folder can be
    written. Raises DataError where the data is not prepared, or is damaged.
    """
    data_dir = folder(data_dir)
    path = _cache_of(recipe, data_dir)
    prepared = _fingerprint(recipe, data_dir)
    parts = cache.read(path, recipe.splits, prepared, num_pixels=SIDE**2)
    if parts is None:
        if prepared is None:
            command = _command(recipe, data_dir)
            raise DataError(f"{recipe.name} is not prepared in {data_dir}: run `{command}`")
        parts = _decode(recipe, data_dir)
        cache.write(path, parts, prepared)
    splits = _divide(parts, recipe.validation_divisor)
    return DataSet(recipe.name, (SIDE, SIDE), recipe.max_value, splits)


def prepare(recipe: Recipe, data_dir: Path, manual_dir: Path | None = None) -> bool:
    """Prepares the data set; False where it was prepared before.

    Archives of IDX files are read as they are, into the cache of `load`; the others by the builder.

    Raises DataError where an archive is missing or damaged, data_dir cannot be written or read, TensorFlow
    is not installed for what needs it, or the download or the builder fails.
    """
    path = _cache_of(recipe, data_dir)
    if _fingerprint(recipe, data_dir) is not None:
        return False
    if path.exists() and cache.read(path, recipe.splits, None, num_pixels=SIDE**2) is not None:
        return False
    made = builder(recipe.name, recipe.version, data_dir)
    if idx.are_idx(info.filename for info in made.url_infos.values()):
        folder = archives.fetch(made.name, made.url_infos, data_dir, manual_dir)
        parts = idx.read(folder, recipe.splits)
        if recipe.digest is not None and digest_of(parts) != recipe.digest:
            raise DataError(f"{folder} does not hold the images of {recipe.name}: fetch its archives again")
        cache.write(path, parts, FROM_ARCHIVES)
        if not path.exists():
            raise DataError(f"cannot write to {path.parent}: choose another --data_dir")
        return True
    archives.prepare(made, data_dir, manual_dir)
    return True


def _cache_of(recipe: Recipe, data_dir: Path) -> Path:
    return data_dir / "vaelab" / f"{recipe.name}-{recipe.version}.npz"


def builder(name: str, version: str, data_dir: Path) -> Any:
    """The unmodified TFDS builder of this version."""
    import tensorflow_datasets as tfds

    return tfds.builder(f"{name}:{version}", data_dir=str(data_dir), file_format="array_record")


def digest_of(parts: Parts) -> str:
    """sha256 over the splits' pixels and little-endian labels, in the order of the splits."""
    digest = hashlib.sha256()
    for pixels_NxD, label_N in parts.values():
        digest.update(np.ascontiguousarray(pixels_NxD))
        digest.update(label_N.astype("<i4"))
    return digest.hexdigest()


def _divide(parts: Parts, validation_divisor: int) -> dict[str, Split]:
    """Indices count through the TFDS splits in their order, before any row is held out."""
    splits: dict[str, Split] = {}
    start = 0
    for name, (pixels_NxD, label_N) in parts.items():
        index_N = np.arange(start, start + len(label_N), dtype=np.int32)
        splits[name] = Split(pixels_NxD, label_N, index_N)
        start += len(label_N)
    if validation_divisor:
        train = splits["train"]
        cut = len(train.label_N) - len(train.label_N) // validation_divisor
        splits["train"] = Split(*(field[:cut] for field in train))
        splits["validation"] = Split(*(field[cut:] for field in train))
    return {name: splits[name] for name in SPLITS}


def _command(recipe: Recipe, data_dir: Path) -> str:
    return f"python -m vaelab.prepare {recipe.name} --data_dir={data_dir}"


def _damaged(recipe: Recipe, data_dir: Path, reason: str) -> DataError:
    folder = data_dir / recipe.name / recipe.version
    return DataError(f"{folder} {reason}: delete it and run `{_command(recipe, data_dir)}`")


def _fingerprint(recipe: Recipe, data_dir: Path) -> str | None:
    """sha256 of the prepared data set's description; None where nothing is prepared."""
    folder = data_dir / recipe.name / recipe.version
    if not folder.is_dir():
        return None
    try:
        info = (folder / "dataset_info.json").read_bytes()
        file_format = json.loads(info)["fileFormat"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(recipe, data_dir, "has no readable dataset_info.json") from error
    if file_format != "array_record":
        raise DataError(
            f"{folder} holds {file_format} files, which only TensorFlow reads: "
            f"run `python -m vaelab.prepare {recipe.name}` with another --data_dir"
        )
    return hashlib.sha256(info).hexdigest()


def _read_rows(recipe: Recipe, split: str, data_dir: Path) -> Iterator[tuple[bytes, int]]:
    """(PNG bytes, label or -1) of each row, in prepared order."""
    import tensorflow_datasets as tfds

    # Decoding here rather than in TFDS keeps OpenCV, where it is installed, out of the result.
    decoders = {"image": tfds.decode.SkipDecoding()}
    rows = builder(recipe.name, recipe.version, data_dir).as_data_source(split, decoders=decoders)
    for start in range(0, len(rows), 4096):
        for row in rows.__getitems__(range(start, min(start + 4096, len(rows)))):
            yield row["image"], row.get("label", -1)


def _decode_image(png: bytes, invert: bool) -> np.ndarray:
    """uint8 [28, 28]; other sizes are brought to it by PIL's box filter, the mean over an area."""
    from PIL import Image, ImageOps

    image = Image.open(io.BytesIO(png)).convert("L")
    if invert:
        image = ImageOps.invert(image)
    if image.size != (SIDE, SIDE):
        image = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(image)


def _decode(recipe: Recipe, data_dir: Path) -> Parts:
    """Decodes all rows. Raises DataError where files are damaged or hold other images."""
    parts = {}
    try:
        for split in recipe.splits:
            rows = [
                (_decode_image(png, recipe.invert).reshape(-1), label)
                for png, label in _read_rows(recipe, split, data_dir)
            ]
            pixels, labels = zip(*rows, strict=True)
            parts[split] = np.stack(pixels), np.asarray(labels, np.int32)
    except (OSError, RuntimeError, ValueError) as error:
        raise _damaged(recipe, data_dir, f"is damaged ({first_line(error)})") from error
    if recipe.digest is not None and digest_of(parts) != recipe.digest:
        reason = f"does not hold the images of {recipe.name} in their known order"
        raise _damaged(recipe, data_dir, reason)
    return parts
