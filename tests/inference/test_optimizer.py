"""Schedules of learning rates, and what a record of numbers makes of them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaelab import posterior
from vaelab.inference.loop import infer
from vaelab.inference.optimizer import (
    SOLVERS,
    InnerLoop,
    LocalObjective,
    Optimizer,
    adam,
    learning_rates,
    refuse_overflow,
)
from vaelab.inference.solver import move

OPTIMIZER = Optimizer("adam", "constant", 0.1, 0.0, 0, 0.9, 0.999, 1e-8, 0.0, None, 5.0)


def test_powers_of_three_are_eight_stages_each_three_times_as_long_as_the_last():
    settings = OPTIMIZER._replace(schedule="powers_of_three", final_scale=0.1, learning_rate=1e-3)
    schedule = learning_rates(settings, 3280)
    ends = np.cumsum([3**i for i in range(8)])
    assert ends[-1] == 3280
    for i, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        for step in (start, end - 1):
            assert float(schedule(step)) == pytest.approx(1e-3 * 10 ** (-i / 7), rel=1e-5), (i, step)


def test_exponential_falls_by_the_same_part_in_every_step():
    settings = OPTIMIZER._replace(schedule="exponential", final_scale=0.25, learning_rate=1e-3)
    schedule = learning_rates(settings, 100)
    for step, rate in ((0, 1e-3), (50, 0.5e-3), (100, 0.25e-3)):
        assert float(schedule(step)) == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.0, 0.05, 0.1, 0.1, 0.1]),
        ("linear", [0.0, 0.05, 0.1, 0.06, 0.02]),
        ("cosine", [0.0, 0.05, 0.1, 0.06, 0.02]),
    ],
)
def test_a_schedule_warms_up_and_ends_with_the_last_step(schedule, rates):
    """0.1 after 4 of 12 steps from 0, and a fifth of it at the end: halfway between in the middle, 0.06."""
    settings = OPTIMIZER._replace(schedule=schedule, final_scale=0.2, warmup_steps=4)
    rate = learning_rates(settings, 12)
    assert [float(rate(step)) for step in (0, 2, 4, 8, 12)] == pytest.approx(rates, rel=1e-5, abs=1e-9)


def step(settings, gradient, max_skipped=0):
    """What the first step adds to a parameter of 1."""
    transform = adam(settings, 10, max_skipped)
    phi_P = jnp.ones(len(gradient))
    return np.asarray(transform.update(jnp.asarray(gradient), transform.init(phi_P), phi_P)[0])


def test_the_first_step_of_adam_is_of_the_learning_rate_whatever_the_gradient():
    np.testing.assert_allclose(step(OPTIMIZER, [3.0, -1e-3]), [-0.1, 0.1], rtol=1e-4)
    decayed = OPTIMIZER._replace(name="adamw", weight_decay=0.5)
    np.testing.assert_allclose(step(decayed, [3.0, -1e-3]), [-0.15, 0.05], rtol=1e-4)


def test_a_clipped_gradient_has_the_norm_that_it_may():
    """With eps far above the gradient a step is rate g / eps, and so as long as what is clipped."""
    settings = OPTIMIZER._replace(eps=1e6)
    np.testing.assert_allclose(step(settings, [30.0, 40.0]), [-3e-6, -4e-6], rtol=1e-3)
    np.testing.assert_allclose(
        step(settings._replace(clip_norm=5.0), [30.0, 40.0]), [-3e-7, -4e-7], rtol=1e-3
    )
    np.testing.assert_allclose(step(settings._replace(clip_norm=5.0), [0.3, 0.4]), [-3e-8, -4e-8], rtol=1e-3)


def test_a_step_that_is_not_finite_is_left_out_only_where_it_may_be():
    np.testing.assert_array_equal(step(OPTIMIZER, [np.nan, 1.0], max_skipped=1), 0.0)
    assert np.isnan(step(OPTIMIZER, [np.nan, 1.0])).any()


def test_a_finite_gradient_whose_square_overflows_does_not_freeze_adam():
    """One of 1e20 among 60 of a parabola: optax alone never moves again, refuse_overflow goes on."""

    def ended(transform, large_at):
        phi, state = jnp.full(2, 3.0), transform.init(jnp.zeros(2))
        for t in range(60):
            gradient = phi.at[0].set(1e20) if t == large_at else phi
            updates, moved = transform.update(gradient, state, phi)
            new = optax.apply_updates(phi, updates)
            if jnp.all(jnp.isfinite(new)):  # as the inner loop takes a step
                phi, state = new, moved
        return np.asarray(phi)

    plain = adam(OPTIMIZER, 60)
    assert ended(plain, 0)[0] == 3.0, "optax has changed: refuse_overflow may go"
    guarded = refuse_overflow(plain)
    np.testing.assert_allclose(ended(guarded, 0)[0], ended(guarded, 0)[1], rtol=1e-5)
    assert abs(ended(guarded, 0)[0]) < 0.5
    np.testing.assert_array_equal(ended(guarded, -1), ended(plain, -1))
    # The step is left out whole: what Adam has gathered before neither moves phi nor fades.
    _, state = guarded.update(jnp.ones(2), guarded.init(jnp.zeros(2)))
    updates, after = guarded.update(jnp.float32([1e20, 1.0]), state)
    np.testing.assert_array_equal(updates, 0.0)
    jax.tree.map(np.testing.assert_array_equal, after, state)


def test_the_inner_loop_of_a_flow_goes_on_after_a_gradient_of_1e20():
    """A density whose gradient is 1e20 at about one sample in a hundred: the fit is that without it."""
    family = posterior.real_nvp(2, num_layers=2, hidden=4)

    def fitted(height):
        def log_joint(z_K):
            value = -0.5 * jnp.sum((z_K - 1.0) ** 2)
            # The value of a step of 1e20 z that is taken off again, at z beyond 3 alone.
            steep = jnp.where(z_K[0] > 3.0, z_K[0], 0.0)
            return value + height * (steep - jax.lax.stop_gradient(steep))

        loop = InnerLoop(
            OPTIMIZER._replace(learning_rate=0.02, b2=0.99), LocalObjective("stick_the_landing", 2, True), 400
        )
        settings = {"num_steps": 400, "certificate_groups": 4, "tolerance": 0.1}
        run = partial(infer, loop(family), log_joint, family, **settings)
        return jax.jit(lambda key: run(family.init(), key))(jax.random.key(0)).phi_P

    eps_SxK = jax.random.normal(jax.random.key(1), (4000, 2))
    for height in (0.0, 1e20):
        mean_K = jax.vmap(family.reparameterize, (None, 0))(fitted(height), eps_SxK).mean(axis=0)
        # 400 steps of 0.02 with two samples each: within a quarter of the posterior's standard deviation.
        np.testing.assert_allclose(mean_K, 1.0, atol=0.25)


def test_steps_without_the_inner_loop_go_on_too_and_can_be_differentiated():
    """As training takes them: a gradient of 1e20 leaves out its own step, and NaN is still seen."""
    guarded = refuse_overflow(adam(OPTIMIZER, 60))

    def ended(phi, height):
        def step(carry, t):
            phi, state = carry
            gradient = jnp.where(t == 3, phi.at[0].set(height), phi)
            updates, state = guarded.update(gradient, state, phi)
            return (optax.apply_updates(phi, updates), state), None

        return jax.lax.scan(step, (phi, guarded.init(phi)), jnp.arange(60))[0][0]

    start = jnp.full(2, 3.0)
    usual, spiked = (jax.jit(ended)(start, height) for height in (3.0, 1e20))
    np.testing.assert_allclose(spiked, usual, atol=0.2)
    assert np.all(np.isfinite(jax.jit(jax.jacobian(ended))(start, 1e20)))
    assert np.isnan(jax.jit(ended)(start, jnp.nan)).any()


@pytest.mark.parametrize("name", SOLVERS)
def test_a_record_is_a_solver_with_its_samples_and_equal_records_are_one(name):
    bound = LocalObjective("elbo", 4, True)
    loop = InnerLoop(OPTIMIZER._replace(name=name), bound, 10)
    assert loop == InnerLoop(OPTIMIZER._replace(name=name), LocalObjective("elbo", 4, True), 10)
    assert hash(loop) == hash(loop._replace())
    family = posterior.diagonal(2)
    solver, phi_P = loop(family), family.init()
    assert solver.num_samples == 4

    # At rate 0.1 uphill from the prior towards 1, by each of them.
    @jax.jit
    def one_step(phi_P):
        def log_joint(z_K):
            return -50.0 * jnp.sum((z_K - 1.0) ** 2)

        grad_P, state = solver.gradient(log_joint, phi_P, solver.init(phi_P), jax.random.key(0))
        return solver.update(phi_P, grad_P, state)[0]

    assert np.all(np.asarray(one_step(phi_P))[:2] > 0.01)


@pytest.mark.parametrize("antithetic", [True, False])
def test_a_natural_gradient_steps_in_one_where_the_family_can_and_with_the_same_draws(antithetic):
    """Of stick-the-landing in the full family; the gradient of another bound has the score of q in it."""
    family, natural = posterior.full(2), OPTIMIZER._replace(name="natural_gradient", max_norm=0.5)
    draws = LocalObjective("stick_the_landing", 4, antithetic)
    whole = InnerLoop(natural, draws, 3)(family)
    phi_P, key = family.init() + 0.1, jax.random.key(0)

    def log_joint(z_K):
        return -jnp.sum((z_K - 1.0) ** 4) - 0.5 * z_K @ z_K

    one, other = (
        move(each, log_joint, phi_P, each.init(phi_P), key)[0] for each in (whole, whole._replace(step=None))
    )
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    assert whole.step is not None
    assert InnerLoop(natural, draws._replace(name="elbo"), 3)(family).step is None
    assert InnerLoop(natural, draws, 3)(posterior.diagonal(2)).step is None
