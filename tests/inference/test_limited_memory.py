"""The quasi-Newton loop in memory that is linear in K, on Gaussian posteriors whose gaps are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.inference.test_low_rank import FAMILY, LARGE, gaussian, lost, matrix, pairs
from tests.support import oracles
from vaelab import posterior
from vaelab.inference import certificate, limited_memory, low_rank
from vaelab.inference.curvature import MOST_DENSE
from vaelab.inference.limited_memory import State
from vaelab.inference.loop import evaluations, infer
from vaelab.inference.optimizer import InnerLoop, LocalObjective, Optimizer
from vaelab.inference.solver import QuasiNewtonState
from vaelab.runtime import memory


@pytest.mark.parametrize("distance", [0.0, 0.05, 0.3])
def test_the_sketched_excess_is_the_exact_one_within_its_errors(distance):
    precision, log_joint = gaussian()
    rng = np.random.default_rng(5)
    sd = np.diag(precision) ** -0.5
    phi_P = np.concatenate([distance * sd * rng.normal(size=LARGE), np.log(sd)]).astype(np.float32)
    solver = limited_memory.limited_memory(FAMILY, lambda step: 0.0, num_samples=10, max_norm=5.0)

    def excess(key):
        state = solver.init(phi_P)
        for t in range(limited_memory.LEARN_EVERY):
            grad_P, state = solver.gradient(log_joint, phi_P, state, jax.random.fold_in(key, t))
            _, state = solver.update(phi_P, grad_P, state)
        keys = jax.random.split(jax.random.fold_in(key, 99), 8)
        grads = jax.vmap(lambda key: solver.gradient(log_joint, phi_P, state, key)[0])(keys)
        return certificate.sketched_excess(log_joint, FAMILY, phi_P, key, grads)

    found = jax.jit(jax.vmap(excess))(jax.random.split(jax.random.key(1), 40))
    # Of a curvature that a sketch has to 11%, off the directions that matter, the inverse is off by less.
    oracles.assert_mean(found.value, lost(precision, phi_P), rounding=0.06 * lost(precision, phi_P))


def fit(num_steps=100, count=4):
    precision, log_joint = gaussian()
    start = np.zeros(2 * LARGE, np.float32)
    start[:LARGE] = 0.5
    schedule = lambda step: 0.5 * 0.5 * (1.0 + jnp.cos(jnp.pi * step / num_steps))  # noqa: E731
    solver = limited_memory.limited_memory(FAMILY, schedule, num_samples=10, max_norm=5.0)

    def one(key):
        settings = {"num_steps": num_steps, "certificate_groups": 8, "tolerance": 0.05}
        return infer(solver, log_joint, FAMILY, start, key, **settings)

    found = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), count))
    return np.array([lost(precision, phi_P) for phi_P in found.phi_P]), found


def test_the_loop_reaches_the_optimum_of_a_correlated_posterior_and_says_how_near_it_is():
    loss, found = fit()
    assert np.all(loss < 0.02), loss
    error = np.abs(found.excess.value - loss) / found.excess.stderr
    assert np.all(error < oracles.FIVE), (loss, found.excess)


def test_a_whole_step_lands_on_the_mean_of_a_posterior_that_is_known():
    precision = matrix([12.0, 3.0, -0.7], size=LARGE)
    sd = np.diag(precision) ** -0.5
    phi_P = np.concatenate([0.5 * sd, np.log(sd)]).astype(np.float32)
    solver = limited_memory.limited_memory(FAMILY, lambda step: 1.0, num_samples=10, max_norm=1e3)
    known = low_rank.learn(low_rank.nothing(LARGE, 16), *pairs(precision * np.outer(sd, sd), 600))
    gradient = np.concatenate([-precision @ phi_P[:LARGE], np.zeros(LARGE)]).astype(np.float32)
    state = solver.init(phi_P)._replace(curvature=known)
    moved_P, _ = solver.update(phi_P, gradient, state)
    assert lost(precision, phi_P) > 10.0
    # What is left is the diagonal of the low rank part, which is not even.
    assert lost(precision, moved_P) < 0.1


@pytest.mark.parametrize(("size", "kept"), [(MOST_DENSE, QuasiNewtonState), (MOST_DENSE + 1, State)])
def test_quasi_newton_keeps_no_matrix_of_many_dimensions(size, kept):
    family = posterior.diagonal(size)
    adam = {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "clip_norm": None}
    named = Optimizer("quasi_newton", "cosine", 0.5, 0.0, 0, max_norm=5.0, **adam)
    loop = InnerLoop(named, LocalObjective("elbo", 10, True), 40)
    state = jax.eval_shape(loop(family).init, jax.ShapeDtypeStruct((2 * size,), jnp.float32))
    assert type(state) is kept


def test_what_is_learned_every_tenth_step_is_not_computed_at_the_others():
    """Under vmap a condition that differs between datapoints computes both sides: here it is one for all."""
    whole = limited_memory.limited_memory(FAMILY, lambda step: 0.1, num_samples=10, max_norm=5.0)
    settings = {"num_steps": 20, "certificate_groups": 4, "tolerance": 0.05}
    keys = jax.random.split(jax.random.key(0), 3)

    def conditions(solver):
        def one(phi_P, key):
            return infer(solver, lambda z_K: -0.5 * z_K @ z_K, FAMILY, phi_P, key, **settings)

        return str(jax.make_jaxpr(jax.vmap(one))(jnp.zeros((3, 2 * LARGE)), keys)).count(" cond[")

    assert conditions(whole) == conditions(whole._replace(at=None)) + 1


def test_memory_of_a_fit_is_linear_in_the_dimensions():
    def peak(size):
        family = posterior.diagonal(size)
        solver = limited_memory.limited_memory(family, lambda step: 0.1, num_samples=10, max_norm=5.0)
        settings = {"num_steps": 20, "certificate_groups": 4, "tolerance": 0.05}

        def one(phi_P, key):
            return infer(solver, lambda z_K: -0.5 * z_K @ z_K, family, phi_P, key, **settings)

        return memory.peak_bytes(one, jnp.zeros(2 * size), jax.random.key(0))

    assert peak(4096) < 2.2 * peak(2048) < 2.2**2 * peak(1024)


def test_evaluations_beyond_the_dense_dimensions_are_those_of_the_sketch():
    solver = limited_memory.limited_memory(FAMILY, lambda step: 0.1, num_samples=10, max_norm=5.0)
    assert LARGE > MOST_DENSE
    counted = evaluations(solver, FAMILY, num_steps=40, certificate_groups=8)
    assert counted == 400 + 80 + 2 * low_rank.SKETCH_PAIRS
