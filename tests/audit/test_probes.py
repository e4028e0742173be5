"""The datapoints that are tried, and how a line names datapoints and numbers."""

import jax
import numpy as np
import pytest

from vaelab.audit.given import AuditError
from vaelab.audit.probes import PROBES, check_not_single, datapoint, first_of, probed, some


@pytest.mark.parametrize("count", [1, 2, PROBES, PROBES + 1, 1000])
def test_the_first_and_the_last_datapoint_are_among_those_that_are_tried(count):
    rows = probed(count)
    assert len(rows) == len(set(rows)) == min(count, PROBES)
    assert (rows[0], rows[-1]) == (0, count - 1)


def test_a_datapoint_is_a_row_of_every_array():
    one = datapoint({"a": np.arange(6.0).reshape(3, 2), "b": np.arange(3)}, 1)
    assert isinstance(one["a"], jax.Array)
    np.testing.assert_array_equal(one["a"], [2.0, 3.0])
    assert one["b"] == 1


def test_a_line_says_how_many_and_which_is_first():
    bad_N = np.arange(2000) % 2 == 1
    bad_N[1] = False
    assert first_of(bad_N) == "999 of 2,000 datapoints, index 3 first"
    assert some(np.array([1.23456, -2.0])) == "[ 1.235 -2.   ]"
    assert some(np.arange(100.0)).count(".") == 4 + 3  # two at each end, and dots between
    assert "\n" not in some(np.arange(100.0))


def test_x_is_one_datapoint_where_a_function_takes_it_for_one():
    x = {"a": np.zeros((2, 3), np.float32), "b": np.zeros(2, np.int32)}
    with pytest.raises(AuditError, match=r"take float32\[2,3\], int32\[2\] for a single one: give x\[None\]"):
        check_not_single(x, lambda x: x["a"].shape == (2, 3))
    check_not_single(x, lambda x: False)

    def broken(x):
        raise KeyError("a")

    check_not_single(x, broken)
