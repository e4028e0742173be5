"""What the latents carry: what the page says of it is in the rows."""

import pytest

from tests.support.diagnostics import stat
from tests.support.page import given
from vaelab.report.page import units
from vaelab.report.tables import cell


@pytest.fixture
def rows():
    return given()["rows"]


def test_what_the_latents_carry_is_what_the_row_has(rows):
    text = units.latents_used(rows)
    entry = rows[0]["diagnostics"]
    for name in ("rate", "distortion", "kl_within"):
        assert cell(entry[name]) in text
    for statistic in (*entry["kl_by_dimension"], *entry["variance_of_means"]):
        assert cell(statistic) in text
    assert "3 of 3 units are active; undecided: z3." in text
    assert "of 256 levels, by dequantised densities" in text
    assert cell(rows[0]["bits_per_dim"]["log_evidence"]) in text


def test_the_levels_are_named_with_what_each_costs(rows):
    assert "By level of z" not in units.latents_used(rows)
    counted = rows[0]["diagnostics"]["active_units"]["by_variance"]
    rows[0]["diagnostics"]["by_level"] = [
        {
            "level": 1,
            "dimensions": 2,
            "num_points": 1234,
            "kl": stat(3.217),
            "optimal_kl": stat(3.333),
            "optimal_less_kl": stat(0.116),
            "active_units": counted | {"count": 2, "of": 2},
        },
        {"level": 2, "dimensions": 1, "num_points": 0, "kl": None, "active_units": None},
    ]
    text = units.latents_used(rows)
    assert "By level of z" in text
    for said in (cell(stat(3.217)), cell(stat(0.116)), "1,234", "2 of 2"):
        assert f">{said}</t" in text


def test_the_bounds_of_the_aggregate_say_which_side_they_are_of(rows):
    text = units.aggregate(rows)
    assert text.count('<td data-of="at least">0</td>') == 2  # at least: nothing is known of KL(q(z) || p(z))
    for name in units.QUANTITIES:
        assert cell(rows[0]["diagnostics"]["aggregate"][name]["upper"]) in text
    assert "log 40 = 3.69 can be seen: more datapoints would say more" in text
    rows[0]["diagnostics"]["aggregate"] = {"none": "one datapoint"}
    assert "test, diagonal: none, one datapoint." in units.aggregate(rows)
