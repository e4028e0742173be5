"""What data are known by, so that a run goes on with those it began with."""

import hashlib
from typing import Any

import numpy as np

from vaelab.data.rows import blocks
from vaelab.data.sources import DataSet, Split

MOST_CLASSES = 10_000  # that are counted


def fingerprint(dataset: DataSet) -> dict[str, Any]:
    """The shape and range of the examples, and of each split their number and sha256 of x, labels, indices.

    x and labels are taken in the order of the indices: another order changes the last alone.
    """
    splits = {name: _of_split(split) for name, split in dataset.splits.items()}
    return {"image_shape": list(dataset.image_shape), "max_value": dataset.max_value, "splits": splits}


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What of the data has changed, a phrase each; none where they are the same."""
    found = []
    for name, what in (("image_shape", "the shape of an example"), ("max_value", "the largest level")):
        if before[name] != now[name]:
            found.append(f"{what} was {_text(before[name])} and is {_text(now[name])}")
    for split, here in now["splits"].items():
        there = before["splits"][split]
        if there["count"] != here["count"]:
            found.append(f"{split} had {there['count']} examples and has {here['count']}")
            continue
        words = {
            "index": f"which examples are in {split}",
            "x": f"x in {split}",
            "label": f"the labels of {split}",
        }
        found += [f"{words[part]} changed" for part in words if there[part] != here[part]]
    return found


def _text(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


def _of_split(split: Split) -> dict[str, Any]:
    order_N = np.argsort(split.index_N, kind="stable")
    x, pixels = hashlib.sha256(), split.pixels_NxD
    for rows in blocks(len(pixels), pixels.nbytes // max(1, len(pixels))):
        part = pixels[order_N[rows]]
        x.update(np.ascontiguousarray(part, part.dtype.newbyteorder("<")))
    return {
        "count": len(order_N),
        "x": x.hexdigest(),
        "label": _sha256(split.label_N[order_N]),
        "index": _sha256(split.index_N),
    }


def _sha256(numbers_N: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(numbers_N, "<i4")).hexdigest()


def described(dataset: DataSet) -> dict[str, Any]:
    """The fingerprint with what a reader of the run may want beside it: classes, notes."""
    words = {"label_names": list(dataset.label_names), "notes": list(dataset.notes)}
    return fingerprint(dataset) | words | {"label_counts": label_counts(dataset)}


def label_counts(dataset: DataSet) -> list[int]:
    """How many training examples each class has, 0, 1, ...; none where there are no labels, or too many."""
    label_N = dataset.splits["train"].label_N
    known_N = label_N[label_N >= 0]
    return np.bincount(known_N).tolist() if known_N.size and known_N.max() < MOST_CLASSES else []
