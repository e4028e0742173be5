"""The page of a comparison: every difference with its interval, named by both runs."""

import pytest

from tests.report.test_compare import ROWS, lead
from tests.support.page import Page, elements, of_class
from vaelab.report.page import comparison
from vaelab.report.page.comparison import write_comparison


def test_differences_are_named_by_both_runs_and_have_their_intervals(tmp_path):
    write_comparison(tmp_path / "compare.html", rows=ROWS, about={"better": "config.encoder.hidden 5 -> 10"})
    page = Page(tmp_path / "compare.html")
    for text in (
        "Compared with first",
        "config.encoder.hidden 5 -&gt; 10",
        "more than first",
        "1.000",
        "0.500",
    ):
        assert text in page.text
    assert "both means, unpaired" in page.text
    assert "mean nothing" not in page.text
    write_comparison(tmp_path / "smoke.html", rows=[row | {"smoke": True} for row in ROWS], about={})
    assert "these figures mean nothing" in Page(tmp_path / "smoke.html").text


def test_a_point_is_where_its_difference_is_and_its_whisker_as_long_as_its_interval():
    drawn = comparison._intervals(
        "name", "L[q*]", {"a": lead(1.0, 0.5), "b": lead(-1.0, float("inf"))}, "one"
    )
    tree = elements(drawn)
    assert "nats more than one" in [text.text for text in tree.iter("text")]
    circles = [float(c.get("cx").rstrip("%")) for c in tree.iter("circle")]
    (whisker,) = of_class(tree, "whisker")
    low, high = (float(whisker[0].get(end).rstrip("%")) for end in ("x1", "x2"))
    assert (high - low) / (circles[0] - circles[1]) == pytest.approx(0.5, abs=0.01)
