"""The rows of a sweep: means over seeds, and what stays without one."""

import csv
import io
import math

import numpy as np
import pytest

from tests.support.rows import run_row
from vaelab.config.sweep import Point
from vaelab.measure.gap import half_width
from vaelab.report import sweep
from vaelab.runs.sweep_rows import rows_of, to_csv

POINT = Point("hidden=10", {"encoder.hidden": (10,)}, {}, ())


def test_a_row_is_the_mean_over_seeds_with_its_error_and_interval():
    (row,) = rows_of(POINT, [[run_row("test", elbo)] for elbo in (-20.0, -22.0, -27.0)])
    assert (row["settings"], row["num_seeds"]) == ({"encoder.hidden": "10"}, 3)
    # Deviations 3, 1, -4 of the mean -23: variance 26 / 2, its mean's a third of that.
    assert row["elbo_optimal"]["mean"] == pytest.approx(-23.0)
    assert row["elbo_optimal"]["stderr"] == pytest.approx(math.sqrt(13.0 / 3.0))
    # Student's t of two degrees of freedom.
    assert row["elbo_optimal"]["half_width"] == pytest.approx(4.302653 * math.sqrt(13.0 / 3.0))
    assert half_width(1.0, 3) == pytest.approx(4.302653)
    (alone,) = rows_of(POINT, [[run_row("test", -20.0)]])
    assert alone["elbo_optimal"] == {"mean": -20.0, "stderr": 0.3}


def test_rate_and_distortion_are_over_the_seeds_where_all_have_them():
    def traded(rate, distortion):
        values = {"rate": {"mean": rate, "stderr": 0.4}, "distortion": {"mean": distortion, "stderr": 0.5}}
        return run_row("test", -rate - distortion) | {"diagnostics": values}

    runs = [[traded(8.0, 15.0)], [traded(6.0, 16.0)]]
    (row,) = rows_of(POINT, runs)
    assert (row["rate"]["mean"], row["rate"]["stderr"]) == (7.0, pytest.approx(1.0))
    assert row["rate"]["mean"] + row["distortion"]["mean"] == -row["elbo_amortized"]["mean"]
    (alone,) = rows_of(POINT, runs[:1])
    assert alone["distortion"] == {"mean": 15.0, "stderr": 0.5}
    (lacking,) = rows_of(POINT, [*runs, [run_row("test", -20.0)]])
    assert "rate" not in lacking


def test_a_quantity_that_a_seed_lacks_is_none_of_the_row():
    lacking = run_row("test", -21.0) | {"amortization_gap": None}
    (row,) = rows_of(POINT, [[run_row("test", -20.0)], [lacking]])
    assert row["amortization_gap"] is None
    assert row["elbo_optimal"]["mean"] == pytest.approx(-20.5)


def test_seeds_that_failed_are_named_and_counted_in_the_table():
    lines = ["seed 0: not finite", "seed 1: not finite"]
    (row,) = rows_of(POINT, lines)
    assert (row["num_seeds"], row["failed"], row["split"]) == (0, lines, None)
    (partly,) = rows_of(POINT, [lines[0], [run_row("test", -20.0) | {"notes": ["few moves"]}]])
    assert (partly["num_seeds"], partly["failed"], partly["notes"]) == (1, lines[:1], ["few moves"])
    table = list(csv.DictReader(io.StringIO(to_csv([row, partly]).decode())))
    assert [line["num_failed"] for line in table] == ["2", "1"]
    assert [line["elbo_optimal"] for line in table] == ["", "-20.0"]
    assert [line["elbo_optimal_stderr"] for line in table] == ["", "0.3"]
    assert [line["generalization_gap"] for line in table] == ["", ""]
    assert {line["encoder.hidden"] for line in table} == {"10"}


def test_a_line_has_its_values_under_their_names_whatever_the_settings_of_others():
    other = Point("dim=3", {"model.latent_dim": 3}, {}, ())
    rows = rows_of(POINT, [[run_row("test", -20.0)]]) + rows_of(other, [[run_row("train", -21.0)]])
    table = list(csv.DictReader(io.StringIO(to_csv(rows).decode())))
    assert [(line["encoder.hidden"], line["model.latent_dim"]) for line in table] == [("10", ""), ("", "3")]
    assert [line["split"] for line in table] == ["test", "train"]
    np.testing.assert_array_equal([float(line["log_evidence"]) for line in table], [-20.0, -21.0])


def test_the_generalization_gap_is_what_test_data_lose():
    runs = [
        [run_row("train", -20.0), run_row("test", -23.0)],
        [run_row("train", -20.5), run_row("test", -24.5, broken=["b exceeds a"])],
    ]
    train_row, test_row = rows_of(POINT, runs)
    assert train_row["generalization_gap"] is None
    assert test_row["generalization_gap"]["mean"] == pytest.approx(3.5)
    assert test_row["generalization_gap"]["stderr"] == pytest.approx(0.5)
    assert (test_row["num_unconverged"], test_row["num_broken_orders"]) == (4, 2)
    (_, alone) = rows_of(POINT, runs[:1])
    # Of one seed the error is that over datapoints, of two sets of them.
    assert alone["generalization_gap"] == pytest.approx({"mean": 3.0, "stderr": math.hypot(0.3, 0.3)})
    # A table on the training data and an encoder on the test data are no generalization of one another.
    tabled = [{**runs[0][0], "amortized_by": "table"}, runs[0][1]]
    assert rows_of(POINT, [tabled])[1]["generalization_gap"] is None


def test_ends_and_datapoints_left_out_are_counted_over_the_seeds():
    """Rows of an earlier version have neither."""
    runs = [
        [run_row("test", -20.0) | {"ended": {"converged": 3, "rounds spent": 1}, "num_left_out": 2}],
        [run_row("test", -21.0) | {"ended": {"converged": 4}, "num_left_out": 1}],
    ]
    (row,) = rows_of(POINT, runs)
    assert (row["ended"], row["num_left_out"]) == ({"converged": 7, "rounds spent": 1}, 3)
    (line,) = csv.DictReader(io.StringIO(to_csv([row]).decode()))
    assert line["num_left_out"] == "3"
    (without,) = rows_of(POINT, [[run_row("test", -20.0)]])
    assert (without["ended"], without["num_left_out"]) == ({}, 0)


def test_a_point_may_lack_modes_where_a_seed_does():
    lacking, sound = run_row("test", -20.0) | {"modes": {"may_lack": True}}, run_row("test", -21.0)
    for runs, expected in (([[lacking], [sound]], True), ([[sound]], False)):
        (row,) = rows_of(POINT, runs)
        assert row["modes"]["may_lack"] is expected
        columns = sweep.table([row]).columns
        log_evidence = next(column for column in columns if column.header.startswith("log p(x)"))
        assert next(iter(log_evidence.cells)).startswith("≥ ") is expected
