"""Where the gaps sit: what the page says of it is in the rows, and rows without it have no such part."""

import pytest

from tests.support.diagnostics import stat
from tests.support.page import given
from vaelab.report.page import parts, units
from vaelab.report.tables import cell


@pytest.fixture
def rows():
    return given()["rows"]


def test_a_group_is_named_only_where_it_stands_out(rows):
    row = rows[0]
    for of_gaps in row["extremes"].values():
        for found in of_gaps.values():
            found |= {"num_compared": 4, "highest": None, "lowest": None}
    assert parts.standing_out(row)[0] == "By label, 4 compared: no group stands out."
    found = {"group": "class 7", "difference": stat(-0.25, 0.01), "p_value": 0.001}
    row["extremes"]["label"]["amortization_gap"]["lowest"] = found
    said = parts.standing_out(row)[0]
    assert said.endswith("least amortization gap at class 7, 0.250 ± 0.010 nats below the others.")
    for of_gaps in row["extremes"].values():
        for each in of_gaps.values():
            each |= {"num_compared": 0, "lowest": None}
    assert parts.standing_out(row)[0] == "By label, 0 compared: too few datapoints to compare."
    text = parts.by_group(rows)
    for group, part in row["by_label"].items():
        assert group in text
        assert cell(part["amortization_gap"]) in text


def test_the_split_of_the_gap_and_the_pairs_are_what_the_rows_have(rows):
    text, entry = parts.of_the_encoder(rows), rows[0]["amortization_split"]
    for statistic in (entry["mean"], entry["scale_first"]["scale"], entry["by_dimension"]["remainder"]):
        assert cell(statistic) in text
    text = parts.of_the_diagonal(rows)
    assert "z1, z3" in text
    for name in ("gap", "pairs_total", "higher_order", "not_gaussian"):
        assert cell(rows[0]["correlations"][name]) in text


def test_the_parts_by_level_are_what_the_rows_have_and_their_closed_forms(rows):
    assert parts.of_levels(rows) == ""
    entry = {"num_points": 40, "across_level": stat(0.3417), "non_gaussian": stat(0.0123)}
    rows[0]["approximation_parts"] = entry
    rows[0]["exact"] = {"approximation_parts": entry | {"across_level": stat(0.3399)}}
    rows[0]["modes"] = {"may_lack": True}
    text = parts.of_levels(rows)
    for part in (entry["across_level"], stat(0.3399)):
        assert f"<td>{cell(part)}</td>" in text
    assert f"≥ {cell(entry['non_gaussian'])}" in text
    assert text.count("<tr>") == 3


def test_rows_without_them_have_no_such_parts():
    rows = [
        {k: v for k, v in row.items() if not k.startswith(("by_", "extremes"))} for row in given()["rows"]
    ]
    for row in rows:
        for name in ("diagnostics", "amortization_split", "correlations", "bits_per_dim"):
            del row[name]
    for part in (units.latents_used, units.aggregate, parts.by_group, parts.of_the_encoder):
        assert part(rows) == ""
    assert parts.of_the_diagonal(rows) == ""
