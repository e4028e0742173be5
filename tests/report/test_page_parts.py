"""The parts of the page beside the gaps: what they say is in the rows, and rows without them have none."""

import copy

import numpy as np
import pytest

from tests.support.diagnostics import stat
from tests.support.page import given
from vaelab.report import gap_table
from vaelab.report.page import parts, units
from vaelab.report.page.plots import columns
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


def test_the_bounds_of_the_aggregate_say_which_side_they_are_of(rows):
    text = units.aggregate(rows)
    assert text.count("<td>0</td>") == 2  # at least: nothing is known of KL(q(z) || p(z))
    for name in units.QUANTITIES:
        assert cell(rows[0]["diagnostics"]["aggregate"][name]["upper"]) in text
    assert "log 40 = 3.69 can be seen: more datapoints would say more" in text
    rows[0]["diagnostics"]["aggregate"] = {"none": "one datapoint"}
    assert "test, diagonal: none, one datapoint." in units.aggregate(rows)


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


def test_columns_are_as_high_as_what_they_show():
    drawn = columns("c", "title", [stat(0.2), stat(-0.1), stat(0.4), stat(np.nan)], ["unused"] * 4, "axis")
    heights = [float(part.split('"')[0]) for part in drawn.split('height="')[1:] if 'class="unused"' in part]
    assert len(heights) == 3
    np.testing.assert_allclose(np.array(heights) / heights[2], [0.5, 0.25, 1.0], atol=0.01)


def test_the_table_counts_units_and_bits_where_there_are_any(rows):
    def labels(rows):
        return list(gap_table(rows).columns[0].cells)

    for row in rows:
        row |= {"num_unconverged": 0, "certificate": "bound", "num_negative": 0}
        row |= {"decoder_evaluations_per_point": 1}
    assert labels(rows)[-3:] == ["active units", r"bits/dim, L\[q_phi]", "bits/dim, log p(x)"]
    table = gap_table(rows)
    assert list(table.columns[1].cells)[-3:] == ["3 of 3, 1 undecided", "-", cell(stat(3.456))]
    bare = copy.deepcopy(rows)
    for row in bare:
        del row["diagnostics"], row["bits_per_dim"]
    assert labels(bare)[-1] == "Pareto k over 0.7"
