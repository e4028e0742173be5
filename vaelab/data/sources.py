"""Named data sets as fixed, indexed splits.

`load` reads what `python -m vaelab.prepare` wrote: it neither downloads nor imports TensorFlow. Every example
has an index of its own, the same on every machine.
"""

import contextlib
import difflib
import hashlib
import io
import json
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SPLITS = ("train", "validation", "test")
DEFAULT_DATA_DIR = "~/tensorflow_datasets"


class DataError(ValueError):
    """A data set that cannot be had as asked for; the message is one line that names the fix."""


class Split(NamedTuple):
    """Examples of one split: pixels_NxD uint8 (float32 from a real-valued source), label_N int32
    (-1 where there is none), index_N int32, unique over all splits of the data set."""

    pixels_NxD: np.ndarray
    label_N: np.ndarray
    index_N: np.ndarray


class DataSet(NamedTuple):
    """`splits` has the keys "train", "validation" and "test"; pixels lie in 0..max_value."""

    name: str
    image_shape: tuple[int, ...]
    max_value: int
    splits: dict[str, Split]


class _Source(NamedTuple):
    """What is known of one tensorflow-datasets builder.

    validation_divisor: floor(N / divisor) rows at the end of TFDS train are held out; 0 where the
        builder has a validation split of its own.
    digest: `_digest` of the decoded splits, where the archives were at hand to compute it. It is
        what makes an index mean the same image on every machine.
    """

    version: str
    splits: tuple[str, ...]
    validation_divisor: int
    max_value: int = 255
    invert: bool = False
    digest: str | None = None


_SOURCES = {
    "mnist": _Source(
        "3.0.1",
        ("train", "test"),
        12,
        digest="bd58c4704eea5663d1e60918ceccceebe201a1af6e8a8ebe8c86a631515c2c48",
    ),
    "fashion_mnist": _Source(
        "3.0.1",
        ("train", "test"),
        12,
        digest="75ab27f0b83cfe1cad20ff708b625ddfd9b706c62a4731a003165d0591216eda",
    ),
    "kmnist": _Source("3.0.1", ("train", "test"), 12),
    "omniglot": _Source("3.0.0", ("train", "test"), 10, invert=True),
    "binarized_mnist": _Source("1.0.0", ("train", "validation", "test"), 0, max_value=1),
}

_SIDE = 28

NAMES = ("digits", *_SOURCES)

_Parts = dict[str, tuple[np.ndarray, np.ndarray]]  # TFDS split -> (pixels_NxD, label_N)


def load(name: str, *, data_dir: str | os.PathLike[str]) -> DataSet:
    """Reads a data set; `digits` comes with scikit-learn and does not use data_dir.

    mnist, fashion_mnist, kmnist: the first 11/12 of TFDS train in its prepared order, the rest as
    validation (55,000 and 5,000), and test. omniglot: the same with 9/10, white strokes on black,
    28x28. binarized_mnist: its own three splits, pixels 0 and 1. The first reading decodes all
    images into DATA_DIR/vaelab/NAME-VERSION.npz, where that folder can be written.

    Raises DataError where the name is unknown, or the data is not prepared, or is damaged.
    """
    check_name(name)
    if name == "digits":
        return _digits()
    source, data_dir = _SOURCES[name], Path(data_dir).expanduser()
    cache = data_dir / "vaelab" / f"{name}-{source.version}.npz"
    fingerprint = _fingerprint(name, data_dir)
    parts = _read_cache(cache, source, fingerprint)
    if parts is None:
        if fingerprint is None:
            raise DataError(
                f"{name} is not prepared in {data_dir}: "
                f"run `python -m vaelab.prepare {name} --data_dir={data_dir}`"
            )
        parts = _decode(name, source, data_dir)
        _write_cache(cache, parts, fingerprint)
    splits = _divide(parts, source.validation_divisor)
    return DataSet(name, (_SIDE, _SIDE), source.max_value, splits)


def check_name(name: str) -> None:
    """Raises DataError, with the nearest name, for a name that is not in NAMES."""
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.0)[0]
        known = ", ".join(NAMES)
        raise DataError(f"no data set {name!r}: did you mean {near!r}? There are {known}")


def is_prepared(name: str, data_dir: Path) -> bool:
    """Whether DATA_DIR holds the TFDS data set. Raises DataError where it cannot be read."""
    return _fingerprint(name, data_dir) is not None


def builder(name: str, data_dir: Path) -> Any:
    """The unmodified tensorflow-datasets builder, at the version whose order is known here."""
    import tensorflow_datasets as tfds

    reference = f"{name}:{_SOURCES[name].version}"
    return tfds.builder(reference, data_dir=str(data_dir), file_format="array_record")


def _digits() -> DataSet:
    from sklearn.datasets import load_digits

    pixels_NxD, label_N = load_digits(return_X_y=True)
    # RandomState's stream is frozen for good, unlike that of numpy's newer Generator.
    order_N = np.random.RandomState(0).permutation(len(label_N)).astype(np.int32)
    rows = {"train": order_N[540:], "validation": order_N[360:540], "test": order_N[:360]}
    splits = {
        split: Split(pixels_NxD[rows_M].astype(np.uint8), label_N[rows_M].astype(np.int32), rows_M)
        for split, rows_M in rows.items()
    }
    return DataSet("digits", (8, 8), 16, splits)


def _divide(parts: _Parts, validation_divisor: int) -> dict[str, Split]:
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
    return {name: splits[name] for name in ("train", "validation", "test")}


def _damaged(name: str, data_dir: Path, reason: str) -> DataError:
    folder = data_dir / name / _SOURCES[name].version
    command = f"python -m vaelab.prepare {name} --data_dir={data_dir}"
    return DataError(f"{folder} {reason}: delete it and run `{command}`")


def _fingerprint(name: str, data_dir: Path) -> str | None:
    """sha256 of the prepared data set's description, None where nothing is prepared."""
    folder = data_dir / name / _SOURCES[name].version
    if not folder.is_dir():
        return None
    try:
        info = (folder / "dataset_info.json").read_bytes()
        file_format = json.loads(info)["fileFormat"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(name, data_dir, "has no readable dataset_info.json") from error
    if file_format != "array_record":
        raise DataError(
            f"{folder} holds {file_format} files, which only TensorFlow reads: "
            f"run `python -m vaelab.prepare {name}` with another --data_dir"
        )
    return hashlib.sha256(info).hexdigest()


def _read_rows(name: str, split: str, data_dir: Path) -> Iterator[tuple[bytes, int]]:
    """(PNG bytes, label or -1) of each row, in prepared order."""
    import tensorflow_datasets as tfds

    # Decoding here rather than in TFDS keeps OpenCV, where there is one, out of the result.
    decoders = {"image": tfds.decode.SkipDecoding()}
    rows = builder(name, data_dir).as_data_source(split, decoders=decoders)
    for start in range(0, len(rows), 4096):
        for row in rows.__getitems__(range(start, min(start + 4096, len(rows)))):
            yield row["image"], row.get("label", -1)


def _decode_image(png: bytes, invert: bool) -> np.ndarray:
    """uint8 [28, 28]; other sizes are brought to it by PIL's box filter, the mean over an area."""
    from PIL import Image, ImageOps

    image = Image.open(io.BytesIO(png)).convert("L")
    if invert:
        image = ImageOps.invert(image)
    if image.size != (_SIDE, _SIDE):
        image = image.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(image)


def _decode(name: str, source: _Source, data_dir: Path) -> _Parts:
    """Decodes all rows. Raises DataError where files are damaged or hold other images."""
    parts = {}
    try:
        for split in source.splits:
            rows = [
                (_decode_image(png, source.invert).reshape(-1), label)
                for png, label in _read_rows(name, split, data_dir)
            ]
            pixels, labels = zip(*rows, strict=True)
            parts[split] = np.stack(pixels), np.asarray(labels, np.int32)
    except (OSError, RuntimeError, ValueError) as error:
        raise _damaged(name, data_dir, f"is damaged ({first_line(error)})") from error
    if source.digest is not None and _digest(parts) != source.digest:
        raise _damaged(name, data_dir, f"does not hold the images of {name} in their known order")
    return parts


def _digest(parts: _Parts) -> str:
    """sha256 over the splits' pixels and little-endian labels, in the order of the splits."""
    digest = hashlib.sha256()
    for pixels_NxD, label_N in parts.values():
        digest.update(np.ascontiguousarray(pixels_NxD))
        digest.update(label_N.astype("<i4"))
    return digest.hexdigest()


def _read_cache(path: Path, source: _Source, fingerprint: str | None) -> _Parts | None:
    """The decoded splits; None where there is no cache, or, with a warning, none to be trusted."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if fingerprint not in (None, str(arrays["fingerprint"])):
                raise ValueError("it was made from other data")
            parts = {s: (arrays[f"{s}_pixels"], arrays[f"{s}_label"]) for s in source.splits}
        for pixels_NxD, label_N in parts.values():
            if pixels_NxD.dtype != np.uint8 or pixels_NxD.shape != (len(label_N), _SIDE**2):
                raise ValueError("its arrays have other shapes")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:
        # Broad, for a damaged zip raises nearly anything, zlib.error and EOFError among it.
        reason = f"the cache {path} is unusable ({first_line(error)})"
        print(f"warning: {reason}: decoding again", file=sys.stderr)
        return None
    return parts


def _write_cache(path: Path, parts: _Parts, fingerprint: str) -> None:
    """Writes beside and renames, so that a kill leaves no half file. A folder that cannot be
    written is no error: the cache only saves time."""
    arrays = {"fingerprint": np.asarray(fingerprint)}
    for split, (pixels_NxD, label_N) in parts.items():
        arrays |= {f"{split}_pixels": pixels_NxD, f"{split}_label": label_N}
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        try:
            with partial.open("xb") as file:
                np.savez(file, **arrays)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def first_line(error: Exception) -> str:
    """What an exception says, cut to fit into a message of one line."""
    return str(error).partition("\n")[0] or type(error).__name__
