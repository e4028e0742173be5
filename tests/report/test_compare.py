"""Runs side by side: below each what it has more than the first, with the error of the difference."""

import csv
import io
import math

import numpy as np

from tests.support.diagnostics import stat
from tests.support.figures import axes_of
from vaelab.report import compare
from vaelab.report.quantities import COMPARED


def lead(mean, half_width=0.5, *, paired=True, over="50 datapoints"):
    return {**stat(mean, 0.25), "half_width": half_width, "paired": paired, "over": over}


def row(run, values, leads=None):
    less = None if leads is None else dict(zip(COMPARED, leads, strict=True))
    of_run = dict(zip(COMPARED, values, strict=True))
    return {"split": "test", "family": "full", "run": run, "smoke": False, **of_run, "less_first": less}


def without_encoder(value):
    """elbo_amortized and amortization_gap are None."""
    return [None if name in ("elbo_amortized", "amortization_gap") else value for name in COMPARED]


ROWS = [
    row("first", [stat(-9.0, 0.25)] * 5),
    row("better", [stat(-8.0, 0.25)] * 5, [lead(1.0)] * 5),
    row("unpaired", [stat(-9.5, 0.25)] * 5, [lead(-0.5, paired=False, over="both means")] * 5),
    row("no encoder", without_encoder(stat(-9.0, 0.25)), without_encoder(lead(0.0))),
]


def test_below_a_run_is_what_it_has_more_with_a_sign_and_a_mark_where_unpaired():
    table = compare.table(ROWS)
    lines = list(zip(*(column.cells for column in table.columns), strict=True))
    assert lines[0] == ("test", "full", "first", *["-9.00 ± 0.25"] * 5)
    assert lines[2] == ("", "", "less the first, over 50 datapoints", *["+1.00 ± 0.50"] * 5)
    assert lines[4] == ("", "", "less the first, over both means", *["~-0.50 ± 0.50"] * 5)
    assert lines[6][3:] == tuple("-" if value is None else "+0.00 ± 0.50" for value in without_encoder(0))
    assert len(lines) == 7


def test_a_difference_that_is_not_finite_has_no_sign():
    rows = [ROWS[0], row("damaged", [stat(math.nan)] * 5, [lead(math.nan)] * 5)]
    table = compare.table(rows)
    assert [list(column.cells)[2] for column in table.columns][3:] == ["not finite"] * 5


def test_the_file_has_a_line_for_each_row_with_its_values_under_their_names():
    table = list(csv.DictReader(io.StringIO(compare.to_csv(ROWS).decode())))
    assert [line["run"] for line in table] == ["first", "better", "unpaired", "no encoder"]
    for name in COMPARED:
        assert table[0][name] == "-9.0"
        assert table[0][f"{name}_less_first"] == ""
        assert table[1][f"{name}_less_first"] == "1.0"
        assert table[1][f"{name}_less_first_stderr"] == "0.25"
        assert [line[f"{name}_less_first_paired"] for line in table[1:3]] == ["True", "False"]
    assert (table[3]["elbo_amortized"], table[3]["elbo_amortized_less_first"]) == ("", "")
    assert table[3]["elbo_optimal_less_first"] == "0.0"


def test_a_bar_is_an_interval_and_a_difference_that_is_not_finite_has_none(tmp_path, monkeypatch):
    axes = axes_of(monkeypatch, compare)
    leads = [lead(1.0), lead(math.nan), lead(-2.0, math.inf), lead(3.0, paired=False), None]
    compare.plot(tmp_path / "compare.png", [ROWS[0], row("other", [stat(-9.0)] * 5, leads)])
    (axis,) = axes
    bars = [container.lines for container in axis.containers]
    assert [line.get_xdata()[0] for line, _, _ in bars] == [1.0, -2.0, 3.0]
    ends = [segments.get_segments()[0][:, 0] for _, _, (segments,) in bars]
    np.testing.assert_allclose(ends, [[0.5, 1.5], [-2.0, -2.0], [2.5, 3.5]])
    assert [line.get_marker() for line, _, _ in bars] == ["o", "o", "s"]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(COMPARED.values())
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["other"]
