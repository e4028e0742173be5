"""The plots of a run: bars from log p(x) down, the part of datapoints below a gap, pictures in rows."""

import numpy as np
import pytest

from tests.support.diagnostics import stat
from tests.support.figures import axes_of
from vaelab.report import plots


@pytest.fixture
def axes(monkeypatch):
    return axes_of(monkeypatch, plots)


def row(family, approximation, amortization):
    return {
        "split": "test",
        "family": family,
        "approximation_gap": approximation,
        "amortization_gap": amortization,
    }


def test_bars_are_stacked_from_log_p_and_what_is_not_finite_has_none(axes, tmp_path):
    rows = [
        row("diagonal", stat(2.0), stat(0.5)),
        row("full", stat(np.nan), stat(0.25)),
        row("none", stat(1.0), None),
    ]
    arrays = {
        "test/diagonal/elbo_amortized": np.array([-5.0, -4.0, -9.0]),
        "test/diagonal/elbo_optimal": np.array([-3.0, -3.5, -8.0]),
    }
    plots.plot_gaps(tmp_path / "gaps.png", rows, arrays)
    bars, distribution = axes
    drawn = [(bar.get_y() + bar.get_height() / 2, bar.get_x(), bar.get_width()) for bar in bars.patches]
    np.testing.assert_allclose(
        drawn, [(0, 0.0, 2.0), (0, 2.0, 0.5), (1, 0.0, 0.25), (2, 0.0, 1.0)], atol=1e-12
    )
    assert [label.get_text() for label in bars.get_yticklabels()] == [
        "test, diagonal",
        "test, full",
        "test, none",
    ]
    assert bars.get_legend_handles_labels()[1] == ["approximation gap", "amortization gap"]
    (line,) = distribution.lines
    np.testing.assert_array_equal(line.get_xdata(), [0.5, 1.0, 2.0])
    np.testing.assert_allclose(line.get_ydata(), [1 / 3, 2 / 3, 1.0])
    assert line.get_label() == "test, diagonal"
    assert (tmp_path / "gaps.png").stat().st_size > 1000


def test_a_strip_is_a_row_of_its_images_apart_from_each_other(axes, tmp_path):
    first, second = np.arange(12.0).reshape(2, 6) / 12.0, np.zeros((2, 6))
    plots.plot_images(tmp_path / "images.png", {"data": first, "by q*": second}, (2, 3))
    (axis,) = axes
    (image,) = axis.images
    pixels = np.asarray(image.get_array())
    assert pixels.shape == (2 * (2 + 2), 2 * (3 + 2))
    np.testing.assert_array_equal(pixels[1:3, 1:4], first[0].reshape(2, 3))
    np.testing.assert_array_equal(pixels[1:3, 6:9], first[1].reshape(2, 3))
    np.testing.assert_array_equal(pixels[5:7, 1:4], np.zeros((2, 3)))
    np.testing.assert_array_equal(pixels[[0, 3, 4, 7]], 0.5)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["data", "by q*"]
    assert list(axis.get_yticks()) == [2.0, 6.0]  # the middle of each row
