"""The rate-distortion curve of a sweep, and the limit for any q of its models."""

import math

import numpy as np
import pytest

from tests.support.figures import axes_of
from tests.support.rows import run_row
from vaelab.report import rate_distortion


def point(beta, rate, distortion, log_evidence, split="test"):
    mean = {"mean": log_evidence, "stderr": 0.1}
    traded = {
        name: {"mean": value, "stderr": 0.2} for name, value in (("rate", rate), ("distortion", distortion))
    }
    return run_row(split, -23.0) | traded | {"settings": {"objective.beta": beta}, "log_evidence": mean}


ROWS = [point("4.0", 2.0, 26.0, -26.0), point("1.0", 8.0, 15.5, -23.0), point("0.25", 15.0, 12.0, -24.0)]


def test_no_q_is_below_the_best_log_evidence_of_all_models():
    assert rate_distortion.least_sum(ROWS) == 23.0
    unknown = ROWS[0] | {"log_evidence": {"mean": None, "stderr": None}}
    assert rate_distortion.least_sum([unknown, {**ROWS[0], "log_evidence": None}]) is None
    assert rate_distortion.least_sum([unknown, ROWS[2]]) == 24.0


def test_every_point_is_drawn_and_the_region_below_the_line_is_shaded(monkeypatch, tmp_path):
    axes = axes_of(monkeypatch, rate_distortion)
    rows = [*ROWS, *(point(row["settings"]["objective.beta"], 5.0, 17.0, -20.0, "train") for row in ROWS)]
    rate_distortion.plot(tmp_path / "curve.png", rows)
    assert (tmp_path / "curve.png").stat().st_size > 0
    test, train = axes
    assert (test.get_title(), train.get_title()) == ("test", "train")
    (curve,) = test.containers
    np.testing.assert_array_equal(curve.lines[0].get_xydata(), [(2.0, 26.0), (8.0, 15.5), (15.0, 12.0)])
    assert [text.get_text() for text in test.texts] == ["β = 4.0", "β = 1.0", "β = 0.25"]
    for axis, least in ((test, 23.0), (train, 20.0)):  # that of the split's own datapoints
        (line,) = (line for line in axis.lines if line.get_linestyle() == "--")
        assert np.all(line.get_ydata() >= axis.get_ylim()[0])
        np.testing.assert_allclose(line.get_xydata().sum(axis=1), least)
        (region,) = (shape for shape in axis.collections if shape.get_label().startswith("beyond it"))
        vertices = region.get_paths()[0].vertices
        # Its corners are on the line or at the lower edge, never above: nothing that can be is shaded.
        below = np.minimum(vertices.sum(axis=1) - least, vertices[:, 1] - axis.get_ylim()[0])
        assert np.all(below < 1e-6)


@pytest.mark.parametrize("smoke", [False, True])
def test_a_trial_says_so_in_the_picture(smoke, monkeypatch, tmp_path):
    axes = axes_of(monkeypatch, rate_distortion)
    rate_distortion.plot(tmp_path / "curve.png", ROWS, smoke=smoke)
    assert ("mean nothing" in axes[0].figure.get_suptitle()) is smoke


def test_the_table_has_both_and_their_sum():
    drawn = rate_distortion.table(ROWS)
    first, *_ = zip(*(column.cells for column in drawn.columns), strict=True)
    assert first == ("4.0", "test", "diagonal", "2.00 ± 0.20", "26.00 ± 0.20", "28")


@pytest.mark.parametrize("rows", [[], [run_row("test", -20.0) | {"settings": {"encoder.hidden": "10"}}]])
def test_another_sweep_has_neither(rows, tmp_path):
    rate_distortion.plot(tmp_path / "curve.png", rows)
    assert not (tmp_path / "curve.png").exists()
    assert rate_distortion.table(rows) is None
    without = {key: value for key, value in ROWS[0].items() if key != "rate"}
    assert rate_distortion.table([without]) is None


def test_a_log_evidence_that_is_not_finite_is_not_the_best():
    infinite = point("2.0", 5.0, 20.0, math.inf)
    assert rate_distortion.least_sum([infinite, ROWS[1]]) == 23.0
