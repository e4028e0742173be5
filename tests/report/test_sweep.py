"""The table and the plot of a sweep."""

import math

import numpy as np
import pytest

from tests.support.figures import axes_of
from tests.support.rows import run_row
from vaelab.report import cell, sweep


def swept(split="test", num_seeds=2, **changes):
    made = run_row(split, -20.0) | {"num_seeds": num_seeds, "failed": [], "generalization_gap": None}
    return {**made, "settings": {"encoder.hidden": "10"}, **changes}


def lines(table):
    return [list(column) for column in zip(*(column.cells for column in table.columns), strict=True)]


def test_a_line_has_the_settings_that_differ_and_counts_the_fits_of_all_seeds():
    settings = {"encoder.hidden": "10", "model.latent_dim": "3", "decoder.hidden": "10"}
    rows = [
        swept(settings=settings, amortized_by=None, num_unconverged=1234),
        swept(settings=settings | {"encoder.hidden": "20", "decoder.hidden": "20"}),
    ]
    table = sweep.table(rows)
    heads = [column.header for column in table.columns]
    assert heads[:5] == ["hidden", "latent_dim", "split", "family", "phi from"]  # one hidden says both
    first, second = lines(table)
    assert first[:5] == ["10", "3", "test", "diagonal", "-"]
    assert first[heads.index("not converged")] == "1,234 of 18"
    assert second[0] == "20"
    assert first[heads.index("log p(x) >=")] == cell(rows[0]["log_evidence"]) == "-20.00 ± 0.30"
    assert first[heads.index("generalization gap")] == "-"


def test_the_caption_says_what_the_errors_are_over():
    assert sweep.table([swept()]).caption.endswith(
        "over 2 seeds; 95% intervals are ± 12.7 of it (Student's t)"
    )
    assert "± 2.78 of it" in sweep.table([swept(num_seeds=5)]).caption
    assert sweep.table([swept(num_seeds=1)]).caption.endswith("over the datapoints of one seed")
    assert "mean nothing" in sweep.table([swept()], smoke=True).caption


def test_a_point_without_a_seed_is_said_to_have_none():
    nothing = {"settings": {"encoder.hidden": "20"}, "num_seeds": 0, "failed": ["a"], "split": None}
    first, second = lines(sweep.table([swept(), {**nothing, "family": None}]))
    assert second[:2] == ["20", "no seed came to its end"]
    assert first[1] == "test"


def test_a_line_breaks_at_a_point_without_the_gap(tmp_path, monkeypatch):
    rows = [swept(settings={"model.latent_dim": str(n)}) for n in range(3)]
    rows[1] |= {"amortization_gap": None, "approximation_gap": {"mean": 3.0, "stderr": 0.5}}
    axes = axes_of(monkeypatch, sweep)
    sweep.plot(tmp_path / "sweep.png", rows)
    (axis,) = axes
    handles, labels = axis.get_legend_handles_labels()
    assert labels == ["amortization gap", "approximation gap", "inference gap"]  # no row generalizes
    values = {label: handle[0].get_ydata() for label, handle in zip(labels, handles, strict=True)}
    np.testing.assert_array_equal(values["amortization gap"], [-20.0, math.nan, -20.0])
    np.testing.assert_array_equal(values["approximation gap"], [-20.0, 3.0, -20.0])
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "1", "2"]
    assert (tmp_path / "sweep.png").stat().st_size > 1000


def test_without_a_row_that_came_to_its_end_nothing_is_drawn(tmp_path):
    sweep.plot(tmp_path / "sweep.png", [{"settings": {}, "num_seeds": 0}])
    assert not (tmp_path / "sweep.png").exists()


@pytest.mark.parametrize(("varied", "columns"), [(True, 2), (False, 4)])
def test_a_varied_family_is_one_line_of_points_and_not_a_panel_each(varied, columns, tmp_path, monkeypatch):
    rows = []
    for family in ("diagonal", "full"):
        for split in ("train", "test"):
            row = {**run_row(split, -20.0), "family": family, "num_seeds": 2, "failed": []}
            settings = {"posterior.family": family, "inference.families": family}
            rows.append({**row, "settings": settings if varied else {"model.latent_dim": "2"}})
    axes = axes_of(monkeypatch, sweep)
    sweep.plot(tmp_path / "sweep.png", [{**row, "generalization_gap": None} for row in rows])
    assert len(axes) == columns
    # What says the same as another setting is left out.
    assert sweep.varied_settings(rows) == ["posterior.family" if varied else "model.latent_dim"]
