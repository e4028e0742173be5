"""What the numbers of an array are: levels of pixels, or real numbers; and whether they can be."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from vaelab.data.rows import blocks, release
from vaelab.data.sources import REAL, DataError

MOST = 255  # levels are uint8
MOST_LOST = 1e-3  # of the range of a number, that float32 may take from it
ORDINARY = 1e-3, 1e3  # of real numbers: a range from here on, and values up to here
NEAR = 1e-3  # of a 255th: float32 rounds k / 255 to 1e-5 of one


class Values(NamedTuple):
    """How stored numbers become pixels.

    convert(array) -> array of dtype, elementwise. max_value: of the pixels, or REAL. notes: what is said.
    """

    convert: Callable[[np.ndarray], np.ndarray]
    dtype: type
    max_value: int
    notes: tuple[str, ...] = ()


class _Seen(NamedTuple):
    """Extremes of all numbers; whether all are whole, and whether all are 255ths.

    low_D, high_D: extremes of each number of an example, over all of them; lost_D: by how much float32 is off
    at most. Empty where the numbers are integers.
    """

    low: float
    high: float
    whole: bool
    in_255ths: bool
    low_D: np.ndarray
    high_D: np.ndarray
    lost_D: np.ndarray


def values_of(arrays: Mapping[str, np.ndarray], max_value: int = 0) -> Values:
    """What the numbers of these arrays [N, ...], taken together, are.

    max_value: the largest level, white say; 0 finds it: 1 where there are only 0 and 1, else 255. Integers
    are levels. Floats are if they are 0 and 1 alone, or 255ths between 0 and 1, or whole with a max_value;
    else they are real numbers, which must lie in 0..1 where an example has the shape of an image.

    Raises DataError for what is not finite, outside its range, the same everywhere, no number, or a real
    number whose digits float32 does not hold.
    """
    if not 0 <= max_value <= MOST:
        problem = "levels lie in 0..255, so it must too"
        raise DataError.of(setting="data.max_value", value=max_value, problem=problem, fix="0 finds it")
    for name, array in arrays.items():
        if array.dtype.kind not in "buif":
            kind = "text" if array.dtype.kind in "SU" else f"{array.dtype}"
            raise DataError(f"{name} holds {kind}, not numbers: give uint8 levels or floats")
    seen = _seen(arrays)
    floats = any(array.dtype.kind == "f" for array in arrays.values())
    if seen.low == seen.high:
        raise DataError(f"every number of {', '.join(arrays)} is {seen.low:g}: there is nothing to learn")
    levels = not floats or (seen.whole and (max_value or (seen.low, seen.high) == (0, 1)))
    if levels:
        return _levels(arrays, seen, max_value)
    if max_value:
        problem = f"is for levels, and the numbers are not whole ({_range(seen)})"
        raise DataError.of(setting="data.max_value", value=max_value, problem=problem, fix="leave it out")
    if seen.in_255ths and seen.low >= 0 and seen.high <= 1:
        note = "floats between 0 and 1 that are 255ths: taken as the 8-bit levels 0 to 255"
        return Values(lambda part: np.rint(part * MOST).astype(np.uint8), np.uint8, MOST, (note,))
    return _reals(arrays, seen)


def _levels(arrays: Mapping[str, np.ndarray], seen: _Seen, max_value: int) -> Values:
    most = max_value or (1 if seen.high <= 1 else MOST)
    if seen.low < 0 or seen.high > most:
        problem = f"{', '.join(arrays)}: integers {_range(seen)} are no levels in 0..{most}"
        if not max_value:
            raise DataError(f"{problem}: give floats, for real-valued data")
        fix = "give the largest level"
        raise DataError.of(setting="data.max_value", value=max_value, problem=problem, fix=fix)
    notes = ()
    if not max_value and 1 < seen.high < (MOST + 1) // 2:
        line = f"the levels go from {seen.low:g} to {seen.high:g} and are taken as of 0 to 255"
        notes = (f"{line}: if {seen.high:g} is the largest there is, say so by max_value={seen.high:g}",)
    return Values(lambda part: part.astype(np.uint8, copy=False), np.uint8, most, notes)


def _reals(arrays: Mapping[str, np.ndarray], seen: _Seen) -> Values:
    images = any(array.ndim > 2 for array in arrays.values())
    if images and (seen.low < 0 or seen.high > 1):
        fix = "bring them there, give 8-bit levels, or flatten each image, for real numbers of any range"
        raise DataError(f"{', '.join(arrays)}: float images must lie in 0..1, and go {_range(seen)}: {fix}")
    if max(-seen.low, seen.high) > float(np.finfo(np.float32).max):
        raise DataError(f"{', '.join(arrays)}: numbers {_range(seen)} do not fit into float32: rescale them")
    range_D = seen.high_D - seen.low_D
    if (seen.lost_D > MOST_LOST * range_D).any():
        k = int(np.argmax(seen.lost_D > MOST_LOST * range_D))
        line = f"x[:, {k}] goes from {seen.low_D[k]:.10g} to {seen.high_D[k]:.10g}"
        lost = f"where float32, which it becomes, is off by up to {seen.lost_D[k]:.2g}"
        raise DataError(f"{line}, {lost}: subtract its mean from it")
    notes: tuple[str, ...] = ()
    if (range_D == 0).any():
        k = int(np.argmin(range_D))
        line = f"{np.sum(range_D == 0)} of the {len(range_D)} numbers of an example are the same in all"
        fix = "its density is as high as the floor of the variance lets it be; leave such numbers out"
        notes += (f"{line}, as x[:, {k}] = {seen.low_D[k]:g}: {fix}",)
    most_D = np.maximum(-seen.low_D, seen.high_D)
    if (most_D > ORDINARY[1]).any() or (range_D[range_D > 0] < ORDINARY[0]).any():
        narrow_D = np.where(range_D > 0, range_D, np.inf)
        k = int(np.argmax(most_D) if (most_D > ORDINARY[1]).any() else np.argmin(narrow_D))
        line = f"x[:, {k}] goes from {seen.low_D[k]:g} to {seen.high_D[k]:g}, far from the order of 1"
        notes += (f"{line}, at which the decoder's variances start: scale it",)
    if seen.whole and seen.low >= 0 and seen.high <= MOST:
        line = f"whole numbers {_range(seen)} in floats are taken as real numbers"
        notes += (f"{line}: if they are levels of pixels, say so by max_value={seen.high:g}",)
    return Values(lambda part: part.astype(np.float32, copy=False), np.float32, REAL, notes)


def _range(seen: _Seen) -> str:
    return f"from {seen.low:g} to {seen.high:g}"


def _seen(arrays: Mapping[str, np.ndarray]) -> _Seen:
    low, high, whole, in_255ths = np.inf, -np.inf, True, True
    low_D, high_D, lost_D = np.inf, -np.inf, 0.0
    for name, array in arrays.items():
        for first, part in _parts(array):
            if part.dtype.kind == "f":
                finite_N = np.isfinite(part).reshape(len(part), -1).all(axis=1)
                if not finite_N.all():
                    raise DataError(_not_finite(name, first, part, finite_N))
                whole = whole and bool((part == np.rint(part)).all())
                if in_255ths:
                    scaled = part * np.float32(MOST)
                    in_255ths = bool((np.abs(scaled - np.rint(scaled)) < NEAR).all())
                part_MxD = part.reshape(len(part), -1)
                low_D, high_D = (
                    np.minimum(low_D, part_MxD.min(axis=0)),
                    np.maximum(high_D, part_MxD.max(axis=0)),
                )
                if part.dtype.itemsize > 4:
                    with np.errstate(over="ignore"):  # what is too large for float32 is said to be
                        off_MxD = np.abs(part_MxD - part_MxD.astype(np.float32))
                    lost_D = np.maximum(lost_D, off_MxD.max(axis=0))
            low, high = min(low, float(part.min())), max(high, float(part.max()))
    low_D, high_D = np.atleast_1d(np.float64(low_D)), np.atleast_1d(np.float64(high_D))
    return _Seen(low, high, whole, in_255ths, low_D, high_D, np.broadcast_to(lost_D, low_D.shape))


def _not_finite(name: str, first: int, part: np.ndarray, finite_N: np.ndarray) -> str:
    row = int(np.argmin(finite_N))
    of_row = part[row][~np.isfinite(part[row])]
    fix = "fill it in, or leave the row out"
    return f"{name}: row {first + row} holds {of_row.size} numbers that are {of_row.flat[0]}: {fix}"


def _parts(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the first row, rows) through the whole array, a portion at a time."""
    for rows in blocks(len(array), array.nbytes // max(1, len(array))):
        yield rows.start, np.asarray(array[rows])
        release(array)
