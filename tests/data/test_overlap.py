"""Splits that share examples are refused, and data of few values are not."""

import numpy as np
import pytest

from vaelab import data
from vaelab.data import overlap

RANDOM = np.random.RandomState(0)


def test_data_of_few_values_repeat_without_an_overlap():
    """Rows of 3 bits: 8 different ones, so that every test row is in train too, by right."""
    bits = RANDOM.randint(0, 2, (400, 3)).astype(np.uint8)
    data.from_arrays(bits[:300], test=bits[300:])
    # One example in 20 is there twice: what is in both splits then is no overlap.
    once = RANDOM.standard_normal((4000, 5))
    rows = np.concatenate([once, once[:200]])[RANDOM.permutation(4200)]
    overlap.check_overlap({"train": rows[:3500], "test": rows[3500:]})


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint8])
def test_what_two_splits_share_is_counted(kind):
    rows = (200 * RANDOM.uniform(size=(300, 6))).astype(kind)
    overlap.check_overlap({"train": rows[:200], "test": rows[200:]})
    shared = {"train": rows[:200], "validation": rows[200:], "test": np.concatenate([rows[:9], rows[90:100]])}
    with pytest.raises(data.DataError, match=r"^19 of the 19 test examples are in train too"):
        overlap.check_overlap(shared)


def test_a_permutation_of_a_row_is_another_example():
    rows = np.random.default_rng(0).permuted(np.tile(np.arange(32.0), (100, 1)), axis=1)
    overlap.check_overlap({"train": rows[:50], "test": rows[50:]})


def test_what_is_shared_or_repeated_without_being_an_overlap_is_said():
    rows = RANDOM.standard_normal((400, 5))
    test = np.concatenate([rows[:2], rows[300:]])
    assert overlap.check_overlap({"train": rows[:300], "test": test}) == (
        "2 of the 102 test examples are in train too",
    )
    assert overlap.check_overlap({"train": rows[:300], "test": rows[300:]}) == ()
    assert overlap.check_overlap({"train": rows}) == ()
    twice = np.concatenate([rows, rows[:7]])
    assert data.from_arrays(twice).notes == (
        "7 of the 407 examples repeat others: splits drawn from them may share some",
    )
