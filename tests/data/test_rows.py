"""Examples that are read as they are needed."""

import math
import os
from pathlib import Path

import numpy as np
import pytest

from tests.support.files import COLOUR, load
from vaelab import data
from vaelab.data import rows

RANDOM = np.random.RandomState(0)


def test_what_is_larger_than_the_memory_given_is_the_same_read_later(tmp_path):
    np.save(tmp_path / "a.npy", np.moveaxis(COLOUR, -1, 1))
    small, large = load(tmp_path / "a.npy"), load(tmp_path / "a.npy", memory_bytes=100)
    for name, split in large.splits.items():
        assert not isinstance(split.pixels_NxD, np.ndarray)
        pixels = small.splits[name].pixels_NxD
        for part in (slice(1, 3), np.array([2, 0, 2]), slice(None)):
            np.testing.assert_array_equal(split.pixels_NxD[part], pixels[part])
    assert data.fingerprint(small) == data.fingerprint(large)


@pytest.mark.skipif(os.name != "posix", reason="madvise")
def test_reading_a_mapped_file_leaves_nothing_resident(tmp_path):
    """64 MiB are read through, in order and not, and at most a few portions stay."""
    np.save(tmp_path / "a.npy", RANDOM.randint(0, 256, (2**14, 64, 64)).astype(np.uint8))
    dataset = load(tmp_path / "a.npy", memory_bytes=1)

    def resident():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    before, train = resident(), dataset.splits["train"].pixels_NxD
    for start in range(0, len(train), 1000):
        train[start : start + 1000]
        train[RANDOM.permutation(len(train))[:500]]
    assert resident() - before < 2**24
    assert math.prod(train.shape) > 3 * 2**24


def test_rows_are_read_where_they_are_asked_for_and_nowhere_else():
    array = np.arange(24).reshape(6, 4)
    seen = []

    def read(rows_M):
        seen.append(rows_M.tolist())
        return array[rows_M]

    lazy = rows.Rows(read, (6, 4), np.int64)
    taken = lazy.take(np.array([5, 1, 3])).first(2)
    assert (len(taken), taken.shape, taken.nbytes, seen) == (2, (2, 4), 64, [])
    np.testing.assert_array_equal(taken[:], array[[5, 1]])
    np.testing.assert_array_equal(lazy[np.array([4, 0, 4])], array[[4, 0, 4]])
    assert seen == [[5, 1], [4, 0, 4]]
    assert np.asarray(lazy, np.float32).dtype == np.float32


def test_a_conversion_sees_the_rows_in_the_order_asked_for():
    array = np.arange(12).reshape(3, 2, 2)
    lazy = rows.rows_of(array, lambda part: part.sum(axis=2), size=2, dtype=np.int64)
    np.testing.assert_array_equal(lazy[np.array([2, 0, 1, 0])], [[17, 21], [1, 5], [9, 13], [1, 5]])


def test_blocks_go_through_all_rows_once_and_hold_a_portion_at_most():
    for row_bytes in (1, rows.PORTION_BYTES // 3, rows.PORTION_BYTES, 2 * rows.PORTION_BYTES):
        parts = rows.blocks(8, row_bytes)
        assert [i for part in parts for i in range(8)[part]] == list(range(8))
        most = max(part.stop - part.start for part in parts)
        assert most * row_bytes <= max(rows.PORTION_BYTES, row_bytes)
    assert len(rows.blocks(8, rows.PORTION_BYTES // 3)) == 3
