"""The moves of annealing against the distribution that they leave alone."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blackjax.mcmc import hmc
from blackjax.mcmc.proposal import static_binomial_sampling

from tests.support.oracles import EPS, LinearGaussian
from vaelab import model as models
from vaelab import posterior
from vaelab.evidence import transition
from vaelab.objective.draws import log_weight

EXACT = LinearGaussian.random(np.random.default_rng(0), 5, (2.0, 1.0, 0.5), 1.0)
X_D = EXACT.sample(np.random.default_rng(1), 1)[0]
LOG_JOINT = models.bind(
    models.linear_gaussian(3, (1.0,) * 3, 1.0, 5), models.LinearGaussianParams(*EXACT.theta), X_D
)
DIAGONAL = posterior.diagonal(3)
PHI_P = EXACT.optimum("diagonal", X_D).astype(np.float32)


def geweke(draws):
    """z-scores of E[eps_i], E[eps_i^2], E[eps_i eps_j] when (eps, x) walks by moves of eps and fresh x.

    (Geweke 2004.) Each of N walks starts in the joint distribution, moves eps given x and draws x given eps
    by turns, and is looked at once at its end: eps ~ N(0, I) again if and only if the moves leave
    p(eps given x) alone.
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


@pytest.mark.long
def test_moves_leave_the_posterior_alone():
    assert np.all(np.abs(geweke(20_000)) < 5.0)


@pytest.mark.long
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


@pytest.mark.long
def test_what_a_move_carries_is_what_its_end_has():
    log_w = log_weight(LOG_JOINT, DIAGONAL, PHI_P, PHI_P)

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


@pytest.mark.long
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
