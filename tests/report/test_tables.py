"""Cells and remarks of the tables."""

import copy
import math

import pytest

from tests.support.diagnostics import stat
from tests.support.page import given
from vaelab.report import cell, gap_table, remarks


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


def test_the_table_counts_units_and_bits_where_there_are_any():
    rows = given()["rows"]

    def labels(rows):
        return list(gap_table(rows).columns[0].cells)

    for row in rows:
        row |= {"num_unconverged": 0, "certificate": "bound", "num_negative": 0}
        row |= {"decoder_evaluations_per_point": 1}
    assert labels(rows)[-3:] == ["active units", r"bits/dim, L\[q_phi]", "bits/dim, log p(x)"]
    table = gap_table(rows)
    assert list(table.columns[1].cells)[-3:] == ["3 of 3, 1 undecided", "-", cell(stat(3.456))]
    bare = copy.deepcopy(rows)
    for row in bare:
        del row["diagnostics"], row["bits_per_dim"]
    assert labels(bare)[-1] == "Pareto k over 0.7"


def test_the_parts_by_level_stand_below_the_gaps_they_are_of():
    rows = given()["rows"]
    for row in rows:
        row |= {"num_unconverged": 0, "certificate": "bound", "num_negative": 0}
        row |= {"decoder_evaluations_per_point": 1}
    parts = {"num_points": 40, "within_level": stat(0.1111), "across_level": stat(0.2222)}
    rows[0]["approximation_parts"] = parts
    rows[0]["exact"] = {**rows[0], "approximation_parts": parts | {"across_level": stat(0.2345)}}
    rows[0]["diagnostics"]["by_level"] = [{"kl": stat(3.21)}, {"kl": stat(0.4)}, {"kl": None}]
    table = gap_table(rows)
    names, first, closed, other = (list(column.cells) for column in table.columns)
    at = names.index("within-level gap")
    assert names[at - 1] == "inference gap"
    assert names[at : at + 3] == ["within-level gap", "across-level gap", "non-Gaussian gap"]
    assert first[at : at + 3] == [cell(stat(0.1111)), cell(stat(0.2222)), "-"]
    assert closed[at : at + 3] == [cell(stat(0.1111)), cell(stat(0.2345)), "-"]
    assert other[at : at + 3] == ["-"] * 3
    assert first[names.index("KL by level, from x up")] == "3.21, 0.40, not finite"
    assert other[names.index("KL by level, from x up")] == "-"


def test_a_log_evidence_that_may_lack_modes_is_said_to_be_at_least_what_is_stated():
    rows = given(families=("diagonal",))["rows"]
    rows[0] |= {"num_unconverged": 0, "certificate": "bound", "num_negative": 0}
    rows[0] |= {"decoder_evaluations_per_point": 1}
    without = [str(text) for text in gap_table(rows).columns[1].cells]
    assert not any("≥" in text for text in without)
    rows[0]["modes"] = {"may_lack": True}
    labels, now = (list(gap_table(rows).columns[n].cells) for n in (0, 1))
    for before, after, label in zip(without, now, labels, strict=True):
        low = any(word in label for word in ("log p(x)", "approximation", "inference gap"))
        assert after == ("≥ " + before if low and "bits" not in label else before), label


def test_what_is_conditional_is_said_below_the_table():
    rows = given()["rows"]
    for row in rows:
        row |= {"num_unconverged": 0, "certificate": "bound", "num_negative": 0}
        row |= {"decoder_evaluations_per_point": 1, "given": "library_size"}
    assert gap_table(rows).caption.endswith("all given y, the library size: log p(x) is log p(x given y)")
    for row in rows:
        row["given"] = None
    assert "given y" not in gap_table(rows).caption
