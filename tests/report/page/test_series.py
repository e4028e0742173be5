"""Curves along a setting and heat maps over two: places are true, and what is drawn is read out."""

import numpy as np
import pytest

from tests.support.page import elements, of_class, texts
from vaelab.report.page import series


@pytest.mark.parametrize(
    ("values", "kind", "place_N"),
    [
        (["2", "5", "10"], "linear", [2, 5, 10]),
        (["2", "5", "10", "20", "40"], "logarithmic", np.log([2, 5, 10, 20, 40])),
        (["0", "100", "1"], "linear", [0, 100, 1]),
        (["200x200", "none", "10"], "names", [0, 1, 2]),
        (["nan", "1", "2"], "names", [0, 1, 2]),
        (["3", "3"], "names", [0, 0]),
    ],
)
def test_an_axis_is_true_to_the_distances_of_numbers(values, kind, place_N):
    axis = series.axis_of(values)
    assert axis.kind == kind
    np.testing.assert_allclose(axis.place_N, place_N)


def test_points_are_where_their_numbers_are_and_intervals_as_long():
    axis = series.axis_of(["2", "4", "10"])
    line = series.Line("amortization", [1.0, 2.0, np.nan], [0.25, np.nan, 0.1])
    tree = elements(series.curves("name", "a title", axis, ["2", "4", "10"], "latent_dim", [line]))
    points = [c for c in of_class(tree, "amortization") if c.tag == "circle"]
    assert len(points) == 2  # what is not finite is not drawn
    (x2, y1), (x4, y2) = [(float(c.get("cx").rstrip("%")), float(c.get("cy"))) for c in points]
    span = 10.0 - 2.0 + 2 * 0.04 * 8.0
    assert x4 - x2 == pytest.approx(97.0 * 2.0 / span, abs=0.05)
    (interval,) = of_class(tree, "whisker")
    assert float(interval.get("y1")) - float(interval.get("y2")) == pytest.approx(
        (y1 - y2) * 2 * 0.25 / 1.0, abs=0.05
    )
    assert {"2", "4", "10", "latent_dim"} <= set(texts(tree, "text"))
    assert texts(tree, "desc")[0].startswith("amortization: 2 1, 4 2, 10 nan")


def test_labels_that_would_lie_on_others_are_left_out():
    values = [str(1000 + n) for n in range(60)]
    line = series.Line("amortization", [1.0] * 60, [0.1] * 60)
    tree = elements(series.curves("name", "t", series.axis_of(values), values, "steps", [line]))
    shown = [text for text in texts(tree, "text") if text in values]
    assert 3 < len(shown) < 14


def test_a_heat_map_is_darker_where_the_value_is_greater_and_has_each_in_numbers():
    value_RxC = np.array([[0.0, 1.0], [4.0, np.nan]])
    drawn = series.heat_map("m", "t", ("beta", ["1", "2"]), ("dim", ["5", "10"]), value_RxC, "amortization")
    shades = [int(box.get("class").rpartition("-")[2]) for box in elements(drawn).iter("rect")]
    assert shades == [0, 2, 8, 0]
    assert {"0", "1", "4", "-", "amortization gap: beta downwards, dim across"} <= set(
        texts(elements(drawn), "text")
    )
