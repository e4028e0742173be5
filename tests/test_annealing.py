"""Annealed importance sampling against exact log p(x), and its moves against the law they leave alone."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blackjax.mcmc import hmc
from blackjax.mcmc.proposal import static_binomial_sampling

from tests import oracles
from tests.oracles import EPS, LinearGaussian
from vaelab import model as models
from vaelab import posterior
from vaelab.evidence import annealing, transition
from vaelab.evidence.annealing import Annealing, Pilot, annealed_importance_sampling
from vaelab.objective import log_weight
from vaelab.parallel import map_datapoints


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
    found = estimator(settings, **case)(phi_P, jax.random.split(jax.random.key(0), count))
    return jax.tree.map(np.asarray, found)


@pytest.mark.parametrize("start", ["prior", "optimum"])
def test_unbiased_for_the_evidence_and_from_below_for_its_logarithm(start):
    """However coarse the path and short the pilot, as long as the pilot is over before the chains begin."""
    phi_P = SMALL.phi_P if start == "optimum" else SMALL.family.init()
    found = estimates(COARSE._replace(num_chains=2), phi_P, 10_000).evidence.log_evidence
    error = np.float64(found) - SMALL.log_evidence
    oracles.assert_mean(np.exp(error), 1.0, rounding=SMALL.rounding)
    # Jensen's inequality is seen, by many standard errors.
    assert np.mean(error) < -5.0 * np.std(error) / np.sqrt(error.size)


@pytest.mark.parametrize("start", ["prior", "optimum"])
def test_intervals_hold_log_evidence_as_often_as_they_say(start):
    """With the bias that is stated, Var[W] / (2 C p^2) = stderr^2 / 2 below."""
    phi_P = SMALL.phi_P if start == "optimum" else SMALL.family.init()
    settings = COARSE._replace(num_temperatures=40, num_chains=100)
    found = estimates(settings, phi_P, 400).evidence
    error = np.float64(found.log_evidence) - SMALL.log_evidence + 0.5 * np.float64(found.stderr) ** 2
    oracles.assert_calibrated(error, 0.0, found.stderr)
    held = np.mean(np.abs(error) <= 1.96 * found.stderr)
    assert abs(held - 0.95) <= 5.0 * np.sqrt(0.95 * 0.05 / error.size)
    assert np.mean(found.pareto_k) < 0.5  # one, of a tail of 20, has an error of 0.25


def test_the_default_is_good_to_two_hundredths_of_a_nat():
    case = Case(np.geomspace(1.5, 0.3, 10), 20)
    assert case.exact.mean_field_gap() > 0.1  # there is something to anneal
    found = estimates(Annealing(), case.phi_P, 20, log_joint=case.log_joint, family=case.family)
    error = np.float64(found.evidence.log_evidence) - case.log_evidence
    assert np.sqrt(np.mean(error**2)) < 0.02
    assert np.all(found.acceptance > 0.7)


def test_one_temperature_is_importance_sampling():
    settings = COARSE._replace(num_temperatures=1, num_chains=1)
    found = estimates(settings, SMALL.phi_P, 4000)
    elbo = SMALL.exact.elbo(SMALL.x_D, *oracles.law("diagonal", SMALL.phi_P))
    oracles.assert_mean(found.evidence.log_evidence, elbo, rounding=SMALL.rounding)
    assert np.all(np.isinf(found.evidence.stderr))  # of one weight there is no error to go by


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
    mean, scale = oracles.law("diagonal", SMALL.phi_P)
    q, p = (mean, scale @ scale.T), SMALL.exact.posterior(SMALL.x_D)
    divergence = oracles.gaussian_kl(*q, *p) + oracles.gaussian_kl(*p, *q)
    leading = divergence / num_temperatures
    # What is left of mixing, and of the next order in 1 / T, is a tenth.
    oracles.assert_mean(error, -0.5 * leading, rounding=0.05 * leading)
    np.testing.assert_allclose(np.var(error), leading, rtol=0.1 + 5.0 * np.sqrt(2.0 / error.size))


def geweke(draws):
    """z-scores of E[eps_i], E[eps_i^2], E[eps_i eps_j] when (eps, x) walks by moves of eps and fresh x.

    (Geweke 2004.) Each of N walks starts in the joint law, moves eps given x and draws x given eps by turns,
    and is looked at once at its end: eps ~ N(0, I) again if and only if the moves leave p(eps given x) alone.
    """
    model = models.linear_gaussian(2, (1.0, 1.0), 1.0, 3)
    theta = models.LinearGaussianParams(
        jnp.array([[2.0, 0.5], [0.0, 1.0], [1.0, -1.0]]), jnp.zeros(3), jnp.zeros(3)
    )

    def walk(key):
        key_start, key_walk = jax.random.split(key)

        def turn(eps_K, t):
            key_x, key_move = jax.random.split(jax.random.fold_in(key_walk, t))
            x_D = model.sample(theta, key_x, eps_K)
            log_w = partial(model.log_likelihood, theta, x_D)
            point = transition.at(log_w, eps_K)
            point, _ = transition.move(log_w, point, 1.0, 0.7, key_move, num_leapfrogs=2)
            return point.eps_K, None

        return jax.lax.scan(turn, jax.random.normal(key_start, (2,)), jnp.arange(20))[0]

    eps_NxK = np.float64(jax.jit(jax.vmap(walk))(jax.random.split(jax.random.key(0), draws)))
    tests = np.concatenate([eps_NxK, eps_NxK**2 - 1.0, eps_NxK[:, :1] * eps_NxK[:, 1:]], axis=1)
    return np.mean(tests, axis=0) / (np.std(tests, axis=0) / np.sqrt(draws))


def test_moves_leave_the_posterior_alone():
    assert np.all(np.abs(geweke(20_000)) < 5.0)


def test_geweke_finds_an_accept_rule_that_is_off(monkeypatch):
    """The test above has the power to see every proposal accepted, and half of the energy forgotten."""

    def always(key, log_p, old, new):
        return static_binomial_sampling(key, 0.0 * log_p, old, new)

    def lenient(key, log_p, old, new):
        return static_binomial_sampling(key, 0.5 * log_p, old, new)

    build_kernel = hmc.build_kernel
    for rule in (always, lenient):
        proposal = partial(hmc.hmc_proposal, sample_proposal=rule)
        monkeypatch.setattr(hmc, "build_kernel", partial(build_kernel, build_proposal=proposal))
        assert np.any(np.abs(geweke(20_000)) > 5.0)


def test_what_a_move_carries_is_what_its_end_has():
    log_w = log_weight(SMALL.log_joint, SMALL.family, SMALL.phi_P, SMALL.phi_P)

    def one(beta, key):
        key_start, key_move = jax.random.split(key)
        point = transition.at(log_w, jax.random.normal(key_start, (3,)))
        moved, how = transition.move(log_w, point, beta, jnp.float32(1.2), key_move, num_leapfrogs=2)
        return point, moved, transition.at(log_w, moved.eps_K), how.accepted

    beta_N = np.float32(np.geomspace(1e-5, 1.0, 6)).repeat(20)
    keys = jax.random.split(jax.random.key(0), beta_N.size)
    point, moved, fresh, accepted_N = jax.jit(jax.vmap(one))(beta_N, keys)
    # Rounding of log N(eps) and of log w, as a part of beta.
    bound_N = 20 * EPS * (np.abs(np.asarray(fresh.log_w)) + 10.0 / beta_N)
    assert np.all(np.abs(moved.log_w - fresh.log_w) <= bound_N)
    assert np.all(np.abs(moved.grad_K - fresh.grad_K) <= bound_N[:, None])
    # A rejected move gives its start back bit for bit: no rounding builds up in a chain that stands still.
    assert 0.1 < np.mean(accepted_N) < 0.9
    for new, old in zip(moved, point, strict=True):
        np.testing.assert_array_equal(new[~accepted_N], old[~accepted_N])


def test_half_a_turn_is_no_trap():
    """In N(0, I) a quarter turn draws |eps|^2 anew; half a turn on the dot would keep it for ever."""

    def kept(turn):
        def one(key):
            key_start, key_move = jax.random.split(key)
            point = transition.at(lambda eps_K: 0.0 * eps_K[0], jax.random.normal(key_start, (2,)))
            moved, _ = transition.move(
                lambda eps_K: 0.0 * eps_K[0], point, 1.0, turn / 8, key_move, num_leapfrogs=8
            )
            return jnp.sum(point.eps_K**2), jnp.sum(moved.eps_K**2)

        return np.corrcoef(*jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 10_000)))[0, 1]

    # E cos^2 of U(0.7, 1.3) times the turn.
    for turn in (np.pi / 2, np.pi):
        angle = turn * np.linspace(0.7, 1.3, 1001)
        assert abs(kept(turn) - np.mean(np.cos(angle) ** 2)) < 5.0 / np.sqrt(10_000) + 0.02


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
    """Of a deviation c / b the length is c log b: equal lengths are equal ratios."""
    beta_J = jnp.geomspace(1e-3, 1.0, 400)
    beta_J = beta_J.at[0].set(0.0)
    deviation_J = jnp.where(beta_J > 0.0, 1e6 / jnp.maximum(beta_J, 1e-3), 0.0)
    beta_T1 = annealing.equal_length(Pilot(beta_J, jnp.ones(400), deviation_J), 20)
    middle = np.diff(np.log(beta_T1[2:8]))
    # A tenth of the length is that of b, which near 0 is little.
    np.testing.assert_allclose(middle, np.mean(middle), rtol=0.05)


def test_steps_stay_within_a_quarter_turn_and_give_the_wanted_acceptance():
    case = Case(np.geomspace(10.0, 0.3, 10), 20)
    settings = Annealing(target_acceptance=0.7)
    log_w = log_weight(case.log_joint, case.family, case.family.init(), case.family.init())
    pilot = jax.jit(partial(annealing.fly, log_w, latent_dim=10, settings=settings))(jax.random.key(0))
    assert np.all(pilot.step_size_J <= transition.longest_step(settings.num_leapfrogs) + EPS)
    assert pilot.step_size_J[-1] < 0.5 * pilot.step_size_J[0]  # the posterior is narrow
    found = estimates(settings, case.family.init(), 5, log_joint=case.log_joint, family=case.family)
    np.testing.assert_allclose(found.acceptance, 0.7, atol=0.08)


def test_what_cannot_be_annealed_is_marked():
    """No weight anywhere; not a number anywhere; chains that no proposal can move."""
    offset_N = np.float32([0.0, -np.inf, np.nan])

    def one(offset, key):
        return annealed_importance_sampling(
            lambda z_K: SMALL.log_joint(z_K) + offset, SMALL.family, SMALL.phi_P, key, settings=COARSE
        )

    found = jax.jit(jax.vmap(one))(offset_N, jax.random.split(jax.random.key(0), 3))
    np.testing.assert_array_equal(found.evidence.finite, [True, False, False])
    np.testing.assert_array_equal(found.acceptance[1:], 0.0)
    np.testing.assert_array_equal(found.stuck, [0.0, 1.0, 1.0])
    assert found.evidence.log_evidence[1] == -np.inf
    assert np.all(found.evidence.stderr[1:] == np.inf)
    assert np.all(found.evidence.pareto_k[1:] == np.inf)


def test_chains_that_never_move_are_importance_sampling():
    def stiff(z_K):  # the value is that of the model, the derivative is not a number
        return SMALL.log_joint(z_K) + jnp.sqrt(0.0 * jnp.sum(z_K**2))

    found = estimates(COARSE, SMALL.phi_P, 2000, log_joint=stiff)
    assert np.all(found.acceptance == 0.0)
    assert np.all(found.stuck == 1.0)
    assert np.all(found.evidence.finite)
    error = np.float64(found.evidence.log_evidence) - SMALL.log_evidence
    oracles.assert_mean(np.exp(error), 1.0, rounding=SMALL.rounding)


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
    found, again = (map_datapoints(one, None, r, chunk_size=3).evidence.log_evidence for r in (rows, turned))
    np.testing.assert_allclose(found, again[::-1], rtol=40 * EPS)


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


def test_no_key_is_used_twice():
    with jax.debug_key_reuse(True):
        settings = COARSE._replace(num_temperatures=3, pilot_temperatures=3)
        found = annealed_importance_sampling(
            SMALL.log_joint, SMALL.family, SMALL.phi_P, jax.random.key(0), settings=settings
        )
    assert abs(found.evidence.log_evidence - SMALL.log_evidence) < 1.0
