"""Cells and remarks of the tables."""

import math

import pytest

from vaelab.report import cell, remarks


@pytest.mark.parametrize(
    ("statistic", "said"),
    [
        ({"mean": 1.23456, "stderr": 0.0123}, "1.235 ± 0.012"),
        ({"mean": None, "stderr": None}, "not finite"),
        ({"mean": -math.inf, "stderr": math.nan}, "-inf"),
        ({"mean": 0.5, "stderr": None}, "0.5000 ± unknown"),
        (None, "-"),
    ],
)
def test_a_cell_never_says_nan(statistic, said):
    assert cell(statistic) == said


def test_remarks_say_what_they_are_about_and_each_once():
    rows = [
        {"split": "test", "notes": ["several modes: two"], "broken_orders": ["a exceeds b"]},
        {"split": "test", "notes": ["several modes: two"], "broken_orders": []},
    ]
    assert remarks(rows) == ["test: several modes: two", "order broken on test: a exceeds b"]
