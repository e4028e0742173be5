"""Scales, ticks and lines of the plots."""

import numpy as np
import pytest

from tests.support.page import elements, texts
from vaelab.report.page.svg import Scale, horizontal_axis, line, plot, span, square, ticks, whisker


def test_a_scale_is_linear_in_either_direction():
    assert [Scale(-1.0, 3.0, 0.0, 100.0)(value) for value in (-1.0, 0.0, 3.0)] == [0.0, 25.0, 100.0]
    assert [Scale(0.0, 2.0, 90.0, 10.0)(value) for value in (0.0, 0.5, 2.0)] == [90.0, 70.0, 10.0]
    assert Scale(0.0, 3.0, 0.0, 100.0).across(1.0) == "33.33%"


@pytest.mark.parametrize(
    ("values", "margin", "wanted"),
    [
        ([3.0, np.nan, -1.0, np.inf], 0.0, (-1.0, 3.0)),
        ([[0.0, 10.0], [5.0, 5.0]], 0.1, (-1.0, 11.0)),
        ([2.0, 2.0], 0.0, (1.5, 2.5)),  # apart, or a scale divides by 0
        ([], 0.0, (0.0, 1.0)),
        ([np.nan], 0.5, (-0.5, 1.5)),
    ],
)
def test_a_span_is_that_of_the_finite_values_and_never_empty(values, margin, wanted):
    assert span(values, margin=margin) == wanted


def test_ticks_are_round_numbers_within_the_range():
    assert [text for _, text in ticks(0.0, 4000.0)] == ["0", "1,000", "2,000", "3,000", "4,000"]
    assert [text for _, text in ticks(-0.024, 0.031)] == ["-0.02", "0.00", "0.02"]
    rng = np.random.default_rng(0)
    for low, width in zip(rng.normal(size=50) * 100, 10.0 ** rng.uniform(-4, 4, 50), strict=True):
        made = ticks(low, low + width)
        values = np.array([value for value, _ in made])
        # Steps of 1, 2 or 5 times a power of ten are a quarter of the range at least, five eighths at most.
        assert 1 <= len(made) <= 5
        assert values.min() >= low - 1e-6 * width
        assert values.max() <= low + 1.000001 * width
        assert len({text for _, text in made}) == len(made)
        np.testing.assert_allclose([float(text.replace(",", "")) for _, text in made], values, atol=1e-9)


def test_the_labels_of_an_axis_stand_at_their_values_and_inside():
    tree = elements(horizontal_axis(Scale(0.0, 10.0, 0.0, 100.0), 5, 80, "nats"))
    labels = {label.text: (label.get("x"), label.get("text-anchor")) for label in tree.iter("text")}
    assert labels.pop("nats") == ("0", None)
    assert labels == {"0": ("0.0%", "start"), "5": ("50.0%", "middle"), "10": ("100.0%", "end")}


def test_a_line_breaks_where_a_value_is_not_finite():
    unit = Scale(0.0, 1.0, 0.0, 100.0)
    tree = elements(line([0.0, 0.1, 0.2, 0.3, 1.0], [0.5, 1.0, np.nan, 0.25, 0.0], unit, unit, "curve"))
    assert [one.get("points") for one in tree.iter("polyline")] == [
        "0.0,50.0 10.0,100.0",
        "30.0,25.0 100.0,0.0",
    ]
    assert not list(elements(line([0.0], [np.nan], unit, unit, "curve")).iter("polyline"))


def test_a_whisker_is_an_error_long_to_both_sides():
    x = Scale(0.0, 10.0, 0.0, 100.0)
    body, *caps = elements(whisker(x, 4.0, 1.5, 20.0, 3.0)).iter("line")
    assert (body.get("x1"), body.get("x2")) == ("25.0%", "55.0%")
    assert [cap.get("x1") for cap in caps] == ["25.0%", "55.0%"]
    assert whisker(x, 4.0, np.nan, 20.0, 3.0) == ""


def test_a_drawing_is_named_by_its_title_and_description():
    for drawn in (plot("p", "a < b", "said", height=7), square("p", "a < b", "said", side=100)):
        tree = elements(drawn)
        assert (texts(tree, "title"), texts(tree, "desc")) == (["a < b"], ["said"])
        named = tree[0].get("aria-labelledby").split()
        assert [tree.find(f".//*[@id='{name}']").tag for name in named] == ["title", "desc"]
        assert tree[0].get("role") == "img"


@pytest.mark.parametrize(
    ("high", "said"), [(2.5, ["1", "2"]), (4.5, ["1", "2", "3", "4"]), (50.5, ["20", "40"])]
)
def test_whole_ticks_have_no_fractions(high, said):
    assert [text for _, text in ticks(0.5, high, whole=True)] == said
