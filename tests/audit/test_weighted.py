"""Means with weights, against those of the repeated datapoints."""

import numpy as np
import pytest

from vaelab.audit.arrays import given_data
from vaelab.audit.given import AuditError
from vaelab.audit.weighted import weighted, weighted_mean
from vaelab.measure.gap import mean_and_stderr

VALUES = np.random.default_rng(0).normal(size=40)


def test_equal_weights_are_the_plain_mean_and_its_error():
    assert weighted_mean(VALUES, np.full(40, 0.3)) == pytest.approx(mean_and_stderr(VALUES))


def test_the_error_of_a_weighted_mean_is_that_of_many_samples():
    """Values of variance 1 under fixed weights: the mean of the stated variances is that of the means."""
    rng = np.random.default_rng(1)
    weights = rng.gamma(0.5, size=50)
    means, stderrs = np.transpose(
        [tuple(weighted_mean(rng.normal(size=50), weights).values()) for _ in range(4000)]
    )
    # A sample variance has the relative error sqrt(2 / 4000); the stated one is a little low.
    exact = np.sum(weights**2) / np.sum(weights) ** 2
    assert np.var(means) == pytest.approx(exact, rel=5.0 * np.sqrt(2.0 / 4000))
    assert np.mean(stderrs**2) == pytest.approx(exact, rel=0.2)


def test_a_row_has_weighted_means_and_leaves_out_what_is_not_finite():
    optimal, evidence = VALUES[:6], VALUES[:6] + 1.0
    optimal = np.where(np.arange(6) == 5, -np.inf, optimal)
    arrays = {
        "given/diagonal/elbo_optimal": optimal,
        "given/diagonal/elbo_amortized": optimal - 0.5,
        "given/log_evidence": evidence,
        "given/weights": np.array([1.0, 0.0, 2.0, 0.0, 1.0, 5.0]),
    }
    row = {"split": "given", "family": "diagonal", "log_evidence": {"mean": 0.0}}
    row |= {"amortization_gap": {"mean": 0.5}}
    extra = weighted(row, arrays)
    assert extra["weighted"]["log_evidence"]["mean"] == pytest.approx((evidence[[0, 2, 4]] @ [1, 2, 1]) / 4)
    assert extra["weighted"]["amortization_gap"]["mean"] == pytest.approx(0.5)
    assert weighted(row, {k: v for k, v in arrays.items() if "weights" not in k}) == {}


@pytest.mark.parametrize("weights", [[1.0, -1.0], [np.nan, 1.0], [0.0, 0.0], ["a", "b"]])
def test_weights_that_are_none_are_one_clear_line(weights):
    with pytest.raises(AuditError, match="weights") as raised:
        given_data(np.zeros((2, 3), np.float32), None, weights=np.array(weights))
    assert "\n" not in str(raised.value)
