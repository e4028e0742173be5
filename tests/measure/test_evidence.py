"""Which estimator is chosen, on what draws, and that choosing leaves the estimate as it would have been."""

import jax
import numpy as np
import pytest

from tests.support import oracles
from tests.support.oracles import LinearGaussian
from vaelab import model as models
from vaelab import posterior
from vaelab.evidence import by_annealing, by_importance, by_quadrature, by_smc
from vaelab.evidence.annealing import Annealing
from vaelab.evidence.smc import Tempering
from vaelab.measure.evidence import choose_estimator, estimate_log_evidence, judge

K, D, N = 3, 5, 40
EXACT = LinearGaussian.random(np.random.default_rng(0), D, (3.0, 1.0, 0.5), 0.5)
MODEL = models.linear_gaussian(K, (1.0,) * K, 1.0, D)
THETA = models.LinearGaussianParams(*EXACT.theta)
DIAGONAL = posterior.diagonal(K)
X_NxD = EXACT.sample(np.random.default_rng(1), N)
DATA = X_NxD, np.arange(N)
PHI_NxP = np.stack([EXACT.optimum("diagonal", x_D) for x_D in X_NxD]).astype(np.float32)
TRUTH_N = np.array([EXACT.log_evidence(x_D) for x_D in X_NxD])
FEW = by_importance((DIAGONAL,), num_samples=2, chunk_size=2)
MANY = by_importance((DIAGONAL,), num_samples=4000, chunk_size=500)
SMALL = Annealing(num_temperatures=20, num_chains=8, pilot_temperatures=8)
ANNEALED = by_annealing((DIAGONAL,), SMALL, start="diagonal")


def test_the_highest_bound_wins_and_is_reported_on_other_draws():
    estimators = FEW, ANNEALED, MANY
    key_pilot, key_report = jax.random.split(jax.random.key(0))
    problem = THETA, DATA, (PHI_NxP,)
    choice = choose_estimator(MODEL, estimators, *problem, key_pilot, pilot_points=20, chunk_size=20)
    evidence = estimate_log_evidence(MODEL, estimators[choice.winner], *problem, key_report, chunk_size=20)
    assert choice.winner != 0
    assert choice.trials[0].behind > 2.0 * choice.trials[0].behind_stderr
    assert [trial.evaluations for trial in choice.trials] == [e.evaluations for e in estimators]
    error = np.float64(evidence.log_evidence) - TRUTH_N
    oracles.assert_mean(error, 0.0, rounding=0.02)
    # None of the estimates of the pilot is among those reported.
    key = jax.random.fold_in(key_pilot, choice.winner)
    pilot = estimate_log_evidence(MODEL, estimators[choice.winner], *problem, key, chunk_size=20)
    trial = choice.trials[choice.winner]
    np.testing.assert_allclose(np.mean(pilot.log_evidence[:20]), trial.mean, rtol=1e-5)
    assert not np.any(pilot.log_evidence == evidence.log_evidence)


def test_equals_are_told_apart_by_cost():
    """A hundred times the same experiment: noise makes neither the winner but in the share it may."""
    rng, truth_N = np.random.default_rng(0), np.linspace(-90.0, -110.0, 25)
    wins = []
    for _ in range(200):
        bounds = truth_N + rng.normal(size=(3, 25)) * np.array([[0.1], [0.12], [0.1]]) - [[0.0], [0.0], [1.0]]
        stderrs = np.array([[0.1], [0.12], [0.1]]) * np.ones(25)
        wins.append(judge(["dear", "cheap", "low"], [10.0, 1.0, 0.1], bounds, stderrs).winner)
    assert 2 not in wins
    share = np.mean(np.array(wins) == 0)  # two standard errors, one-sided: 2.3%
    assert share <= 0.023 + 5.0 * np.sqrt(0.023 / 200)


def test_the_error_of_a_mean_is_that_of_the_draws():
    bounds, stderrs = np.array([[-10.0, -300.0], [-11.0, -301.0]]), np.array([[0.3, 0.4], [0.3, 0.4]])
    choice = judge(["a", "b"], [1.0, 2.0], bounds, stderrs)
    first, second = choice.trials
    np.testing.assert_allclose((first.stderr, second.behind), (0.25, 1.0))
    np.testing.assert_allclose(second.behind_stderr, 0.25 * np.sqrt(2.0))
    assert choice.reason == "a: the highest lower bound"


def test_the_reason_names_what_is_given_up():
    bounds, stderrs = np.array([[-10.0, -10.0], [-10.05, -10.05]]), np.full((2, 2), 0.1)
    choice = judge(["dear", "cheap"], [30.0, 10.0], bounds, stderrs)
    assert choice.winner == 1
    assert choice.reason.startswith("cheap: 0.0500 +- 0.1000 nats below the highest, dear, which costs 3.0")


def test_what_noise_hides_is_not_as_good():
    """The second costs as much, is nearer the highest, and surer; the first is not told from the highest."""
    bounds = np.array([[0.0, -0.18], [-0.02, -0.03], [0.03, -0.03]])
    stderrs = np.array([[0.08, 0.08], [0.02, 0.02], [0.06, 0.06]])
    choice = judge(["wide", "sure", "dear"], [5.0, 5.0, 30.0], bounds, stderrs)
    assert choice.trials[0].behind < 2.0 * choice.trials[0].behind_stderr
    assert choice.winner == 1
    # Twice as sure at the same cost is better, though neither is behind; at a lower cost it is as good.
    equal, twice = np.zeros((2, 2)), np.array([[0.04, 0.04], [0.02, 0.02]]) * np.sqrt(2.0)
    assert judge(["wide", "sure"], [5.0, 5.0], equal, twice).winner == 1
    assert judge(["wide", "sure"], [4.0, 5.0], equal, twice).winner == 0
    assert judge(["wider", "sure"], [4.0, 5.0], equal, twice * [[2.5], [1.0]]).winner == 1
    # Behind by no more than the error of that: nothing is known of it, and it counts for nothing.
    behind, errors = (
        np.array([[-0.04, -0.04], [0.0, 0.0]]),
        np.full((2, 2), 0.02 * np.sqrt(2.0)) * [[2.0], [1.0]],
    )
    assert judge(["cheap", "dear"], [1.0, 5.0], behind, errors).winner == 0
    # What is small in nats is as good, however many times larger than the least.
    assert judge(["wide", "sure", "dear"], [5.0, 5.0, 30.0], bounds / 20, stderrs / 20).winner == 0


@pytest.mark.parametrize("bad", [-np.inf, np.nan])
def test_what_is_not_finite_does_not_win(bad):
    bounds, stderrs = np.array([[-10.0, -10.0], [bad, 5.0]]), np.full((2, 2), 0.1)
    choice = judge(["sound", "broken"], [30.0, 1.0], bounds, stderrs)
    assert choice.winner == 0
    assert "not finite: broken" in choice.reason
    with pytest.raises(ValueError, match="tried broken"):
        judge(["broken"], [1.0], bounds[1:], stderrs[1:])


def test_each_estimator_is_near_the_truth():
    heavy = by_importance((DIAGONAL,), degrees_of_freedom=5, num_samples=2000, chunk_size=500)
    tempering = Tempering(num_particles=32, pilot_temperatures=8, max_temperatures=20)
    smc = by_smc((DIAGONAL,), tempering, start="diagonal", expected_temperatures=5.0)
    for estimator in (heavy, smc):
        found = estimate_log_evidence(
            MODEL, estimator, THETA, DATA, (PHI_NxP,), jax.random.key(1), chunk_size=N
        )
        error = np.float64(found.log_evidence) - TRUTH_N
        oracles.assert_mean(error, 0.0, rounding=0.02)
        assert estimator.evaluations > 1000


def test_a_start_that_is_not_finite_is_the_prior():
    broken_NxP = PHI_NxP.copy()
    broken_NxP[3] = np.nan
    found, from_prior = (
        estimate_log_evidence(
            MODEL,
            by_annealing((DIAGONAL,), SMALL, start=start),
            THETA,
            DATA,
            (phi_NxP,),
            jax.random.key(1),
            chunk_size=N,
        )
        for start, phi_NxP in (("diagonal", broken_NxP), ("prior", PHI_NxP))
    )
    assert np.isfinite(found.log_evidence).all()
    np.testing.assert_allclose(found.log_evidence[3], from_prior.log_evidence[3], rtol=1e-5)
    assert np.all((found.acceptance > 0.2) & (found.acceptance <= 1.0))


def test_quadrature_is_the_truth_and_has_no_bias():
    exact = LinearGaussian.random(np.random.default_rng(2), D, (3.0, 1.0), 0.5)
    theta, x_NxD = models.LinearGaussianParams(*exact.theta), exact.sample(np.random.default_rng(3), 5)
    family = posterior.full(2)
    phi_NxP = np.stack([exact.optimum("full", x_D) for x_D in x_NxD]).astype(np.float32)
    estimator = by_quadrature((family,), start="full", num_nodes=65, half_width=8.0)
    model = models.linear_gaussian(2, (1.0, 1.0), 1.0, D)
    found = estimate_log_evidence(
        model, estimator, theta, (x_NxD, np.arange(5)), (phi_NxP,), jax.random.key(0), chunk_size=5
    )
    truth_N = np.array([exact.log_evidence(x_D) for x_D in x_NxD])
    np.testing.assert_allclose(found.log_evidence, truth_N, rtol=1e-5)
    assert (estimator.bias, estimator.evaluations) == ("none", 2 * 65**2)
    with pytest.raises(ValueError, match="at most 2 latent dimensions"):
        by_quadrature((DIAGONAL,), start="diagonal", num_nodes=65, half_width=8.0)
