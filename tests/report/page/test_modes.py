"""Modes on the page: what is said of them is in the rows and the arrays."""

import numpy as np
import pytest

from tests.support.page import cells, elements, given, texts
from vaelab.report.page import modes

ENTRY = {
    "num_searched": 40, "num_pilot": 16, "num_several": 3, "most": 4, "narrowest": 0.5, "may_lack": True,
    "num_crowded": 0, "num_refitted": 2, "num_at_lesser": 2, "lost": 0.5, "num_missed": 1, "shortfall": 0.1,
    "decoder_evaluations_per_point": 1234,
}  # fmt: skip


@pytest.fixture
def page():
    arguments = given(families=("diagonal",), latent_dim=2)
    (row,), arrays = arguments["rows"], arguments["per_datapoint"]
    row |= {"modes": dict(ENTRY), "wrong_mode_gap": {"mean": 0.0512, "stderr": 0.0021}}
    num_modes_N, lost_N = np.ones(40, int), np.zeros(40)
    num_modes_N[[3, 5, 7]], lost_N[[3, 7]], lost_N[9] = [2, 2, 4], [0.25, 1.5], np.nan
    arrays |= {"test/num_modes": num_modes_N, "test/diagonal/wrong_mode_gap": lost_N}
    arrays["test/diagonal/elbo_local"] = arrays["test/diagonal/elbo_optimal"] - np.nan_to_num(lost_N)
    return row, arrays


def test_counts_and_losses_are_those_of_the_row_and_the_arrays(page):
    row, arrays = page
    tree = elements(modes.several_modes([row], arrays))
    first, worst = tree.iter("table")
    assert cells(first)[1] == ["test, diagonal", "40", "3", "2", "2", "1", "0.0512 ± 0.0021", "1,234"]
    assert "test: 37 with 1, 2 with 2, 1 with 4." in texts(tree, "figcaption")
    heights = [float(box.get("height")) for box in tree.iter("rect") if box.get("class") == "amortization"]
    assert heights[0] == pytest.approx(2.0 * heights[2], abs=0.02)
    assert heights[1] == 0.0
    lines = cells(worst)[1:]
    assert [line[0] for line in lines] == ["107", "103"]  # the index, those that lost the most first
    assert [line[1] for line in lines] == ["4", "2"]
    for line, position in zip(lines, (7, 3), strict=True):
        local, best, lost = map(float, line[2:])
        assert best == pytest.approx(float(arrays["test/diagonal/elbo_optimal"][position]), abs=1e-3)
        assert best - local == pytest.approx(lost, abs=2e-3)
    assert "every datapoint was searched" in texts(tree, "p")[0]
    assert "less than 0.5 times as wide" in texts(tree, "p")[0]


def test_one_mode_each_is_said_with_what_was_looked_at(page):
    row, arrays = page
    row["modes"] |= {"num_several": 0, "num_at_lesser": 0, "num_searched": 16, "may_lack": False}
    text = modes.several_modes([row], {**arrays, "test/num_modes": np.ones(40, int)})
    assert "16 of 40 datapoints were searched" in text
    assert "One mode each is what was seen." in text
    assert "<figure>" not in text
    assert "at least" not in text


def test_nothing_is_said_where_nothing_was_looked_for(page):
    row, arrays = page
    del row["modes"]
    assert modes.several_modes([row], arrays) == ""
