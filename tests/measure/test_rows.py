"""Rows of `gap.json` of outcomes made by hand."""

from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest

from tests.measure.test_ended import by_hand
from vaelab import posterior
from vaelab.evidence import Evidence
from vaelab.inference.solver import stochastic_gradient
from vaelab.measure import gap, rows
from vaelab.measure.ended import ENDS
from vaelab.measure.subject import Inputs, Measured
from vaelab.objective.draws import Estimate
from vaelab.objective.elbo import elbo_from_draws

FAMILY = posterior.diagonal(2)


def solver(family):
    objective = partial(elbo_from_draws, num_samples=20, antithetic=True)
    return stochastic_gradient(family, objective, optax.adam(0.05), num_samples=20)


SETTINGS = SimpleNamespace(solver=solver, num_steps=10, certificate_groups=4)
SUBJECT = SimpleNamespace(
    families={"diagonal": FAMILY},
    amortized={"diagonal": "encoder"},
    settings=SimpleNamespace(inference={"diagonal": SETTINGS}, search=SimpleNamespace(num_starts=0)),
    model=SimpleNamespace(
        latent_dim=2, concavity=None, exact=None, prior="standard_normal", levels=(), given=None
    ),
    quantized=None,
)


def outcome(*fits, log_evidence=0.0, stderr=0.01):
    """These fits of one datapoint each, with indices from 10 on."""
    count = len(fits)
    evidence = Evidence(*(np.full(count, value, np.float32) for value in (0.0, stderr, 50.0, 0.1, 0.9)))
    return SimpleNamespace(
        points=Measured(Inputs(np.zeros((count, 3), np.float32), 10 + np.arange(count))),
        fits={"diagonal": jax.tree.map(lambda *leaves: np.concatenate(leaves), *fits)},
        seconds={"diagonal": 1.0},
        estimator=SimpleNamespace(name="importance", bias="below", evaluations=100, reach=None),
        choice=None,
        evidence=evidence._replace(log_evidence=np.float32(log_evidence) + np.zeros(count, np.float32)),
        bidirectional=None,
        calibrations={},
        others=None,
        diagnostics={},
        splits={},
        optimal_scales={},
    )


def test_a_row_counts_the_ways_in_which_its_fits_ended():
    fits = by_hand(), by_hand(), by_hand(converged=False), by_hand(phi=np.nan), by_hand(excess=-np.inf)
    measured = outcome(*fits, by_hand(bound=-np.inf))
    (row,) = rows.rows(SUBJECT, "test", measured)
    assert row["ended"] == {"converged": 2, "rounds spent": 1, "not finite": 2, "left the support": 1}
    assert row["num_unconverged"] == 4
    arrays = rows.arrays(SUBJECT, "test", measured)
    ends = ["converged", "converged", "rounds spent", "not finite", "not finite", "left the support"]
    assert [ENDS[code] for code in arrays["test/diagonal/ended"]] == ends
    assert arrays["test/diagonal/converged"].tolist() == [end == "converged" for end in ends]


def test_one_datapoint_has_the_error_of_its_own_draws():
    fit = by_hand(bound_stderr=0.2)
    fit = fit._replace(gain=Estimate(*np.float32([[0.5], [0.05]])))
    (row,) = rows.rows(SUBJECT, "test", outcome(fit, stderr=0.15))
    errors = {name: row[name]["stderr"] for name in gap.summarize(gap.Gap(*np.zeros((3, 2))))}
    wanted = {
        "elbo_amortized": 0.2,
        "elbo_optimal": 0.2,
        "log_evidence": 0.15,
        "amortization_gap": 0.05,
        "approximation_gap": 0.25,
        "inference_gap": 0.25,
    }
    assert errors == pytest.approx(wanted)


@pytest.mark.parametrize(("stderr", "broken"), [(0.2, 0), (0.01, 1)])
def test_the_order_at_one_datapoint_is_broken_beyond_the_error_of_its_draws_alone(stderr, broken):
    measured = outcome(by_hand(bound=0.5, bound_stderr=0.01), stderr=stderr)
    (row,) = rows.rows(SUBJECT, "test", measured)
    assert len([line for line in row["broken_orders"] if "L[q*_diagonal] exceeds log p(x)" in line]) == broken


def test_means_are_over_the_datapoints_at_which_every_number_is_finite():
    whole = outcome(by_hand(bound=-1.0), by_hand(bound=-3.0))
    for bad in (by_hand(bound=np.nan), by_hand(bound=-np.inf), by_hand(bound=np.inf)):
        measured = outcome(by_hand(bound=-1.0), bad, by_hand(bound=-3.0))
        (row,), (wanted,) = (rows.rows(SUBJECT, "test", one) for one in (measured, whole))
        for name in gap.summarize(gap.Gap(*np.zeros((3, 2)))):
            assert row[name] == wanted[name], name
        assert (row["num_left_out"], wanted["num_left_out"]) == (1, 0)
        assert row["num_points"] == 3
        assert row["notes"][0].startswith("the means leave out 1 of 3 datapoints")
        assert row["notes"][0].endswith("index 11 first")
        assert wanted["broken_orders"] == wanted["notes"] == []
        assert "nan" not in "".join(row["notes"] + row["broken_orders"])


def test_where_only_log_p_is_not_finite_the_row_leaves_the_datapoint_out_too():
    measured = outcome(by_hand(), by_hand(), log_evidence=[0.5, -np.inf])
    (row,) = rows.rows(SUBJECT, "test", measured)
    assert row["num_left_out"] == 1
    assert row["log_evidence"]["mean"] == 0.5
    assert row["approximation_gap"]["mean"] == 1.5


def test_where_no_datapoint_is_finite_the_means_say_so():
    """Each q reaches where the density is 0: L[q*] is -inf, and below log p(x) all the same."""
    (row,) = rows.rows(SUBJECT, "test", outcome(by_hand(bound=-np.inf), by_hand(bound=-np.inf)))
    assert row["elbo_optimal"]["mean"] == -np.inf
    assert row["log_evidence"]["mean"] == 0.0
    assert row["num_left_out"] == 0
    (line,) = row["notes"]
    assert line.startswith("L[q*_diagonal] is -inf at 2 of 2 datapoints, index 10 first")
    assert "support" in line
