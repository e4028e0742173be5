"""Which estimator is chosen, on what draws, and that choosing leaves the estimate as it would have been."""

import jax
import numpy as np
import pytest

from tests import oracles
from tests.oracles import LinearGaussian
from vaelab import model as models
from vaelab import posterior
from vaelab.evidence import choose
from vaelab.evidence.annealing import Annealing
from vaelab.evidence.choose import best_evidence, judge
from vaelab.parallel import map_datapoints

K, D, N = 3, 5, 40
EXACT = LinearGaussian.random(np.random.default_rng(0), D, (3.0, 1.0, 0.5), 0.5)
MODEL = models.linear_gaussian(K, (1.0,) * K, 1.0, D)
THETA = models.LinearGaussianParams(*EXACT.theta)
DIAGONAL = posterior.diagonal(K)
X_NxD = EXACT.sample(np.random.default_rng(1), N)
DATA = X_NxD, np.arange(N)
PHI_NxP = np.stack([EXACT.optimum("diagonal", x_D) for x_D in X_NxD]).astype(np.float32)
TRUTH_N = np.array([EXACT.log_evidence(x_D) for x_D in X_NxD])
FEW = choose.by_importance(DIAGONAL, num_samples=4, chunk_size=4)
MANY = choose.by_importance(DIAGONAL, num_samples=4000, chunk_size=500)
ANNEALED = choose.by_annealing(DIAGONAL, Annealing(num_temperatures=20, num_chains=8, pilot_temperatures=8))


def test_the_highest_bound_wins_and_is_reported_on_other_draws():
    estimators = FEW, ANNEALED, MANY
    numbers = {"pilot_points": 20, "chunk_size": 20}
    evidence, choice = best_evidence(MODEL, estimators, THETA, DATA, PHI_NxP, jax.random.key(0), **numbers)
    assert choice.winner != 0
    assert choice.trials[0].behind > 5.0 * choice.trials[0].behind_stderr
    assert [trial.evaluations for trial in choice.trials] == [e.evaluations for e in estimators]
    error = np.float64(evidence.log_evidence) - TRUTH_N
    oracles.assert_mean(error, 0.0, rounding=0.02)
    # None of the estimates of the pilot is among those reported.
    key_pilot, _ = jax.random.split(jax.random.key(0))
    shared = THETA, jax.random.fold_in(key_pilot, choice.winner)
    pilot = map_datapoints(
        choose.mapped(MODEL, estimators[choice.winner]), shared, (*DATA, PHI_NxP), chunk_size=20
    )
    trial = choice.trials[choice.winner]
    np.testing.assert_allclose(np.mean(pilot.log_evidence[:20]), trial.mean, rtol=1e-5)
    assert not np.any(pilot.log_evidence == evidence.log_evidence)


def test_equals_are_told_apart_by_cost():
    """A hundred times the same experiment: noise makes neither the winner but in the share it may."""
    rng, truth_N = np.random.default_rng(0), np.linspace(-90.0, -110.0, 25)
    wins = []
    for _ in range(200):
        bounds = truth_N + rng.normal(size=(3, 25)) * np.array([[0.1], [0.2], [0.1]]) - [[0.0], [0.0], [1.0]]
        stderrs = np.array([[0.1], [0.2], [0.1]]) * np.ones(25)
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


@pytest.mark.parametrize("bad", [-np.inf, np.nan])
def test_what_is_not_finite_does_not_win(bad):
    bounds, stderrs = np.array([[-10.0, -10.0], [bad, 5.0]]), np.full((2, 2), 0.1)
    choice = judge(["sound", "broken"], [30.0, 1.0], bounds, stderrs)
    assert choice.winner == 0
    assert "not finite: broken" in choice.reason
    with pytest.raises(ValueError, match="tried broken"):
        judge(["broken"], [1.0], bounds[1:], stderrs[1:])


def test_each_estimator_is_near_the_truth():
    heavy = choose.by_student_t(DIAGONAL, degrees_of_freedom=5.0, num_samples=2000, chunk_size=500)
    smc = choose.by_smc(
        DIAGONAL,
        choose.Tempering(num_particles=32, pilot_temperatures=8, max_temperatures=20),
        expected_temperatures=5.0,
    )
    shared = THETA, jax.random.key(1)
    for estimator in (heavy, smc):
        found = map_datapoints(choose.mapped(MODEL, estimator), shared, (*DATA, PHI_NxP), chunk_size=N)
        error = np.float64(found.log_evidence) - TRUTH_N
        oracles.assert_mean(error, 0.0, rounding=0.02)
        assert estimator.evaluations > 1000
