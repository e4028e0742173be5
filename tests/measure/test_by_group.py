"""Means of groups, and how often a group is named where there is no difference, and where there is one."""

import numpy as np
import pytest
from scipy import stats

from vaelab.measure import by_group
from vaelab.measure.by_group import Groups, by_label, by_quantile, entries, extremes
from vaelab.measure.gap import Gap, mean_and_stderr
from vaelab.measure.subject import Inputs, Measured
from vaelab.report import MEASURED

LABELS = np.arange(300) % 10
NAMES = [str(label) for label in range(10)]


def points(x_NxD, labels=None):
    return Measured(Inputs(x_NxD, np.arange(len(x_NxD))), label_N=labels)


def test_a_row_has_the_means_of_its_labels_and_leaves_out_what_is_not_finite():
    values = np.random.default_rng(0).normal(size=6)
    evidence = values + 1.0
    optimal = np.where(np.arange(6) == 5, -np.inf, values)
    labels = by_label(np.array([3, 5, 7, 7, 7, 7]))
    errors = dict.fromkeys(MEASURED, np.full(6, 0.2))
    arguments = np.ones(6, bool), {"label": labels}
    got = entries(Gap(optimal - 0.5, optimal, evidence), *arguments, has_encoder=True, errors=errors)
    assert {label: part["num_points"] for label, part in got["by_label"].items()} == {"3": 1, "5": 1, "7": 3}
    assert got["by_label"]["7"]["log_evidence"] == mean_and_stderr(evidence[2:5])
    # The error of one datapoint is that of its draws.
    assert got["by_label"]["3"]["amortization_gap"] == pytest.approx({"mean": 0.5, "stderr": 0.2})
    assert got["extremes"]["label"]["amortization_gap"]["num_compared"] == 0
    without = entries(Gap(optimal, optimal, evidence), *arguments, has_encoder=False, errors=errors)
    assert set(without["extremes"]["label"]) == {"approximation_gap"}
    assert "inference_gap" not in without["by_label"]["3"]


@pytest.mark.parametrize("draw", ["normal", "gamma"])
def test_no_group_is_named_where_none_differs(draw):
    """Of 600 tables of ten groups of thirty, at most a twentieth name one, also where gaps are skewed."""
    rng = np.random.default_rng(1)
    named = 0
    for _ in range(600):
        values = rng.normal(size=300) if draw == "normal" else rng.gamma(2.0, size=300)
        got = extremes(values, LABELS, NAMES, size=0.0)
        named += got["highest"] is not None or got["lowest"] is not None
    # 5 standard errors of a share of 0.05; a skewed mean of thirty has a heavier tail than Student's.
    assert named / 600 < 0.05 + 5 * np.sqrt(0.05 * 0.95 / 600)


def test_a_group_that_differs_is_named_with_its_difference():
    rng = np.random.default_rng(2)
    values = rng.normal(size=300) + 2.0 * (LABELS == 8) - 1.5 * (LABELS == 1)
    got = extremes(values, LABELS, NAMES, size=0.0)
    assert (got["highest"]["group"], got["lowest"]["group"], got["num_compared"]) == ("8", "1", 10)
    inside, outside = values[LABELS == 8], values[LABELS != 8]
    wanted = stats.ttest_ind(inside, outside, equal_var=False)
    assert got["highest"]["difference"]["mean"] == pytest.approx(np.mean(inside) - np.mean(outside))
    assert got["highest"]["difference"]["stderr"] == pytest.approx(
        (np.mean(inside) - np.mean(outside)) / wanted.statistic
    )
    # The smallest p-value of ten is multiplied by ten.
    assert got["highest"]["p_value"] == pytest.approx(10 * wanted.pvalue, rel=1e-6)


def test_the_p_values_are_for_all_comparisons_together():
    assert by_group._holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.9}) == pytest.approx(
        {"a": 0.04, "c": 0.09, "b": 0.09, "d": 0.9}
    )


def test_rounding_is_no_difference_and_few_datapoints_are_not_compared():
    values = 0.25 + 1e-7 * LABELS.astype(float)
    assert extremes(values, LABELS, NAMES, size=100.0)["highest"] is None
    assert extremes(values, LABELS, NAMES, size=0.01)["highest"]["group"] == "9"
    few = np.where(np.arange(300) < 9, 1, 0)
    got = extremes(np.where(few == 1, 9.0, 0.0) + values, few, ["a", "b"], size=1.0)
    assert got == {"num_compared": 0, "highest": None, "lowest": None}


def test_quantiles_have_as_many_datapoints_each_and_names_that_differ():
    values = np.random.default_rng(3).normal(size=1003) * 1e-3 - 90.0
    values[7] = np.nan
    made = by_quantile(values)
    assert len(set(made.names)) == by_group.NUM_BINS
    assert made.code_N[7] == -1
    counts = np.bincount(made.code_N[made.code_N >= 0])
    assert counts.max() - counts.min() <= 2
    for code, name in enumerate(made.names):
        low, high = map(float, name.split(" to "))
        inside = values[made.code_N == code]
        assert low - 1e-4 <= inside.min() <= inside.max() <= high + 1e-4
    assert by_quantile(np.zeros(100)) is None
    assert by_quantile(np.arange(19)) is None
    assert len(by_quantile(np.arange(20)).names) == 2


def test_what_can_be_grouped_is():
    rng = np.random.default_rng(4)
    x = rng.random((60, 5))
    made = by_group.groups(points(np.float32(x), LABELS[:60]), rng.normal(size=60))
    assert list(made) == ["label", "log_evidence", "brightness"]
    np.testing.assert_allclose(by_group.brightness(points(x)), x.mean(axis=1))
    for other in (x - 0.5, 3.0 * x, {"x": x, "t": x}, np.where(x > 0.9, np.nan, x), x[:, :1]):
        one = other if isinstance(other, dict) else np.float32(other)
        assert by_group.brightness(Measured(Inputs(one, np.arange(60)))) is None
    assert by_label(np.arange(51)) is None
    assert by_label(np.zeros((3, 2))) is None
    assert by_label(np.array(["b", "a", "b"])) == Groups(["a", "b"], pytest.approx([1, 0, 1]))
