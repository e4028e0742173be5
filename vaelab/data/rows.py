"""Examples that are read as they are needed: an array on the disk takes no memory but that of a batch."""

import mmap
from collections.abc import Callable
from typing import Any

import numpy as np

PORTION_BYTES = 2**24  # what is read at a time
EXTENT_BYTES, EXTENTS = 2**21, 16  # of a mapped file as much may be resident, and what touches it


class Rows:
    """[N, D] of which only the rows that are asked for exist as an array.

    read(rows_M) -> [M, D]: these rows, of this dtype. `rows[a:b]`, `rows[rows_M]` and np.asarray give arrays.
    """

    def __init__(self, read: Callable[[np.ndarray], np.ndarray], shape: tuple[int, int], dtype: Any):
        self._read, self.shape, self.dtype = read, shape, np.dtype(dtype)

    ndim = 2

    @property
    def nbytes(self) -> int:
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        rows_M = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        result_MxD = np.empty((len(rows_M), self.shape[1]), self.dtype)
        step = max(1, PORTION_BYTES // max(1, self.shape[1] * self.dtype.itemsize))
        for start in range(0, len(rows_M), step):
            result_MxD[start : start + step] = self._read(rows_M[start : start + step])
        return result_MxD

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def first(self, count: int) -> "Rows":
        """The first ones, still unread."""
        return Rows(self._read, (count, self.shape[1]), self.dtype)

    def take(self, rows_M: np.ndarray) -> "Rows":
        """These rows of it, still unread."""
        return Rows(lambda rows: self._read(rows_M[rows]), (len(rows_M), self.shape[1]), self.dtype)


Examples = np.ndarray | Rows
"""x of N examples, [N, D], in memory or not."""


def rows_of(array: np.ndarray, convert: Callable[[np.ndarray], np.ndarray], *, size: int, dtype: Any) -> Rows:
    """The rows of an array of any shape [N, ...], each made into `size` numbers by convert([M, ...])."""

    row_bytes = array.nbytes // max(1, len(array))

    def read(rows_M: np.ndarray) -> np.ndarray:
        # In the order in which they lie, as a disk reads them best.
        order_M = np.argsort(rows_M, kind="stable")
        part = np.empty((len(rows_M), *array.shape[1:]), array.dtype)
        for group in _groups(rows_M[order_M], row_bytes):
            part[order_M[group]] = array[rows_M[order_M[group]]]
            release(array)
        return convert(part).reshape(len(rows_M), size)

    return Rows(read, (len(array), size), dtype)


def _groups(rows_M: np.ndarray, row_bytes: int) -> list[np.ndarray]:
    """Positions in rows_M, ascending rows of a file, in groups from EXTENTS of its extents at most.

    Where the system keeps a file in large pages, the touch of one byte makes all of its page resident.
    """
    extent_M = rows_M * row_bytes // EXTENT_BYTES
    count_M = np.cumsum(np.diff(extent_M, prepend=extent_M[:1]) > 0)
    return np.split(np.arange(len(rows_M)), np.flatnonzero(np.diff(count_M // EXTENTS)) + 1)


def blocks(count: int, row_bytes: int) -> list[slice]:
    """Slices of at most PORTION_BYTES each that go through `count` rows."""
    step = max(1, PORTION_BYTES // max(1, row_bytes))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def release(array: np.ndarray) -> None:
    """Lets the pages of a mapped file go from this process; the system keeps them while it has room."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
