"""Examples as an array, from what may be a sequence of them: a list, a torch Dataset, rows of a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vaelab.data.sources import DataError, first_line


def as_array(examples: Any, label: Any, *, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """(examples [N, ...], labels [N] or None) of an array, or of a sequence read from its start to its end.

    An item of a sequence is an example, a pair (example, label), or a mapping with one of each. Raises
    DataError.
    """
    if not hasattr(examples, "__array__"):
        examples, from_pairs = _read(examples, name)
        if from_pairs is not None:
            if label is not None:
                raise DataError(
                    f"{name}_label is given, and the items of {name} are pairs with labels: give one"
                )
            label = from_pairs
    _check_masks(examples, label, name)
    array = np.asarray(examples)
    if array.ndim == 0:
        raise DataError(f"{name} is a single number: give an array of examples, [N, D]")
    if array.dtype == object:
        raise DataError(f"{name} holds objects of Python: give an array of numbers")
    if array.ndim == 1:
        raise DataError(f"{name} has the shape {array.shape}: give [N, D], a row for each example")
    return array, None if label is None else np.asarray(label)


def _check_masks(examples: Any, label: Any, name: str) -> None:
    """Raises DataError for numbers behind a mask of NumPy, which would be taken for what they are not."""
    for values, what in ((examples, name), (label, f"{name}_label")):
        if np.ma.is_masked(values):
            count = int(np.ma.count_masked(values))
            fix = "fill them in, or leave their rows out"
            raise DataError(f"{what} has {count} numbers that are masked: {fix}")


def _read(examples: Any, name: str) -> tuple[np.ndarray, list[Any] | None]:
    """(array, labels), item by item."""
    if not hasattr(examples, "__len__") or not hasattr(examples, "__getitem__"):
        kind = type(examples).__name__
        raise DataError(f"{name} is a {kind}: give an array, or a sequence with __len__ and __getitem__")
    if isinstance(examples, str | Mapping):
        raise DataError(f"{name} is a {type(examples).__name__}: give an array, or a sequence of examples")
    count = len(examples)
    if not count:
        raise DataError(f"{name} holds no examples")
    first, label = _item(examples, 0, name)
    array, labels = np.empty((count, *first.shape), first.dtype), [label]
    array[0] = first
    for i in range(1, count):
        x, label = _item(examples, i, name)
        if x.shape != first.shape:
            line = f"{name}: example {i} has the shape {x.shape}, example 0 {first.shape}"
            raise DataError(f"{line}: bring all to one shape")
        if x.dtype != array.dtype:
            array = array.astype(np.promote_types(array.dtype, x.dtype), copy=False)
        array[i] = x
        labels.append(label)
    without = [i for i, label in enumerate(labels) if label is None]
    if without and len(without) < count:
        raise DataError(f"{name}: example {without[0]} has no label, and others have: give all or none")
    return array, None if without else labels


def _item(examples: Any, i: int, name: str) -> tuple[np.ndarray, Any]:
    """(x, label or None) of one item."""
    try:
        item, label = _parted(examples[i])
        x = np.asarray(item)
    except Exception as error:
        # Broad, for it is the user's code.
        raise DataError(
            f"{name}: reading example {i} failed ({type(error).__name__}: {first_line(error)})"
        ) from error
    if np.ma.is_masked(item):
        raise DataError(f"{name}: example {i} has numbers that are masked: fill them in, or leave it out")
    if x.dtype == object or x.dtype.kind not in "buif":
        kind = type(item).__name__
        raise DataError(
            f"{name}: example {i} is a {kind} that is no array of numbers: give x, or pairs (x, label)"
        )
    return x, None if label is None else np.asarray(label).item()


def _parted(item: Any) -> tuple[Any, Any]:
    """(x, label or None) of an item as it comes; a picture of PIL in grey or colours."""
    label = None
    if isinstance(item, Mapping):
        if len(item) > 2:
            raise ValueError(f"it has {len(item)} entries, {', '.join(map(str, item))}: give x and a label")
        # In whichever order: the label is the single number, or text, beside x.
        item = tuple(sorted(item.values(), key=lambda value: np.ndim(value) == 0))
    if isinstance(item, tuple) and len(item) == 2 and np.ndim(item[0]) and _is_single(item[1]):
        item, label = item
    if getattr(item, "mode", None) in PICTURED and hasattr(item, "convert"):
        item = item.convert("RGB")
    return item, label


PICTURED = ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
"""Modes of PIL whose numbers are not grey or red, green and blue."""


def _is_single(value: Any) -> bool:
    return np.ndim(value) == 0 or np.shape(value) == (1,)
