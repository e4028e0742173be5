"""The bound against time: a table of plain numbers, and a plot with the encoder at 0."""

import numpy as np

from tests.support.figures import axes_of
from vaelab.report import time

ROWS = [
    {
        "start": start,
        "num_steps": steps,
        "milliseconds": milliseconds,
        "elbo": {"mean": gained - 90.0, "stderr": 0.25},
        "gained": {"mean": gained, "stderr": 0.125},
    }
    for start, steps, milliseconds, gained in (
        ("encoder", 0, 0.5, 0.0),
        ("encoder", 10, 2.0, 1.5),
        ("prior", 10, 1.0, -40.0),
        ("prior", 100, 8.0, 2.0),
    )
]


def test_a_row_of_the_table_has_both_bounds_with_their_errors():
    assert time.flat(ROWS)[1] == {
        "start": "encoder",
        "steps": 10,
        "ms a datapoint": 2.0,
        "elbo": -88.5,
        "elbo ±": 0.25,
        "gained": 1.5,
        "gained ±": 0.125,
    }
    assert len(time.flat(ROWS)) == 4


def test_each_start_is_a_line_in_time_and_the_worst_of_them_is_in_sight(tmp_path, monkeypatch):
    axes = axes_of(monkeypatch, time)
    time.plot(tmp_path / "time.png", ROWS)
    (axis,) = axes
    handles, labels = axis.get_legend_handles_labels()
    points = dict(zip(labels, handles, strict=True))
    for start in ("encoder", "prior"):
        line = points[f"steps from the {start}"][0]
        of_start = [row for row in ROWS if row["start"] == start]
        np.testing.assert_array_equal(line.get_xdata(), [row["milliseconds"] for row in of_start])
        np.testing.assert_array_equal(line.get_ydata(), [row["gained"]["mean"] for row in of_start])
    encoder = points["the encoder alone"]
    assert (encoder.get_xdata()[0], encoder.get_ydata()[0]) == (0.5, 0.0)
    assert axis.get_ylim()[0] < -40.125
    assert (tmp_path / "time.png").stat().st_size > 1000
