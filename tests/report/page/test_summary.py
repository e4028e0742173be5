"""The rows of `gap.json` in a sentence, in notes and in tables."""

import math

import pytest

from tests.support.diagnostics import stat
from tests.support.page import cells, elements, texts
from vaelab.report.page import summary
from vaelab.report.page.summary import DETAILED, as_number, decomposition, detailed, lead, notes, shown


def made(**changes):
    row = {"split": "test", "family": "full", "num_points": 100, "amortized_by": "table"}
    row |= {name: stat(-n) for n, name in enumerate(("log_evidence", "elbo_optimal", "elbo_amortized"), 1)}
    row |= {"approximation_gap": stat(0.25), "amortization_gap": stat(0.5), "inference_gap": stat(0.75)}
    return row | changes


@pytest.mark.parametrize(
    ("statistic", "said"),
    [
        (None, "-"),
        (stat(math.nan), "not finite"),
        ({"mean": None, "stderr": None}, "not finite"),
        (stat(1.5, 0.25), "1.50 ± 0.25"),
        (stat(1.5, math.nan), "1.5000 ± unknown"),
    ],
)
def test_a_statistic_is_said_whole_or_said_to_be_none(statistic, said):
    assert shown(statistic) == said


def test_numbers_are_said_whole_or_said_to_be_none():
    assert [as_number(v) for v in (None, math.inf, math.nan, -0.12345)] == [
        "-",
        "not finite",
        "not finite",
        "-0.123",
    ]


def test_the_first_row_is_one_sentence():
    (text,) = texts(elements(lead([made(), made(family="other")])), "p")
    assert text == (
        "On the test data, with the full family, inference loses 0.7500 ± 0.0010 nats of log p(x) per"
        " datapoint: 0.2500 ± 0.0010 as the best full q is not the posterior (approximation gap), and"
        " 0.5000 ± 0.0010 as the table does not give the best q (amortization gap)."
    )
    (text,) = texts(elements(lead([made(amortization_gap=None)])), "p")
    assert text.endswith(
        "the best q loses 0.2500 ± 0.0010 nats of log p(x) per datapoint (approximation gap)."
    )
    assert "Nothing was measured." in lead([])


def test_rows_beyond_those_in_detail_are_counted():
    rows = [made(family=f"family {n}") for n in range(DETAILED + 1)]
    assert detailed(rows[1:]) == (rows[1:], "")
    chosen, said = detailed(rows)
    assert chosen == rows[:-1]
    assert f"The first {DETAILED} of {DETAILED + 1} rows" in said


def test_notes_are_each_said_once_and_fits_are_noted_from_a_twentieth_on():
    assert notes([made(num_unconverged=5)], []) == ""
    rows = [made(num_unconverged=6, notes=["few moves"]), made(broken_orders=["a > b", "c > d"])]
    said = texts(elements(notes(rows, ["order broken on test: a > b", "first"])), "li")
    assert said[:3] == ["order broken on test: a > b", "first", "test, full: few moves"]
    assert said[3].startswith("test, full: 6 of 100 fits of q* have not converged")
    assert said[4:] == ["test, full: order broken: c > d"]


def test_of_many_notes_the_first_are_open_and_the_others_on_a_click():
    tree = elements(notes([], [f"note {n}" for n in range(9)]))
    assert texts(tree, "summary") == ["3 more"]
    assert texts(tree.find(".//details"), "li") == ["note 6", "note 7", "note 8"]
    assert len(texts(tree, "li")) == 9


def test_the_tables_have_every_quantity_with_its_error():
    exact = {name: stat(9.0) for name in summary.TITLES}
    simulated = made(
        split="simulated",
        amortized_by=None,
        amortization_gap=None,
        exact=exact,
        two_sided={"lower": stat(-3.0), "upper": stat(-2.0), "width": stat(1.0)},
        calibration={"p_value": 0.25},
    )
    rows = [made(num_unconverged=1234, certificate="bound", num_negative=0), simulated]
    tree = elements(decomposition(rows))
    quantities, trust, two_sided = (cells(table) for table in tree.iter("table"))
    assert quantities[0] == [
        "split, family",
        *("log p(x)", "optimal L[q*]", "amortized L[qφ]"),
        *("approximation gap", "amortization gap", "inference gap"),
    ]
    values = ["-1.0000", "-2.0000", "-3.0000", "0.2500", "0.5000", "0.7500"]
    assert quantities[1] == ["test, full", *(f"{value} ± 0.0010" for value in values)]
    assert quantities[2][5] == "-"
    assert quantities[3] == ["closed form", *["9.0000 ± 0.0010"] * 6]
    assert trust[1][:5] == ["test, full", "table", "100", "bound", "1,234"]
    assert trust[1][5] == "0"  # a number, and not one that is missing
    assert trust[2][1] == "-"
    assert two_sided[1:] == [
        ["simulated, full", "-3.0000 ± 0.0010", "-2.0000 ± 0.0010", "1.0000 ± 0.0010", "0.250"]
    ]
    assert decomposition([]) == ""


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        ({"bias": "lower", "estimator": "sampling"}, "Measured from below, by sampling;"),
        ({"bias": "none", "estimator": "quadrature"}, "Measured without bias, by quadrature."),
        ({}, "Measured."),
    ],
)
def test_the_words_say_from_which_side_log_p_is_measured(evidence, said):
    row = made(log_evidence=stat(-1.0) | evidence)
    assert said in texts(elements(decomposition([row])), "dd")[0]


def test_the_words_say_what_all_is_given():
    said, unsaid = (
        texts(elements(decomposition([made(given=given)])), "dd")[0] for given in ("library_size", None)
    )
    assert said.endswith("All is given y, the library size: this is log p(x given y).")
    assert "given y" not in unsaid
