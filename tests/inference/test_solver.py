"""How the inner loop moves: the natural gradient, and quasi-Newton steps."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.inference.test_loop import (
    EXACTS,
    FAMILIES,
    TOLERANCE,
    X_D,
    K,
    exact_bound,
    inner_loop,
    natural,
    newton,
    problems,
    run,
)
from tests.support import oracles
from tests.support.oracles import EPS
from vaelab import objective, posterior
from vaelab.inference import solver
from vaelab.inference.loop import infer
from vaelab.inference.solver import natural_gradient, quasi_newton
from vaelab.objective.elbo import elbo_from_draws


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def test_natural_gradient_is_that_of_the_family_up_to_its_longest_step(family):
    rng, lengths = np.random.default_rng(9), []
    transform = natural_gradient(family, max_norm=2.0)
    update = jax.jit(lambda phi_P, g_P: transform.update(g_P, transform.init(phi_P), phi_P)[0])
    for size in (0.01, 1.0, 1.9, 2.1, 10.0, 1e6):
        phi_P = oracles.random_phi(family.name, rng, K, 4.0)
        F = oracles.fisher_information(family.name, phi_P)
        direction = rng.normal(size=family.param_size)
        g = F @ direction * size / np.sqrt(direction @ F @ direction)  # of length `size`
        fitted = np.float64(update(phi_P, np.float32(g)))
        plain = np.float64(family.gaussian.natural_gradient(phi_P, np.float32(g)))
        np.testing.assert_allclose(
            fitted, plain * min(1.0, 2.0 / size), rtol=1e-4, atol=1e-4 * min(size, 2.0)
        )
        lengths.append(np.sqrt(fitted @ F @ fitted))
    np.testing.assert_allclose(lengths, [0.01, 1.0, 1.9, 2.0, 2.0, 2.0], rtol=1e-4)


@pytest.mark.long
def test_a_step_of_rate_r_moves_q_by_half_its_squared_length(family):
    """KL between q before and after, from a start whose gradient is far over the longest step."""
    _, x_D, phi_P = problems(family, count=1, starts=("bad",))[2]
    rate, longest = 0.02, 5.0
    optimizer = optax.chain(natural_gradient(family, max_norm=longest), optax.scale_by_learning_rate(rate))
    row = EXACTS[2], x_D, phi_P
    loop = inner_loop(family, 1, lambda family, num_steps: optimizer)
    moved_P = run(loop, [row]).phi_P[0]
    moments = [
        (mean, scale @ scale.T)
        for mean, scale in (oracles.mean_and_scale(family.name, p) for p in (phi_P, moved_P))
    ]
    # To second order in the length, 0.1; the third is what is left.
    np.testing.assert_allclose(
        oracles.gaussian_kl(*moments[0], *moments[1]), 0.5 * (rate * longest) ** 2, rtol=0.2
    )


def test_one_natural_step_from_the_right_covariance_lands_on_the_posterior_mean():
    family, mean = FAMILIES["full"], EXACTS[2].posterior(X_D)[0]
    phi_P = EXACTS[2].optimum("full", X_D)
    phi_P[:K] += [3.0, -2.0, 4.0]

    def unit_step(family, num_steps):
        return optax.chain(natural_gradient(family, max_norm=1e6), optax.scale_by_learning_rate(1.0))

    fitted = run(inner_loop(family, 1, unit_step, exact_bound), [(EXACTS[2], X_D, np.float32(phi_P))])
    np.testing.assert_allclose(
        fitted.phi_P[0, :K], mean, atol=40 * EPS * 101 * 4.0
    )  # condition 101, |shift| 4


def test_natural_steps_do_not_depend_on_the_rotation_of_S():
    family, rng = FAMILIES["full"], np.random.default_rng(10)
    phi_P = oracles.random_phi("full", rng, K, 4.0)
    mean, scale = oracles.mean_and_scale("full", phi_P)
    rotation = np.linalg.qr(rng.normal(size=(K, K)))[0]
    rotated_P = np.float32(np.concatenate([mean, (scale @ rotation).reshape(-1)]))
    rows = [(EXACTS[2], X_D, phi_P), (EXACTS[2], X_D, rotated_P)]
    fitted = run(inner_loop(family, 5, natural, exact_bound), rows)
    (one_mean, one), (other_mean, other) = (oracles.mean_and_scale("full", phi) for phi in fitted.phi_P)
    # 5 steps of float32 gradients at condition number 101
    np.testing.assert_allclose(one_mean, other_mean, atol=1e-3)
    np.testing.assert_allclose(one @ one.T, other @ other.T, atol=1e-3)
    assert np.abs(one - other).max() > 0.1
    assert np.abs(one @ one.T - scale @ scale.T).max() > 0.1


def banana(z_K):
    """Narrow and curved: no one curvature serves from end to end."""
    return -0.5 * z_K @ z_K - 50.0 * jnp.sum((z_K[1:] - z_K[:-1] ** 2) ** 2)


def kinked(z_K):
    """A Gaussian likelihood of small variance behind a relu decoder."""
    inner, outer = np.random.default_rng(0).normal(size=(2, 20, K))
    residual = outer.T @ (jax.nn.relu(inner @ z_K) - jax.nn.relu(inner @ jnp.ones(K)))
    return -0.5 * z_K @ z_K - 5.0 * jnp.sum(residual**2)


@pytest.mark.long
@pytest.mark.parametrize("log_joint", [banana, kinked])
def test_quasi_newton_gains_from_every_start_whatever_the_posterior(log_joint):
    """A start far off and too narrow, where what the draws teach is soon out of date."""
    family, draws = FAMILIES["diagonal"], jax.random.normal(jax.random.key(1), (500, K))

    @jax.jit
    @jax.vmap
    def gained(key):
        start_P = family.gaussian.project(3.0 * jax.random.normal(key, (K,)), 0.1 * jnp.eye(K))
        fitted = infer(
            newton(family, 40),
            log_joint,
            family,
            start_P,
            key,
            num_steps=40,
            certificate_groups=3,
            tolerance=TOLERANCE,
        )

        def bound(phi_P):
            draw = jax.vmap(lambda eps_K: log_joint(family.reparameterize(phi_P, eps_K)))
            scale_KxK = family.gaussian.location_scale(phi_P)[1]
            return jnp.mean(draw(draws)) + jnp.sum(jnp.log(jnp.diag(scale_KxK)))

        return bound(fitted.phi_P) - bound(start_P)

    assert gained(jax.random.split(jax.random.key(0), 100)).min() > 0


def skewed(z_K):
    """log p(x, z) with a third derivative everywhere: a Poisson count of rate exp(2 z)."""
    return -0.5 * jnp.sum(z_K**2) - jnp.sum(jnp.exp(2.0 * z_K))


@pytest.mark.long
def test_quasi_newton_settles_at_the_optimum_of_a_skewed_posterior():
    """A step that took what its own draws taught would settle 0.02 standard deviations beside it."""
    family = posterior.diagonal(1)

    def bound(phi_P):
        mu, log_sigma = phi_P
        rate = jnp.exp(2.0 * mu + 2.0 * jnp.exp(2.0 * log_sigma))  # E_q[exp(2 z)]
        return -0.5 * (mu**2 + jnp.exp(2.0 * log_sigma)) - rate + log_sigma

    optimum_P = jnp.array([-0.5, -0.5])
    for _ in range(50):
        optimum_P -= jnp.linalg.solve(jax.hessian(bound)(optimum_P), jax.grad(bound)(optimum_P))
    solver = quasi_newton(family, optax.cosine_decay_schedule(0.5, 400), num_samples=10, max_norm=5.0)
    settings = {"num_steps": 400, "certificate_groups": 3, "tolerance": 1.0}
    one = jax.jit(jax.vmap(lambda key: infer(solver, skewed, family, family.init(), key, **settings).phi_P))
    fitted = np.float64(one(jax.random.split(jax.random.key(0), 4000)))
    error = (fitted - np.float64(optimum_P)) / np.exp(float(optimum_P[1]))
    assert abs(np.mean(error[:, 0])) < 0.004 + 5.0 * np.std(error[:, 0]) / np.sqrt(4000)


@pytest.mark.long
def test_more_steps_of_quasi_newton_are_never_worse():
    """On a decoder with kinks, where an inverse that drifts from its matrix would lead uphill and down."""
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=size).astype(np.float32) for size in ((K, 20), (20, 12)))
    family = FAMILIES["diagonal"]

    def log_joint(z_K):
        logits = 2.0 * jnp.maximum(z_K @ first, 0.0) @ second
        return jnp.sum(-jax.nn.softplus(logits)) - 0.5 * jnp.sum(z_K**2)

    def end(num_steps, key):
        schedule = optax.cosine_decay_schedule(0.5, num_steps)
        solver = quasi_newton(family, schedule, num_samples=10, max_norm=5.0)
        settings = {"num_steps": num_steps, "certificate_groups": 3, "tolerance": 1.0}
        phi_P = infer(solver, log_joint, family, family.init(), key, **settings).phi_P
        return elbo_from_draws(log_joint, family, phi_P, jax.random.key(1), num_samples=4000)

    keys = jax.random.split(jax.random.key(0), 40)
    short, long = (np.float64(jax.jit(jax.vmap(partial(end, count)))(keys)) for count in (40, 400))
    assert np.all(long >= short - 0.05)


@pytest.mark.long
def test_the_schedule_of_quasi_newton_moves_with_its_steps():
    family, log_joint = FAMILIES["diagonal"], lambda z_K: -2.0 * jnp.sum((z_K - 1.0) ** 2)
    solver = quasi_newton(family, lambda step: jnp.where(step < 3, 0.5, 0.0), num_samples=2, max_norm=5.0)
    ends = [
        infer(
            solver,
            log_joint,
            family,
            family.init(),
            jax.random.key(0),
            num_steps=num_steps,
            certificate_groups=3,
            tolerance=1.0,
        ).phi_P
        for num_steps in (2, 3, 10)
    ]
    assert np.abs(ends[1] - ends[0]).max() > 0.01
    np.testing.assert_array_equal(ends[1], ends[2])


def test_a_step_in_one_is_the_gradient_and_its_update():
    """Stick-the-landing of a full family by natural gradient, along 20 steps of which some are shortened."""
    K = 3
    family = posterior.full(K)
    rate = optax.scale_by_learning_rate(optax.cosine_decay_schedule(0.4, 20))
    bound = partial(objective.stick_the_landing, num_samples=4, antithetic=False)
    steps = optax.chain(solver.natural_gradient(family, max_norm=1.0), rate)
    plain = solver.stochastic_gradient(family, bound, steps, num_samples=4, holds_density=True)
    whole = plain._replace(
        step=solver.natural_path_step(family, rate, num_samples=4, antithetic=False, max_norm=1.0)
    )

    def log_joint(z_K):
        return -0.1 * jnp.sum(z_K**4) - 2.0 * (z_K[0] - 0.5 * z_K[1]) ** 2 + jnp.sum(z_K)

    phi_P = family.init() + 0.3 * jax.random.normal(jax.random.key(1), (family.param_size,))
    state, moves = plain.init(phi_P), []
    for t in range(20):
        key = jax.random.key(t)
        (one, _), (phi_P, state) = (
            solver.move(each, log_joint, phi_P, state, key) for each in (plain, whole)
        )
        np.testing.assert_allclose(phi_P, one, rtol=0, atol=2e-5)
        moves.append(state[1].count)
    assert moves == list(range(1, 21))
