"""The plots of a run: bars from log p(x) down, the part of datapoints below a gap, pictures in rows."""

import numpy as np
import pytest

from tests.report.page.test_gallery import pictures
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


@pytest.mark.parametrize("colours", [(), (3,)])
def test_a_strip_is_a_row_of_its_images_apart_from_each_other(colours, axes, tmp_path):
    first = np.random.default_rng(0).random((2, 2, 3, *colours))
    second = np.zeros((2, 2, 3, *colours))
    second[0, 0, 0], second[1, 1, 1] = np.nan, 7.0
    plots.plot_images(tmp_path / "images.png", {"data": first, "by q*": second}, ("a", "b"))
    (axis,) = axes
    (image,) = axis.images
    pixels = np.asarray(image.get_array())
    assert pixels.shape == (2 * (2 + 2), 2 * (3 + 2), *colours)
    np.testing.assert_array_equal(pixels[1:3, 1:4], first[0])
    np.testing.assert_array_equal(pixels[1:3, 6:9], first[1])
    wanted = np.zeros((2, 3, *colours))
    np.testing.assert_array_equal(pixels[5:7, 1:4], wanted)  # what is no number is black
    wanted[1, 1] = 1.0
    np.testing.assert_array_equal(pixels[5:7, 6:9], wanted)
    np.testing.assert_array_equal(pixels[[0, 3, 4, 7]], 0.5)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["data", "by q*"]
    assert list(axis.get_yticks()) == [2.0, 6.0]  # the middle of each row
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b"]
    assert list(axis.get_xticks()) == [2.5, 7.5]


def test_pictures_are_three_files_and_what_is_not_there_is_none(axes, tmp_path):
    plots.plot_pictures(tmp_path, pictures())
    names = ("images.png", "interpolation.png", "traversals.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    rows = [[label.get_text() for label in axis.get_yticklabels()] for axis in axes]
    assert rows == [["test data", "by the encoder", "by q*", "from the prior"], ["7 to 8"], ["z3", "z1"]]
    columns = [[label.get_text() for label in axis.get_xticklabels()] for axis in axes]
    assert columns[0] == []
    assert columns[1] == ["data", "centre of q", *[""] * 6, "centre of q", "data"]
    assert (columns[2][0], columns[2][4], columns[2][-1]) == ("-2 sd", "mean", "+2 sd")
    other = tmp_path / "other"
    other.mkdir()
    plots.plot_pictures(other, pictures(units=())._replace(paths={}))
    assert [path.name for path in other.iterdir()] == ["images.png"]
