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
    assert parts.standing_out(row)[0] == ("By label, 4 groups compared:", ["No group stands out."])
    found = {"group": "class 7", "difference": stat(-0.25, 0.01), "p_value": 0.001}
    row["extremes"]["label"]["amortization_gap"]["lowest"] = found
    row["by_label"]["class 7"]["amortization_gap"] = stat(0.625, 0.02)
    (said,) = parts.standing_out(row)[0][1]
    assert said == (
        "Label class 7 has the least amortization gap: 0.625 ± 0.020 nats, which is 0.250 ± 0.010 nats less"
        " than the mean of all others."
    )
    name = next(iter(row["by_log_evidence"]))
    row["by_log_evidence"][name]["approximation_gap"] = stat(0.125, 0.01)
    found = {"group": name, "difference": stat(0.05, 0.01), "p_value": 0.001}
    row["extremes"]["log_evidence"]["approximation_gap"]["highest"] = found
    (said,) = parts.standing_out(row)[1][1]
    assert said == (
        f"Datapoints with log p(x) from {name} have the greatest approximation gap: 0.125 ± 0.010 nats, which"
        " is 0.050 ± 0.010 nats more than the mean of all others."
    )
    assert f"<li>{said}</li>" in parts.by_group(rows)
    for of_gaps in row["extremes"].values():
        for each in of_gaps.values():
            each |= {"num_compared": 0, "lowest": None, "highest": None}
    assert parts.standing_out(row)[0][1] == ["Too few datapoints to compare."]
    text = parts.by_group(rows)
    for group, part in row["by_label"].items():
        assert group in text
        assert cell(part["amortization_gap"]) in text


def test_the_split_of_the_gap_and_the_pairs_are_what_the_rows_have(rows):
    text, entry = parts.of_the_encoder(rows), rows[0]["amortization_split"]
    for statistic in (entry["mean"], entry["scale_first"]["scale"], entry["by_dimension"]["remainder"]):
        assert cell(statistic) in text
    assert "The scale has no columns" in text  # the family has none of a dimension alone
    entry["by_dimension"]["scale"] = entry["by_dimension"]["mean"]
    assert "The columns add up to the gap, but for 0.0031" in parts.of_the_encoder(rows[:1])
    assert "The scale has no columns" not in parts.of_the_encoder(rows[:1])
    text = parts.of_the_diagonal(rows)
    assert "z1, z3" in text
    assert "in all: L[q*] of full is higher by" in text
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
        assert f">{cell(part)}</td>" in text
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
