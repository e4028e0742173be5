"""What the numbers of an array are taken for."""

import numpy as np
import pytest

from tests.support.files import GREY, whole
from vaelab import data
from vaelab.data.values import values_of


@pytest.mark.parametrize(
    ("array", "max_value", "pixels"),
    [
        (GREY, 255, GREY),
        (GREY.astype(np.int64), 255, GREY),
        (GREY > 99, 1, GREY > 99),
        ((GREY > 99).astype(np.float64), 1, GREY > 99),
        (GREY / np.float32(255), 255, GREY),
        (GREY.reshape(60, -1) / 255, 255, GREY),
        (GREY / 256, data.REAL, (GREY / 256).astype(np.float32)),
    ],
)
def test_levels_are_levels_however_they_are_stored(array, max_value, pixels):
    dataset = data.from_arrays(array)
    assert dataset.max_value == max_value
    np.testing.assert_array_equal(whole(dataset)[0], pixels.reshape(60, -1))


def test_few_levels_are_named_and_taken_as_said():
    dark = (GREY // 16).astype(np.uint8)
    assert data.from_arrays(dark).max_value == 255
    assert "if 15 is the largest there is, say so by max_value=15" in data.from_arrays(dark).notes[0]
    said = data.from_arrays(dark.astype(float), max_value=15)
    assert (said.max_value, said.notes) == (15, ())
    np.testing.assert_array_equal(whole(said)[0], dark.reshape(60, -1))


def test_levels_and_their_largest_are_those_of_all_arrays_together():
    """0 and 1 in one split are levels of 255 where another split has more."""
    bits, bytes_ = np.array([[0, 1]], np.uint8), np.array([[3, 200]], np.uint8)
    assert values_of({"train": bits}).max_value == 1
    assert values_of({"train": bits, "test": bytes_})[1:] == (np.uint8, 255, ())
    assert values_of({"train": bits.astype(float), "test": bytes_ / 7}).max_value == data.REAL


def test_255ths_are_their_levels_and_what_is_off_by_more_than_rounding_is_not():
    levels = np.arange(256, dtype=np.uint8).reshape(2, 128)
    in_255ths = values_of({"x": levels / np.float32(255)})
    np.testing.assert_array_equal(in_255ths.convert(levels / np.float32(255)), levels)
    assert "255ths" in in_255ths.notes[0]
    shifted = levels / 255.0
    shifted[0, 5] += 0.01 / 255  # ten times what is near
    assert values_of({"x": shifted}).max_value == data.REAL
    assert values_of({"x": levels / 255.0 * 2}).max_value == data.REAL  # beyond 1


@pytest.mark.parametrize(
    ("array", "max_value", "says"),
    [
        (np.array([["a", "b"]]), 0, "x holds text, not numbers"),
        (np.array([[0.5, 2.0]]), 3, "max_value=3: is for levels, and the numbers are not whole"),
        (np.array([[0.0, np.nan], [np.nan, np.nan]]), 0, "x: row 0 holds 1 numbers that are nan"),
        (np.array([[0, 300]]), 0, "integers from 0 to 300 are no levels in 0..255: give floats"),
        (np.array([[0, 9]]), 8, "are no levels in 0..8; give the largest level"),
        (np.array([[0, 9]]), -1, "max_value=-1: levels lie in 0..255"),
    ],
)
def test_numbers_that_can_be_neither(array, max_value, says):
    with pytest.raises(data.DataError) as caught:
        values_of({"x": array}, max_value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_digits_that_float32_does_not_hold_are_not_lost_without_a_word():
    """Near 1e7 float32 has steps of 1."""
    x = np.random.RandomState(0).standard_normal((40, 3))
    far = x + np.array([0.0, 1e7, 0.0])
    with pytest.raises(data.DataError, match=r"^x\[:, 1\] goes from 9999998.* subtract its mean from it$"):
        values_of({"x": far})
    assert values_of({"x": far.astype(np.float32)}).notes != ()  # these are the numbers that there are
    exact = values_of({"x": np.rint(x * 2) + np.array([0.0, 2.0**23, 0.5])})
    assert exact.max_value == data.REAL


def test_numbers_that_never_vary_or_are_not_of_the_order_of_1_are_named():
    x = np.random.RandomState(0).standard_normal((40, 3)).astype(np.float32)
    assert values_of({"x": x}).notes == ()
    (note,) = values_of({"x": x * np.float32([1.0, 0.0, 1.0])}).notes
    assert note.startswith("1 of the 3 numbers of an example are the same in all, as x[:, 1] = 0:")
    # All arrays together: a number may be the same within one split.
    assert values_of({"train": x * np.float32([1, 0, 1]), "test": x}).notes == ()
    for scale, named in ((1e5, 2), (1e-5, 2)):
        (note,) = values_of({"x": x * np.float32([1.0, 1.0, scale])}).notes
        assert note.startswith(f"x[:, {named}] goes from ")
        assert note.endswith("scale it")
