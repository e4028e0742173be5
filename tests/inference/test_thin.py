"""Fits of thin, wide and far posteriors: what is finite stays finite, and ends at the optimum or says not."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.scipy.stats import norm

from vaelab import posterior
from vaelab.inference.loop import infer
from vaelab.inference.solver import natural_gradient, quasi_newton, stochastic_gradient
from vaelab.objective.elbo import stick_the_landing

K, STEPS, ROUNDS = 2, 100, 4
FAMILIES = {"diagonal": posterior.diagonal(K), "full": posterior.full(K)}
SCALES = 10.0 ** np.arange(-6.0, 7.0)  # of z: curvatures of 1e12 to 1e-12


def solver(name):
    family = FAMILIES[name]
    if name == "diagonal":
        return quasi_newton(family, optax.cosine_decay_schedule(0.5, STEPS), num_samples=10, max_norm=5.0)
    rate = optax.scale_by_learning_rate(optax.cosine_decay_schedule(0.2, STEPS))
    steps = optax.chain(natural_gradient(family, max_norm=5.0), rate)
    objective = partial(stick_the_landing, num_samples=10, antithetic=True)
    return stochastic_gradient(family, objective, steps, num_samples=10)


def fitted(name, log_joint_of, numbers, phi_NxP):
    """`infer` in rounds, of the density of each of the numbers."""

    def one(number, phi_P):
        def again(phi_P, key):
            result = infer(
                solver(name),
                log_joint_of(number),
                FAMILIES[name],
                phi_P,
                key,
                num_steps=STEPS,
                certificate_groups=8,
                tolerance=0.05,
            )
            return result.phi_P, result

        _, results = jax.lax.scan(again, phi_P, jax.random.split(jax.random.key(0), ROUNDS))
        return jax.tree.map(lambda a: a[-1], results)

    return jax.device_get(jax.jit(jax.vmap(one))(jnp.asarray(numbers), jnp.asarray(phi_NxP)))


def gaussian(scale):
    """N((1, -2) scale, diag(1, 9) scale^2)."""
    mean_K, sd_K = scale * jnp.array([1.0, -2.0]), scale * jnp.array([1.0, 3.0])
    return lambda z_K: jnp.sum(norm.logpdf((z_K - mean_K) / sd_K) - jnp.log(sd_K))


@pytest.mark.parametrize("name", FAMILIES)
def test_from_the_prior_a_gaussian_of_every_scale_is_fitted_or_said_not_to_be(name):
    phi_NxP = np.tile(np.asarray(FAMILIES[name].init()), (len(SCALES), 1))
    result = fitted(name, gaussian, SCALES, phi_NxP)
    assert np.isfinite(result.phi_P).all()
    mean, scale = jax.vmap(FAMILIES[name].gaussian.location_scale)(result.phi_P)
    exact_sd = SCALES[:, None] * np.array([1.0, 3.0])
    off = (mean - SCALES[:, None] * np.array([1.0, -2.0])) / exact_sd
    ratio = np.sum(np.asarray(scale) ** 2, axis=2) / exact_sd**2
    lost = 0.5 * np.sum(off**2 + ratio - 1.0 - np.log(ratio), axis=1)
    assert np.all(lost[result.converged] < 0.1)
    near = (SCALES >= 1e-2) & (SCALES <= 1e2)
    assert result.converged[near].all()


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_on_the_two_thin_roots_of_a_square_nothing_becomes_nan(latent_dim):
    """x = z^2 + 0.01 e from N(0, I): the curvature between the roots is negative, and 40,000 at them."""
    family = posterior.diagonal(latent_dim)
    newton = quasi_newton(family, optax.cosine_decay_schedule(0.5, 40), num_samples=40, max_norm=5.0)

    def one(x, key):
        return infer(
            newton,
            lambda z_K: jnp.sum(norm.logpdf(x, z_K**2, 0.01) + norm.logpdf(z_K)),
            family,
            family.init(),
            key,
            num_steps=40,
            certificate_groups=8,
            tolerance=0.02,
        )

    result = jax.jit(jax.vmap(one))(jnp.linspace(0.25, 4.0, 24), jax.random.split(jax.random.key(0), 24))
    assert np.isfinite(result.phi_P).all()
    assert not np.isnan(result.excess.value).any()


def test_an_excess_that_is_not_finite_is_not_converged():
    phi_NxP = np.tile(np.asarray(FAMILIES["diagonal"].init()), (1, 1))
    result = fitted("diagonal", lambda number: lambda z_K: number * jnp.sum(z_K), [-np.inf], phi_NxP)
    assert not result.converged.any()
    assert np.isfinite(result.phi_P).all()
