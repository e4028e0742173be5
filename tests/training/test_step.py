"""One step of training: its bound, its draws, and what it does not depend on."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.test_loop import BATCH, DATA_DIM, INDEX, make_system
from vaelab.model.latent import bind
from vaelab.training import regime
from vaelab.training import step as train


@pytest.fixture(scope="module")
def system():
    return make_system()


@pytest.fixture(scope="module")
def pixels():
    return np.random.RandomState(0).randint(0, 17, (len(INDEX), DATA_DIM)).astype(np.uint8)


def batch(system, pixels):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(5), INDEX[:BATCH])
    x_BxD = jax.vmap(system.observe)(keys, pixels[:BATCH])
    return regime.Batch(x_BxD, jnp.arange(BATCH), jnp.asarray(INDEX[:BATCH]))


@pytest.mark.slow
def test_first_step_reports_the_objective_of_the_state_it_started_from(system, pixels):
    state = train.init_state(system, jax.random.key(1))
    points, key = batch(system, pixels), jax.random.key(3)
    _, metrics = train.train_step(state, points, key, system=system)
    by_hand = [
        system.objective(
            bind(system.model, state.theta, x_D),
            system.family,
            system.regime.recognise(state.theta, state.psi, x_D, None),
            jax.random.fold_in(key, index),
        )
        for x_D, index in zip(points.x_BxD, points.index_B, strict=True)
    ]
    # Means of 8 float32 bounds near -8, computed batched and one by one.
    np.testing.assert_allclose(metrics.bound, np.mean(by_hand), rtol=1e-5)


def test_jit_is_no_jit(system, pixels):
    state = train.init_state(system, jax.random.key(1))
    points = batch(system, pixels)
    plain = train.train_step(state, points, jax.random.key(3), system=system)
    jitted = jax.jit(partial(train.train_step, system=system))(state, points, jax.random.key(3))
    # One Adam step of 1e-2; float32 rounding of the gradients moves it by far less than 1e-5.
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), plain, jitted)


def test_the_bound_of_a_batch_does_not_depend_on_its_order(system, pixels):
    state = train.init_state(system, jax.random.key(1))
    points = batch(system, pixels)
    reversed_points = jax.tree.map(lambda a: a[::-1], points)
    _, forward = train.train_step(state, points, jax.random.key(3), system=system)
    _, backward = train.train_step(state, reversed_points, jax.random.key(3), system=system)
    np.testing.assert_allclose(forward.bound, backward.bound, rtol=1e-6)


def test_draws_differ_between_steps_and_between_datapoints(system, pixels):
    state = train.init_state(system, jax.random.key(1))
    points = batch(system, pixels)
    step = partial(train.train_step, state, system=system)
    elbo = step(points, jax.random.key(3))[1].bound
    assert elbo != step(points, jax.random.key(4))[1].bound
    same_x = points._replace(x_BxD=jnp.broadcast_to(points.x_BxD[:1], points.x_BxD.shape))
    same_point = same_x._replace(index_B=jnp.broadcast_to(points.index_B[:1], points.index_B.shape))
    assert step(same_x, jax.random.key(3))[1].bound != step(same_point, jax.random.key(3))[1].bound
