"""The datapoints behind the rows: quantiles, the worst of them, distances in latent space."""

import numpy as np

from tests.support.page import cells, elements, given, texts
from vaelab.report.page.datapoints import distributions, latent_space, worst_datapoints
from vaelab.report.page.latent import Latents

ROW = {"split": "test", "family": "full", "amortized_by": "encoder"}


def arrays(lost_N, gap_N):
    """log p(x) is 0; the family loses lost_N, the encoder gap_N more."""
    optimal_N = -np.float64(lost_N)
    return {
        "test/log_evidence": np.zeros(len(lost_N)),
        "test/full/elbo_optimal": optimal_N,
        "test/full/elbo_amortized": optimal_N - np.float64(gap_N),
    }


def test_quantiles_are_those_of_the_finite_gaps():
    lost_N = [*range(101), np.nan]
    tree = elements(distributions([ROW], arrays(lost_N, 2.0 * np.arange(102.0))))
    (table,) = (cells(table) for table in tree.iter("table"))
    assert table[1] == [
        "test, full: approximation",
        *("0.0000", "5.0000", "25.0000", "50.0000", "75.0000", "95.0000", "100.0000"),
    ]
    assert table[2][0] == "test, full: amortization"
    assert table[2][4] == "100.0000"  # where log p(x) less L[q*] is no number, neither is the other gap
    assert texts(tree, "figcaption") == ["1 not finite", "1 not finite"]


def test_gaps_that_are_not_finite_have_no_quantiles():
    tree = elements(distributions([ROW], arrays([np.nan] * 3, [0.0] * 3)))
    assert cells(next(tree.iter("table")))[1] == ["test, full: approximation", *["-"] * 7]


def test_the_worst_datapoints_are_in_order_with_their_labels_and_pictures():
    per_datapoint = arrays([0.25, 0.5, 0.125], [1.0, 0.25, 3.0])
    per_datapoint |= {"test/index": np.array([7, 8, 9]), "test/labels": np.array(["a", "b", "c"])}
    pictures = {"test/full": {9: {"data": np.zeros((2, 2))}}}
    tree = elements(worst_datapoints([ROW], per_datapoint, pictures))
    head, *lines = cells(next(tree.iter("table")))
    assert head == [
        *("datapoint", "label", "data", "why"),
        *("inference gap", "amortization gap", "approximation gap", "log p(x)"),
    ]
    assert lines == [
        ["9", "c", "", "the encoder", "3.125", "3.000", "0.125", "0.000"],
        ["7", "a", "-", "the encoder", "1.250", "1.000", "0.250", "0.000"],
        ["8", "b", "-", "the family", "0.750", "0.250", "0.500", "0.000"],
    ]
    assert [image.get("alt") for image in tree.iter("img")] == ["9: data"]
    assert "position in the source of the data" in texts(tree, "p")[1]


def test_distances_are_in_standard_deviations_of_the_optimum():
    """Means apart by 0.5, 1 and 1.5 deviations; an encoder of half the deviation."""
    optimal = np.zeros((3, 1))
    pair = Latents(np.array([[1.0], [-2.0], [3.0]]), optimal, np.full((3, 1), 1.0), np.full((3, 1), 2.0))
    tree = elements(latent_space([ROW, {**ROW, "family": "other"}], {"test/full": pair}))
    head, line = cells(next(tree.iter("table")))
    assert line == ["test, full", "3", "1", "1.000", "0.500"]
    assert head[-1] == "ratio, sd by the encoder / sd of q*"
    assert texts(tree, "figcaption") == [
        "Filled squares: z1, where sd by the encoder / sd of q* is 0.500 in the median."
    ]


def test_without_arrays_there_is_nothing():
    rows = given()["rows"]
    assert distributions(rows, {}) == worst_datapoints(rows, {}, {}) == latent_space(rows, {}) == ""
