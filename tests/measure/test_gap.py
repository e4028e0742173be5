"""Gaps as differences of bounds, their errors, and orders that are broken."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.oracles import EPS
from vaelab import posterior
from vaelab.measure import gap, rows
from vaelab.objective.draws import Estimate


def test_gaps_are_differences_and_keep_their_sign():
    found = gap.Gap(np.array([-3.0, -1.0]), np.array([-2.5, -1.5]), np.array([-2.0, -1.7]))
    np.testing.assert_allclose(found.amortization, [0.5, -0.5])
    np.testing.assert_allclose(found.approximation, [0.5, -0.2])
    np.testing.assert_allclose(found.inference, [1.0, -0.7])
    np.testing.assert_allclose(found.inference, found.amortization + found.approximation)


def test_mean_and_stderr_are_those_of_float64():
    values_N = np.float32(1e4 + np.random.default_rng(0).normal(size=1000))
    found = gap.mean_and_stderr(values_N)
    exact_N = values_N.astype(np.float64)
    assert found["mean"] == pytest.approx(exact_N.mean(), rel=1e-14)
    assert found["stderr"] == pytest.approx(exact_N.std(ddof=1) / np.sqrt(1000), rel=1e-10)
    single = gap.mean_and_stderr(np.float32([2.0]))
    assert single["mean"] == 2.0
    assert np.isnan(single["stderr"])


def test_the_error_of_a_gap_is_that_of_the_paired_differences():
    """A shift of all bounds of a datapoint, however large, is no error of its gaps."""
    rng = np.random.default_rng(0)
    amortized_N = rng.normal(size=50)
    base = gap.Gap(amortized_N, amortized_N + 0.1 * rng.normal(size=50) + 1.0, amortized_N + 2.0)
    shift_N = 100.0 * rng.normal(size=50)
    shifted = gap.Gap(*(values_N + shift_N for values_N in base))
    one, other = gap.summarize(base), gap.summarize(shifted)
    for quantity in ("amortization_gap", "approximation_gap", "inference_gap"):
        assert other[quantity] == pytest.approx(one[quantity], abs=1e-12)
    assert other["elbo_optimal"]["stderr"] > 50.0 * one["amortization_gap"]["stderr"]
    exact = (base.elbo_optimal - base.elbo_amortized).std(ddof=1) / np.sqrt(50)
    assert one["amortization_gap"]["stderr"] == pytest.approx(exact)


def test_summary_without_an_encoder_leaves_out_what_needs_one():
    values = np.array([1.0, 2.0, 4.0])
    with_encoder = gap.summarize(gap.Gap(values, values + 1.0, values + 3.0))
    without = gap.summarize(gap.Gap(values, values + 1.0, values + 3.0), has_encoder=False)
    assert with_encoder.keys() == without.keys()
    gone = {quantity for quantity, statistic in without.items() if statistic is None}
    assert gone == {"elbo_amortized", "amortization_gap", "inference_gap"}
    for quantity in without.keys() - gone:
        assert without[quantity] == with_encoder[quantity]
    assert with_encoder["approximation_gap"] == pytest.approx({"mean": 2.0, "stderr": 0.0})
    assert with_encoder["inference_gap"]["mean"] == pytest.approx(3.0)


def test_broken_orders_are_seen_beyond_the_noise_and_only_there():
    rng = np.random.default_rng(0)
    low_N, noise_N = 100.0 * rng.normal(size=200), rng.normal(size=200)
    stderr = noise_N.std(ddof=1) / np.sqrt(200)
    noise_N -= noise_N.mean()

    def broken(mean):
        return gap.broken_orders([("low", low_N), ("high", low_N + mean + noise_N)])

    # The rounding that is allowed for is 4 eps |low|, about 4e-5.
    assert not broken(+1.0)
    assert not broken(-4.9 * stderr)
    assert len(broken(-5.1 * stderr)) == 1
    assert not gap.broken_orders([("low", low_N), ("high", low_N)])
    assert not gap.broken_orders([("low", low_N), ("high", low_N * (1 - EPS))])
    assert gap.broken_orders([("low", low_N), ("high", low_N - 1e-3 * np.mean(np.abs(low_N)))])
    assert gap.broken_orders([("low", low_N), ("high", low_N * np.nan)])


def test_datapoints_that_break_an_order_are_counted_beyond_their_own_errors():
    low = Estimate(np.float32([1.0, 1.0, 1.0, 1.0]), np.float32([0.03, 0.03, 0.03, np.inf]))
    high = Estimate(np.float32([0.76, 0.74, 0.5, 0.0]), np.float32([0.04, 0.04, 0.04, 0.04]))
    assert gap.num_broken(low, high) == 2  # five times hypot(0.03, 0.04) is 0.25
    assert gap.num_broken(high, low) == 0
    assert gap.num_broken(low, low) == 0
    # Bounds that share draws are told apart by the error of their difference.
    difference = Estimate(high.value - low.value, np.float32([0.05, 0.06, 0.001, 0.04]))
    assert gap.num_broken(low, high, difference=difference) == 2
    difference = Estimate(high.value - low.value, np.float32([0.01, 0.01, 0.01, np.nan]))
    assert gap.num_broken(low, high, difference=difference) == 3
    assert gap.num_broken(high, low, difference=Estimate(-difference.value, difference.stderr)) == 0


def test_a_row_counts_the_optima_below_their_start_by_the_error_of_the_difference():
    """0.1 nats below: nothing beside the error of each bound, much beside that of their difference."""
    here = Estimate(np.full(4, -90.0, np.float32), np.full(4, 0.5, np.float32))
    below = here._replace(value=here.value - np.float32([0.1, 0.1, 0.0, 0.0]))
    gain = Estimate(below.value - here.value, np.full(4, 0.01, np.float32))
    outcome = SimpleNamespace(
        fits={"diagonal": SimpleNamespace(elbo_start=here, elbo_optimal=below, gain=gain)},
        evidence=SimpleNamespace(log_evidence=here.value + 1, stderr=here.stderr, acceptance=np.full(4, 0.9)),
        estimator=SimpleNamespace(name="importance"),
        bidirectional=None,
        points=SimpleNamespace(inputs=SimpleNamespace(index_N=np.arange(4))),
    )
    orders = rows._orders(posterior.diagonal(2), "diagonal", outcome, has_encoder=True)
    counts = orders["num_broken_orders"]
    assert counts["L[q_phi] (diagonal) <= L[q*_diagonal]"] == 2
    assert counts["L[q*_diagonal] <= log p(x) (importance)"] == 0


def test_each_broken_pair_is_named():
    a, b, c, d = (np.array([v, v + 0.1]) for v in (0.0, 2.0, 1.0, 0.5))
    problems = gap.broken_orders([("a", a), ("b", b), ("c", c), ("d", d)])
    assert [problem.split(" by ")[0] for problem in problems] == ["b exceeds c", "c exceeds d"]
    assert "by 1.0000 +- 0.0000 nats" in problems[0]


@pytest.mark.parametrize(("count", "factor"), [(2, 12.706), (5, 2.776), (1000, 1.962)])
def test_an_interval_of_few_values_is_that_of_students_t(count, factor):
    assert gap.half_width(0.5, count) == pytest.approx(0.5 * factor, rel=1e-3)
    assert gap.half_width(0.5, 1) == np.inf


def test_an_interval_needs_no_scipy_stats_which_takes_a_second_to_import(monkeypatch):
    from scipy import stats

    expected = [stats.t.ppf(0.975, count - 1) for count in (2, 5, 1000)]
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    monkeypatch.delattr("scipy.stats", raising=False)
    assert [gap.half_width(1.0, count) for count in (2, 5, 1000)] == expected
