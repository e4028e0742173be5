"""One step of training: its bound, its draws, and what it does not depend on."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.test_loop import BATCH, DATA_DIM, INDEX, LATENT_DIM, make_system
from vaelab.model import networks
from vaelab.model.latent import bind, with_prior
from vaelab.model.mixture import mixture
from vaelab.model.vamp import PseudoInputs, vamp
from vaelab.objective.elbo import beta_elbo, elbo
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


def with_vamp(system, **changes):
    """The system with a VampPrior of its own encoder, two pseudo-inputs."""
    family = system.family
    encoder = networks.mlp_encoder(DATA_DIM, (16,), family.init(), activation=jnp.tanh, output_scale=0.1)
    inputs = PseudoInputs(jnp.zeros(DATA_DIM), jnp.ones(DATA_DIM))
    prior = vamp(LATENT_DIM, num_components=2, family=family, encoder=encoder, inputs=inputs)
    made = with_prior(system.model, prior)
    return system._replace(model=made, regime=regime.amortized(encoder, family), **changes), encoder


@pytest.mark.parametrize("learn_model", [True, False])
def test_the_components_of_a_vamp_prior_are_the_encoder_as_it_is_while_both_are_learned(
    system, pixels, learn_model
):
    vamped, encoder = with_vamp(system, learn_model=learn_model)
    start = train.init_state(vamped, jax.random.key(1))
    end, _ = jax.jit(partial(train.train_step, system=vamped))(
        start, batch(system, pixels), jax.random.key(3)
    )
    moved = [np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (start.psi, end.psi)), strict=True)]
    assert min(moved) > 0.0
    for state in (start, end):
        u_MxD, phi_MxP = state.theta["prior"]["pseudo_inputs_MxD"], state.theta["prior"]["phi_MxP"]
        encoded_MxP = jax.vmap(encoder.apply, (None, 0))(state.psi, u_MxD)
        assert np.allclose(phi_MxP, encoded_MxP, atol=1e-6) == learn_model
    if not learn_model:
        jax.tree.map(np.testing.assert_array_equal, start.theta, end.theta)


def test_a_step_takes_the_components_from_the_encoder_and_not_from_the_state(system, pixels):
    vamped, _ = with_vamp(system)
    state, points = train.init_state(vamped, jax.random.key(1)), batch(system, pixels)

    def bound(psi, theta):
        return train.train_step(
            state._replace(psi=psi, theta=theta), points, jax.random.key(3), system=vamped
        )

    # The bound of a step is at the encoder that it met, whatever components the state came with.
    stale = jax.tree.map(jnp.zeros_like, state.theta["prior"]) | {
        "pseudo_inputs_MxD": state.theta["prior"]["pseudo_inputs_MxD"]
    }
    values = [bound(state.psi, theta)[1].bound for theta in (state.theta, state.theta | {"prior": stale})]
    np.testing.assert_array_equal(*values)


def test_an_objective_that_weighs_the_kl_is_told_the_prior(system, pixels):
    """beta = 1 is the ELBO whatever the prior, and beta = 3 has three times the KL to the prior there is."""
    prior = mixture(LATENT_DIM, num_components=2)
    learned = system._replace(model=with_prior(system.model, prior), weighs_kl=True)
    state, points = train.init_state(learned, jax.random.key(1)), batch(system, pixels)

    def bound(objective, **changes):
        changed = learned._replace(objective=partial(objective, num_samples=2), **changes)
        return float(train.train_step(state, points, jax.random.key(3), system=changed)[1].bound)

    plain = bound(elbo, weighs_kl=False)
    assert bound(partial(beta_elbo, beta=1.0)) == pytest.approx(plain, rel=1e-6)
    far = jax.tree.map(lambda leaf: leaf, state.theta)
    far["prior"] = far["prior"] | {"mean_MxK": far["prior"]["mean_MxK"] + 3.0}
    state = state._replace(theta=far)
    kl = bound(partial(beta_elbo, beta=2.0)) - bound(partial(beta_elbo, beta=3.0))
    # A prior 3 away along each of three axes, of about unit scale.
    assert kl > 0.3 * 0.5 * 9.0 * LATENT_DIM
