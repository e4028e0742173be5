"""Annealed importance sampling against exact log p(x)."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import oracles
from tests.support.oracles import EPS, LinearGaussian
from vaelab import model as models
from vaelab import posterior
from vaelab.evidence import annealing, transition
from vaelab.evidence.annealing import Annealing, Pilot, annealed_importance_sampling
from vaelab.objective.draws import log_weight
from vaelab.runtime.chunks import map_datapoints


class Case:
    """A linear-Gaussian model with one x, and the best diagonal q for it."""

    def __init__(self, singular_values, data_dim):
        K = len(singular_values)
        self.exact = LinearGaussian.random(np.random.default_rng(0), data_dim, singular_values, 1.0)
        self.x_D = self.exact.sample(np.random.default_rng(1), 1)[0]
        self.log_evidence = self.exact.log_evidence(self.x_D)
        model = models.linear_gaussian(K, (1.0,) * K, 1.0, data_dim)
        self.log_joint = models.bind(model, models.LinearGaussianParams(*self.exact.theta), self.x_D)
        self.family = posterior.diagonal(K)
        self.phi_P = self.exact.optimum("diagonal", self.x_D).astype(np.float32)

    @property
    def rounding(self):
        return 20 * EPS * abs(self.log_evidence)


SMALL = Case((2.0, 1.0, 0.5), 5)
COARSE = Annealing(num_temperatures=8, num_chains=16, pilot_temperatures=8, pilot_chains=8)


@functools.cache
def estimator(settings, log_joint=SMALL.log_joint, family=SMALL.family):
    """(phi_P, keys_N) -> Annealed of N keys."""

    def one(phi_P, key):
        return annealed_importance_sampling(log_joint, family, phi_P, key, settings=settings)

    return jax.jit(jax.vmap(one, (None, 0)))


def estimates(settings, phi_P, count, **case):
    annealed = estimator(settings, **case)(phi_P, jax.random.split(jax.random.key(0), count))
    return jax.tree.map(np.asarray, annealed)


@pytest.mark.long
@pytest.mark.parametrize("start", ["prior", "optimum"])
def test_unbiased_for_the_evidence_and_from_below_for_its_logarithm(start):
    """However coarse the path and short the pilot, as long as the pilot is over before the chains begin."""
    phi_P = SMALL.phi_P if start == "optimum" else SMALL.family.init()
    annealed = estimates(COARSE._replace(num_chains=2), phi_P, 10_000).evidence.log_evidence
    error = np.float64(annealed) - SMALL.log_evidence
    oracles.assert_mean(np.exp(error), 1.0, rounding=SMALL.rounding)
    # Jensen's inequality is seen, by many standard errors.
    assert np.mean(error) < -5.0 * np.std(error) / np.sqrt(error.size)


@pytest.mark.long
@pytest.mark.parametrize("start", ["prior", "optimum"])
def test_intervals_hold_log_evidence_as_often_as_they_say(start):
    """With the bias that is stated, Var[W] / (2 C p^2) = stderr^2 / 2 below."""
    phi_P = SMALL.phi_P if start == "optimum" else SMALL.family.init()
    settings = COARSE._replace(num_temperatures=40, num_chains=100)
    annealed = estimates(settings, phi_P, 400).evidence
    error = np.float64(annealed.log_evidence) - SMALL.log_evidence + 0.5 * np.float64(annealed.stderr) ** 2
    oracles.assert_calibrated(error, 0.0, annealed.stderr)
    held = np.mean(np.abs(error) <= 1.96 * annealed.stderr)
    assert abs(held - 0.95) <= 5.0 * np.sqrt(0.95 * 0.05 / error.size)
    assert np.mean(annealed.pareto_k) < 0.5  # one, of a tail of 20, has an error of 0.25


@pytest.mark.long
@pytest.mark.slow
def test_the_default_is_good_to_two_hundredths_of_a_nat():
    case = Case(np.geomspace(1.5, 0.3, 10), 20)
    assert case.exact.mean_field_gap() > 0.1  # there is something to anneal
    annealed = estimates(Annealing(), case.phi_P, 20, log_joint=case.log_joint, family=case.family)
    error = np.float64(annealed.evidence.log_evidence) - case.log_evidence
    assert np.sqrt(np.mean(error**2)) < 0.02
    assert np.all(annealed.acceptance > 0.7)


@pytest.mark.long
def test_one_temperature_is_importance_sampling():
    settings = COARSE._replace(num_temperatures=1, num_chains=1)
    annealed = estimates(settings, SMALL.phi_P, 4000)
    elbo = SMALL.exact.elbo(SMALL.x_D, *oracles.mean_and_scale("diagonal", SMALL.phi_P))
    oracles.assert_mean(annealed.evidence.log_evidence, elbo, rounding=SMALL.rounding)
    assert np.all(np.isinf(annealed.evidence.stderr))  # of one weight there is no error to go by


@pytest.mark.long
def test_moments_of_the_weight_at_perfect_mixing(monkeypatch):
    """Mean log p - J / (2 T) and variance J / T, J = KL(q || posterior) + KL(posterior || q).

    Near q a trajectory of exactly a quarter turn draws anew each time.
    """
    monkeypatch.setattr(transition, "JITTER", 0.0)
    num_temperatures = 40
    settings = COARSE._replace(
        num_temperatures=num_temperatures,
        num_chains=1,
        num_leapfrogs=6,
        schedule=annealing.linear,
        target_acceptance=0.99,
    )
    error = estimates(settings, SMALL.phi_P, 4000).evidence.log_evidence - SMALL.log_evidence
    mean, scale = oracles.mean_and_scale("diagonal", SMALL.phi_P)
    q, p = (mean, scale @ scale.T), SMALL.exact.posterior(SMALL.x_D)
    divergence = oracles.gaussian_kl(*q, *p) + oracles.gaussian_kl(*p, *q)
    leading = divergence / num_temperatures
    # What is left of mixing, and of the next order in 1 / T, is a tenth.
    oracles.assert_mean(error, -0.5 * leading, rounding=0.05 * leading)
    np.testing.assert_allclose(np.var(error), leading, rtol=0.1 + 5.0 * np.sqrt(2.0 / error.size))


@pytest.mark.long
@pytest.mark.parametrize("schedule", [annealing.linear, annealing.sigmoid, annealing.equal_length])
@pytest.mark.parametrize("deviation", [0.0, 1.0, 1e6])
def test_schedules_rise_from_0_to_1(schedule, deviation):
    beta_J = jnp.linspace(0.0, 1.0, 9) ** 3
    pilot = Pilot(beta_J, jnp.ones(9), deviation / (1e-3 + beta_J))
    beta_T1 = schedule(pilot, 50)
    assert beta_T1.shape == (51,)
    assert beta_T1[0] == 0.0
    assert beta_T1[-1] == 1.0
    assert np.all(np.diff(beta_T1) > 0.0)


def test_equal_length_is_the_schedule_of_equal_lengths():
    """A deviation c / b has the length c log b: equal lengths are equal ratios."""
    beta_J = jnp.geomspace(1e-3, 1.0, 400)
    beta_J = beta_J.at[0].set(0.0)
    deviation_J = jnp.where(beta_J > 0.0, 1e6 / jnp.maximum(beta_J, 1e-3), 0.0)
    beta_T1 = annealing.equal_length(Pilot(beta_J, jnp.ones(400), deviation_J), 20)
    middle = np.diff(np.log(beta_T1[2:8]))
    # A tenth of the length is that of b, which near 0 is little.
    np.testing.assert_allclose(middle, np.mean(middle), rtol=0.05)


@pytest.mark.long
def test_steps_stay_within_a_quarter_turn_and_give_the_wanted_acceptance():
    case = Case(np.geomspace(10.0, 0.3, 10), 20)
    settings = Annealing(target_acceptance=0.7)
    log_w = log_weight(case.log_joint, case.family, case.family.init(), case.family.init())
    pilot = jax.jit(partial(annealing.fly, log_w, latent_dim=10, settings=settings))(jax.random.key(0))
    assert np.all(pilot.step_size_J <= transition.longest_step(settings.num_leapfrogs) + EPS)
    assert pilot.step_size_J[-1] < 0.5 * pilot.step_size_J[0]  # the posterior is narrow
    annealed = estimates(settings, case.family.init(), 5, log_joint=case.log_joint, family=case.family)
    np.testing.assert_allclose(annealed.acceptance, 0.7, atol=0.08)


@pytest.mark.long
def test_what_cannot_be_annealed_is_marked():
    """No weight anywhere; not a number anywhere; chains that no proposal can move."""
    offset_N = np.float32([0.0, -np.inf, np.nan])

    def one(offset, key):
        return annealed_importance_sampling(
            lambda z_K: SMALL.log_joint(z_K) + offset, SMALL.family, SMALL.phi_P, key, settings=COARSE
        )

    annealed = jax.jit(jax.vmap(one))(offset_N, jax.random.split(jax.random.key(0), 3))
    np.testing.assert_array_equal(annealed.evidence.finite, [True, False, False])
    np.testing.assert_array_equal(annealed.acceptance[1:], 0.0)
    np.testing.assert_array_equal(annealed.stuck, [0.0, 1.0, 1.0])
    assert annealed.evidence.log_evidence[1] == -np.inf
    assert np.all(annealed.evidence.stderr[1:] == np.inf)
    assert np.all(annealed.evidence.pareto_k[1:] == np.inf)


@pytest.mark.long
@pytest.mark.slow
def test_chains_that_never_move_are_importance_sampling():
    def stiff(z_K):  # the value is that of the model, the derivative is not a number
        return SMALL.log_joint(z_K) + jnp.sqrt(0.0 * jnp.sum(z_K**2))

    annealed = estimates(COARSE, SMALL.phi_P, 2000, log_joint=stiff)
    assert np.all(annealed.acceptance == 0.0)
    assert np.all(annealed.stuck == 1.0)
    assert np.all(annealed.evidence.finite)
    error = np.float64(annealed.evidence.log_evidence) - SMALL.log_evidence
    oracles.assert_mean(np.exp(error), 1.0, rounding=SMALL.rounding)


@pytest.mark.long
def test_a_datapoint_does_not_depend_on_its_neighbours():
    def one(shared, row):
        x_D, index = row
        model = models.linear_gaussian(3, (1.0,) * 3, 1.0, 5)
        log_joint = models.bind(model, models.LinearGaussianParams(*SMALL.exact.theta), x_D)
        key = jax.random.fold_in(jax.random.key(0), index)
        phi_P = SMALL.family.init()
        return annealed_importance_sampling(log_joint, SMALL.family, phi_P, key, settings=COARSE)

    rows = SMALL.exact.sample(np.random.default_rng(3), 4), np.arange(4)
    turned = tuple(row[::-1] for row in rows)
    annealed, again = (
        map_datapoints(one, None, r, chunk_size=3).evidence.log_evidence for r in (rows, turned)
    )
    np.testing.assert_allclose(annealed, again[::-1], rtol=40 * EPS)


@pytest.mark.long
def test_evaluations_counts_what_is_evaluated():
    """Each evaluation of the decoder calls back once, in the number that was promised."""
    calls = []

    def counted(z_K):
        @jax.custom_jvp
        def value(z_K):
            return SMALL.log_joint(z_K)

        @value.defjvp
        def _(primals, tangents):
            jax.debug.callback(lambda z_K: calls.append(1), primals[0])
            return jax.jvp(SMALL.log_joint, primals, tangents)

        return value(z_K)

    settings = COARSE._replace(num_temperatures=3, num_chains=2, pilot_temperatures=2, pilot_chains=2)
    estimates(settings, SMALL.phi_P, 1, log_joint=counted)
    jax.effects_barrier()
    assert len(calls) == annealing.evaluations(settings)


@pytest.mark.long
@pytest.mark.slow
def test_no_key_is_used_twice():
    with jax.debug_key_reuse(True):
        settings = COARSE._replace(num_temperatures=3, pilot_temperatures=3)
        annealed = annealed_importance_sampling(
            SMALL.log_joint, SMALL.family, SMALL.phi_P, jax.random.key(0), settings=settings
        )
    assert abs(annealed.evidence.log_evidence - SMALL.log_evidence) < 1.0
