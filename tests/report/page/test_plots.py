"""The plots of the page: what is drawn is as long as what it shows, and is said in words too."""

import numpy as np

from tests.support.diagnostics import stat
from tests.support.page import elements, of_class, texts
from vaelab.report.page.plots import MENTIONED, Curve, bars, columns, curves, histogram


def percent(element, name):
    return float(element.get(name).removesuffix("%"))


def test_a_bar_begins_where_the_one_before_it_ends_and_a_negative_one_goes_back():
    rows = [
        ("first", {"approximation_gap": stat(2.0), "amortization_gap": stat(1.0)}),
        ("back", {"approximation_gap": stat(2.0), "amortization_gap": stat(-0.5)}),
    ]
    tree = elements(bars("bars", rows))
    one, after, other = tree.findall(".//rect[@height='18']")[:3]
    (back,) = of_class(tree, "amortization negative")
    ends = [percent(bar, "x") + percent(bar, "width") for bar in (one, after, other, back)]
    # Positions are rounded to two decimals.
    np.testing.assert_allclose(percent(after, "x"), ends[0], atol=0.02)
    np.testing.assert_allclose(ends[3], ends[2], atol=0.02)
    nat = percent(after, "width")
    np.testing.assert_allclose([percent(one, "width"), percent(back, "width")], [2 * nat, nat / 2], atol=0.03)
    assert texts(tree, "desc") == [
        "first, approximation 2, amortization 1; back, approximation 2, amortization -0.5."
    ]
    assert texts(tree, "tspan") == ["  2.0000 + 1.0000", "  2.0000 + -0.5000"]


def test_what_is_not_finite_has_no_bar_and_many_are_not_all_read_out():
    rows = [(f"row {n}", {"approximation_gap": {"mean": None, "stderr": None}}) for n in range(MENTIONED + 3)]
    tree = elements(bars("bars", rows))
    assert not tree.findall(".//rect")
    (said,) = texts(tree, "desc")
    assert said.endswith(f"row {MENTIONED - 1}; 3 more in the table.")


def test_no_line_of_the_axis_crosses_the_label_of_a_bar():
    gaps = {"approximation_gap": stat(2.0), "amortization_gap": stat(1.0)}
    tree = elements(bars("bars", [(f"row {n}", gaps) for n in range(3)]))
    baselines = [float(text.get("y")) for text in tree.iter("text") if text.find("tspan") is not None]
    lines = [line for kind in ("grid", "zero") for line in of_class(tree, kind)]
    assert len(baselines) == 3
    assert len(lines) >= 9
    for line in lines:
        top, bottom = (float(line.get(name)) for name in ("y1", "y2"))
        assert not any(top < baseline + 3 and baseline - 9 < bottom for baseline in baselines)


def test_the_labels_of_a_vertical_axis_are_left_of_the_columns():
    tree = elements(columns("c", "title", [stat(0.2), stat(0.4)], ["unused"] * 2, "axis"))
    assert tree[0].get("class") == "plot gutter"
    labels = [text for text in tree.iter("text") if text.get("text-anchor") == "end"]
    assert labels[0].text == "0.0"
    assert all(float(label.get("x")) < 0.0 for label in labels)


def test_a_histogram_counts_every_datapoint_or_says_which_it_leaves_out():
    values_N = np.concatenate([np.arange(101.0), [np.nan, np.inf, 1e6]])
    drawn, missing = histogram("h", "test, full", "amortization", values_N)
    tree = elements(drawn)
    assert missing == "2 not finite; 1 too far out to be drawn, at 1e+06"
    assert texts(tree, "desc") == ["101 datapoints, quartiles 25, 50 and 75 nats."]
    assert "median 50" in texts(tree, "text")
    heights = np.array([float(bar.get("height")) for bar in of_class(tree, "amortization")])
    # Ten bins of ten values; the last has both its ends, and it is the highest.
    np.testing.assert_allclose(heights, heights[-1] * np.array([10.0] * 9 + [11.0]) / 11.0, atol=0.02)


def test_a_histogram_of_nothing_finite_says_so():
    drawn, missing = histogram("h", "test, full", "amortization", np.full(3, np.nan))
    assert missing == "3 not finite"
    assert texts(elements(drawn), "desc") == ["0 datapoints."]


def test_a_curve_has_its_points_and_errors_and_none_where_it_is_not_finite():
    step_N, value_N = np.array([0.0, 50.0, 100.0]), np.array([-3.0, np.nan, -1.0])
    validation = Curve("validation_elbo", "validation", step_N, value_N, np.full(3, 0.5))
    training = Curve("elbo", "training", step_N, np.array([-4.0, -3.0, -2.0]))
    tree = elements(curves("c", "refit", [training, validation]))
    points = of_class(tree, "validation")
    assert [point.tag for point in points] == ["circle", "circle"]
    low, high = (float(point.get("cy")) for point in points)
    assert high < low  # upwards
    for point, whisker in zip(points, of_class(tree, "whisker"), strict=True):
        ends = [float(whisker.get(name)) for name in ("y1", "y2")]
        np.testing.assert_allclose(np.mean(ends), float(point.get("cy")), atol=0.02)
        np.testing.assert_allclose(ends[0] - ends[1], (low - high) / 2, atol=0.04)  # of 1 nat in 2
    assert [line.get("points").count(",") for line in of_class(tree, "curve training")] == [3]
    assert texts(tree, "desc") == ["elbo at 3 steps, validation_elbo at 3 steps."]


def test_columns_are_as_high_as_what_they_show():
    drawn = columns("c", "title", [stat(0.2), stat(-0.1), stat(0.4), stat(np.nan)], ["unused"] * 4, "axis")
    heights = [float(part.split('"')[0]) for part in drawn.split('height="')[1:] if 'class="unused"' in part]
    assert len(heights) == 3
    np.testing.assert_allclose(np.array(heights) / heights[2], [0.5, 0.25, 1.0], atol=0.01)
