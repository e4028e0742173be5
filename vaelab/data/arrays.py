"""A data set from arrays, or from any sequence of examples."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from vaelab.data.labels import NONE, class_numbers
from vaelab.data.overlap import check_overlap
from vaelab.data.rows import Rows, rows_of
from vaelab.data.sequences import as_array
from vaelab.data.settings import Settings
from vaelab.data.sources import SPLITS, DataError, DataSet, Split, of_arguments
from vaelab.data.values import values_of

FEWEST = 2  # examples of a split, for a standard error
CHANNELS = (1, 3, 4)  # that the first axis of an image has where it is that of the channels


def from_arrays(
    train: Any,
    validation: Any = None,
    test: Any = None,
    *,
    train_label: Any = None,
    validation_label: Any = None,
    test_label: Any = None,
    fractions: Sequence[float] = Settings().fractions,
    image_shape: Sequence[int] = (),
    max_value: int = 0,
    memory_bytes: int = Settings().memory_bytes,
    name: str = "arrays",
) -> DataSet:
    """A data set of examples in arrays, for `vaelab.run(config, workdir, data=...)`.

    Each of train, validation and test is an array, [N, D] or images [N, h, w] or [N, h, w, c], or any
    sequence of such examples or of pairs (x, label), as a torch Dataset is. With train alone the splits are
    drawn from it, `fractions` of it each, the same ones in every call; with train and test a part of train is
    for validation. The index of an example is its position, counted through train, validation and test.

    uint8 (and floats that are 255ths, or 0 and 1) are levels of pixels, other floats real numbers: see
    `values_of`, also for max_value. image_shape: that of x, where the arrays are flat. memory_bytes: arrays
    larger than this, mapped from the disk say, stay where they are, and batches are read from there.

    Raises DataError, one line.
    """
    given = {
        split: as_array(examples, label, name=split)
        for split, examples, label in (
            ("train", train, train_label),
            ("validation", validation, validation_label),
            ("test", test, test_label),
        )
        if examples is not None
    }
    if "validation" in given and "test" not in given:
        raise DataError("there are train and validation examples, and none to test: give test too")
    with of_arguments():
        return make(
            name,
            {split: array for split, (array, _) in given.items()},
            {split: label for split, (_, label) in given.items()},
            fractions=fractions,
            image_shape=image_shape,
            max_value=max_value,
            memory_bytes=memory_bytes,
        )


def make(
    name: str,
    arrays: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray | None],
    *,
    fractions: Sequence[float],
    image_shape: Sequence[int],
    max_value: int,
    memory_bytes: int,
    label_names: Sequence[str] = (),
    notes: Sequence[str] = (),
    overlap: bool = True,
) -> DataSet:
    """The data set of the arrays of train, of train and test, or of all splits: see `from_arrays`.

    overlap: whether splits must not share examples; published ones may.
    """
    arrays, shape, moved = _images(arrays)
    values = values_of(arrays, max_value)
    shape = _shaped(shape, tuple(image_shape))
    size = int(np.prod(shape))
    numbers, names = class_numbers({s: len(array) for s, array in arrays.items()}, labels)
    shared = check_overlap(arrays) if overlap else ()
    parts: dict[str, Split] = {}
    start = 0
    in_memory = sum(map(len, arrays.values())) * size * np.dtype(values.dtype).itemsize <= memory_bytes
    for split, array in arrays.items():
        convert: Callable = partial(_convert, values.convert, channels_first=bool(moved))
        rows = rows_of(array, convert, size=size, dtype=values.dtype)
        index_N = np.arange(start, start + len(array), dtype=np.int32)
        parts[split] = Split(rows[:] if in_memory else rows, numbers[split], index_N)
        start += len(array)
    splits = divide(parts, fractions)
    notes = (*notes, *moved, *values.notes, *shared, *_unlabelled(numbers))
    return DataSet(name, shape, values.max_value, splits, tuple(label_names) or names, notes)


def divide(parts: Mapping[str, Split], fractions: Sequence[float]) -> dict[str, Split]:
    """All three splits, of which those that are not given are drawn from train, the same ones always.

    Raises DataError where one has too few examples, or the fractions are none.
    """
    fractions = tuple(map(float, fractions))
    if len(fractions) != 3 or not all(0 < part < 1 for part in fractions) or abs(sum(fractions) - 1) > 1e-6:
        problem = "must be three numbers above 0 with the sum 1: train, validation, test"
        raise DataError.of(setting="data.fractions", value=fractions, problem=problem)
    missing = [split for split in ("validation", "test") if split not in parts]
    train, splits = parts["train"], dict(parts)
    # RandomState's stream is frozen for good, unlike that of numpy's newer Generator.
    order_N = np.random.RandomState(0).permutation(len(train.index_N)) if missing else None
    left_over = fractions[0] + sum(fractions[SPLITS.index(split)] for split in missing)
    for split in missing[::-1]:
        count = int(len(train.index_N) * fractions[SPLITS.index(split)] / left_over + 1e-9)
        splits[split], order_N = taken(train, order_N[:count]), order_N[count:]
    if order_N is not None:
        splits["train"] = taken(train, order_N)
    for split in SPLITS:
        if len(splits[split].index_N) < FEWEST:
            total = sum(len(part.index_N) for part in parts.values())
            line = f"the {split} split has {len(splits[split].index_N)} of {total} examples"
            problem = f"{line}, and needs {FEWEST} or more"
            fix = "give more examples, or other fractions"
            raise DataError.of(setting="data.fractions", value=fractions, problem=problem, fix=fix)
    return {split: splits[split] for split in SPLITS}


def taken(split: Split, rows_M: np.ndarray) -> Split:
    """These examples of it; of Rows unread."""
    pixels = split.pixels_NxD
    taken = pixels.take(rows_M) if isinstance(pixels, Rows) else pixels[rows_M]
    return Split(taken, split.label_N[rows_M], split.index_N[rows_M])


def _images(
    arrays: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], tuple[int, ...], tuple[str, ...]]:
    """(the arrays, the shape of an example, a note where it was [c, h, w]). Raises DataError."""
    shapes = {split: array.shape[1:] for split, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        line = ", ".join(f"{split} {shape}" for split, shape in shapes.items())
        raise DataError(f"the splits hold examples of several shapes ({line}): bring them to one")
    shape = shapes["train"]
    for split, array in arrays.items():
        if not len(array):
            raise DataError(f"{split} holds no examples")
    if not 1 <= len(shape) <= 3 or 0 in shape:
        line = f"an example has the shape {shape}"
        raise DataError(f"{line}: it must be numbers [D], or an image [h, w] or [h, w, c]")
    if len(shape) < 3:
        return dict(arrays), shape, ()
    channels, *rest = shape
    if channels in CHANNELS and shape[2] not in CHANNELS:
        shape = (*rest, channels)
        note = f"images [channels, height, width] are taken as {shape}, [height, width, channels]"
    else:
        note = ""
    return dict(arrays), shape[:2] if shape[2] == 1 else shape, (note,) if note else ()


def _shaped(shape: tuple[int, ...], image_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that is asked for. Raises DataError where it has another size."""
    if not image_shape or image_shape == shape:
        return shape
    if len(image_shape) > 3 or np.prod(image_shape) != np.prod(shape):
        problem = f"does not hold an example of the shape {shape}"
        fix = "arrays are not resized, a folder of images is"
        raise DataError.of(setting="data.image_shape", value=image_shape, problem=problem, fix=fix)
    if len(image_shape) == 3 and image_shape[2] == 1:
        return image_shape[:2]
    return image_shape


def _convert(values: Callable, part: np.ndarray, *, channels_first: bool) -> np.ndarray:
    return values(np.moveaxis(part, 1, -1) if channels_first else part)


def _unlabelled(labels: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """A note where some examples have a label and others none."""
    label_N = np.concatenate(list(labels.values()))
    without = int(np.sum(label_N == NONE))
    return (f"{without} of the {len(label_N)} examples have no label",) if 0 < without < len(label_N) else ()
