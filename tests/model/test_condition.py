"""A model of x given y against the conditional linear-Gaussian model, by dense algebra in float64."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.support import oracles
from vaelab import model as models
from vaelab import posterior
from vaelab.errors import ConfigError
from vaelab.inference.solver import natural_gradient, stochastic_gradient
from vaelab.measure.fit import InferenceSettings, fit_locally
from vaelab.model import Condition, conditioned, hierarchy, networks, with_library_size
from vaelab.model.counts import poisson
from vaelab.model.latent import first_level, with_prior
from vaelab.model.likelihood import gaussian_one_variance
from vaelab.objective.elbo import stick_the_landing

K, D, FREQUENCY = 3, 4, (0.5, 0.2, 0.3)
C = len(FREQUENCY)
DENSITY = gaussian_one_variance(min_variance=1e-3)


def made(in_prior, K=K):
    decoder = networks.mlp_decoder(K + C, (), D, activation=jnp.tanh)
    decoder = networks.with_constants(decoder, jnp.array(DENSITY.learned))
    affine = models.decoder_model(K + C, decoder, DENSITY, affine=True)
    return conditioned(affine, Condition("label", D, FREQUENCY, in_prior=in_prior))


def moved(model, seed=1):
    leaves, treedef = jax.tree.flatten(model.init(jax.random.key(seed)))
    random = np.random.default_rng(seed)
    return treedef.unflatten([leaf + np.float32(0.5 * random.normal(size=leaf.shape)) for leaf in leaves])


@functools.cache
def mean_of(model):
    return jax.jit(jax.vmap(model.given.mean, (None, 0, None)))


def given_y(model, theta, label):
    """x given y is linear-Gaussian in u: its oracle, from E[x given u, y] at 0 and along each axis."""
    y_C = np.eye(C, dtype=np.float32)[label]
    points = np.concatenate([np.zeros((1, K)), np.eye(K)]).astype(np.float32)
    at_0, *along = np.float64(mean_of(model)(theta, points, y_C))
    columns = [at_e - at_0 for at_e in along]
    # The variance from the density itself, at its mean: log p = -D/2 log 2 pi v.
    row_R = np.concatenate([np.float32(at_0), y_C])
    log_p = float(model.log_likelihood(theta, row_R, jnp.zeros(K)))
    variance = np.exp(-2.0 * log_p / D) / (2.0 * np.pi)
    return oracles.LinearGaussian(np.stack(columns, axis=1), at_0, np.full(D, variance))


@pytest.mark.parametrize("in_prior", [False, True])
def test_log_p_of_x_given_y_is_that_of_the_linear_gaussian_model_of_this_y(in_prior):
    model = made(in_prior)
    theta, random = moved(model), np.random.default_rng(2)
    log_evidences = []
    joint_of = jax.jit(lambda row_R, u_K: models.bind(model, theta, row_R)(u_K))
    hessian_of = jax.jit(jax.hessian(joint_of, argnums=1))
    for label in range(C):
        exact, x_D = given_y(model, theta, label), np.float32(random.normal(size=D))
        row_R = np.concatenate([x_D, np.eye(C, dtype=np.float32)[label]])
        # log p(x, u given y) = log p(x given y) + log p(u given x, y), at any u.
        mean_K, covariance_KxK = exact.posterior(x_D)
        for seed in range(3):
            u_K = np.float32(np.random.default_rng(seed).normal(size=K))
            joint = exact.log_evidence(x_D) + oracles.log_normal(np.float64(u_K), mean_K, covariance_KxK)
            np.testing.assert_allclose(joint_of(row_R, u_K), joint, rtol=1e-4, atol=1e-4)
        log_evidences.append([given_y(model, theta, other).log_evidence(x_D) for other in range(C)])
        assert (
            np.linalg.eigvalsh(-hessian_of(row_R, jnp.zeros(K)) - model.concavity(theta, row_R)).min() > -1e-4
        )
    assert np.ptp(log_evidences, axis=1).min() > 0.1  # y matters


def test_the_scale_of_the_prior_is_that_of_each_y():
    """E[x given u, y] moves with u by W s(y), and at u = 0 it is that of z = m(y)."""
    model = made(True)
    theta = moved(model)
    without = theta | {"shift_CxK": np.zeros((C, K)), "log_scale_CxK": np.zeros((C, K))}
    for label in range(C):
        y_C = np.eye(C, dtype=np.float32)[label]
        scale_K = np.exp(np.float64(theta["log_scale_CxK"][label]))
        weight = given_y(model, theta, label).weight
        np.testing.assert_allclose(
            weight, given_y(model, without, label).weight * scale_K, rtol=1e-3, atol=1e-4
        )
        at_mean_D = model.given.mean(without, np.float32(theta["shift_CxK"][label]), y_C)
        np.testing.assert_allclose(
            model.given.mean(theta, np.zeros(K, np.float32), y_C), at_mean_D, rtol=1e-4, atol=1e-5
        )
    assert set(made(False).init(jax.random.key(0))) == {"decoder"}


def test_a_datapoint_is_drawn_with_its_y_as_often_as_it_is_said():
    model = made(True)
    theta, keys = moved(model), jax.random.split(jax.random.key(4), 4000)
    u_SxK, row_SxR = map(np.float64, jax.jit(jax.vmap(lambda key: models.simulate(model, theta, key)))(keys))
    y_SxC = row_SxR[:, D:]
    assert np.all(np.sort(y_SxC, axis=1) == [0.0, 0.0, 1.0])
    oracles.assert_mean(y_SxC, np.array(FREQUENCY))
    oracles.assert_mean(u_SxK, 0.0)
    for label in range(C):
        exact, x_MxD = given_y(model, theta, label), row_SxR[y_SxC[:, label] == 1.0, :D]
        oracles.assert_mean(x_MxD, exact.bias)
        away = x_MxD - exact.bias
        oracles.assert_mean(away[:, :, None] * away[:, None, :], exact.evidence_covariance)


def test_levels_and_a_learned_prior_go_with_a_condition():
    model = with_prior(first_level(made(True, 2), 3), hierarchy(3, levels=(2, 1), hidden=2))
    theta, y_C = moved(model), np.eye(C, dtype=np.float32)[1]
    z_K, other_K = np.float32([0.4, -0.3, 1.0]), np.float32([0.4, -0.3, -1.0])
    assert model.levels == (2, 1)
    np.testing.assert_array_equal(model.given.mean(theta, z_K, y_C), model.given.mean(theta, other_K, y_C))
    x_D = model.given.sample(theta, jax.random.key(0), z_K, y_C)
    assert x_D.shape == (D,)
    assert model.sample(theta, jax.random.key(0), z_K).shape == (D + C,)


def solver(family):
    optimizer = optax.chain(
        natural_gradient(family, max_norm=5.0),
        optax.scale_by_learning_rate(optax.cosine_decay_schedule(0.5, 150)),
    )
    objective = partial(stick_the_landing, num_samples=20, antithetic=True)
    return stochastic_gradient(family, objective, optimizer, num_samples=20)


def test_the_gaps_are_those_of_the_closed_form_of_each_y():
    """1/2 (sum log Lam_ii - log|Lam|), Lam of this y: another s(y), another gap."""
    model, family = made(True), posterior.diagonal(K)
    theta, random = moved(model), np.random.default_rng(6)
    row_NxR = np.float32([np.concatenate([random.normal(size=D), y_C]) for y_C in np.eye(C)])
    phi_NxP = np.tile(np.asarray(family.init()), (C, 1))
    settings = InferenceSettings(solver, 150, 1, 8, 4000, 500)
    fit = fit_locally(
        model, family, settings, theta, (row_NxR, np.arange(C)), phi_NxP, jax.random.key(3), chunk_size=C
    )
    exact = [given_y(model, theta, label) for label in range(C)]
    truth_N = np.array([one.mean_field_gap() for one in exact])
    log_evidence_N = [one.log_evidence(row_R[:D]) for one, row_R in zip(exact, row_NxR, strict=True)]
    gap_N = np.array(log_evidence_N) - np.float64(fit.elbo_optimal.value)
    assert np.all(np.abs(gap_N - truth_N) < 0.005 + oracles.FIVE * fit.elbo_optimal.stderr), (gap_N, truth_N)
    assert np.ptp(truth_N) > 0.02


@pytest.mark.parametrize("name", ["diagonal", "full"])
def test_a_map_of_z_for_each_y_leaves_the_bounds_of_a_family_as_they_are(name):
    """L of q(z) under p(z given y) is that of q(u) under N(0, I), with mu = m + s mu_u and S = s S_u."""
    model, family = made(True), posterior.FAMILIES[name].make(K)
    theta, label = moved(model), 2
    y_C, random = np.eye(C, dtype=np.float32)[label], np.random.default_rng(5)
    row_R = np.concatenate([np.float32(random.normal(size=D)), y_C])
    phi_P = family.init() + np.float32(0.3 * random.normal(size=family.param_size))
    shift_K, scale_K = theta["shift_CxK"][label], np.exp(theta["log_scale_CxK"][label])
    mu_K, scale_KxK = family.gaussian.location_scale(phi_P)
    of_z_P = family.gaussian.project(shift_K + scale_K * mu_K, scale_K[:, None] * scale_KxK)
    exact = given_y(model, theta, label)
    own = exact._replace(weight=exact.weight / np.float64(scale_K))
    own = own._replace(bias=exact.bias - own.weight @ np.float64(shift_K))
    elbo_u = exact.elbo(np.float64(row_R[:D]), *map(np.float64, (mu_K, scale_KxK)))
    mean_z, scale_z = map(np.float64, family.gaussian.location_scale(of_z_P))
    residual = np.float64(row_R[:D]) - own.bias - own.weight @ mean_z
    spread = np.sum((own.weight @ scale_z) ** 2, axis=1)
    log_p = -0.5 * np.sum(oracles.LOG_2PI + np.log(own.variance) + (residual**2 + spread) / own.variance)
    prior_covariance = np.diag(np.float64(scale_K) ** 2)
    kl = oracles.gaussian_kl(mean_z, scale_z @ scale_z.T, np.float64(shift_K), prior_covariance)
    np.testing.assert_allclose(elbo_u, log_p - kl, rtol=1e-4)


def test_a_library_size_multiplies_parts_that_add_up_to_one():
    network = networks.mlp_decoder(2, (4,), 2 * D, activation=jnp.tanh)
    decoder = with_library_size(network, 2, D)
    params, z_K = decoder.init(jax.random.key(0)), np.float32([0.3, -1.2])
    own_Q = np.float64(network.apply(params, z_K))
    for size in (1.0, 40.0, 3000.0):
        out_Q = np.float64(decoder.apply(params, np.append(z_K, np.float32(np.log(size)))))
        parts_D = np.exp(own_Q[:D]) / np.sum(np.exp(own_Q[:D]))
        np.testing.assert_allclose(np.exp(out_Q[:D]), size * parts_D, rtol=1e-4)
        np.testing.assert_allclose(out_Q[D:], own_Q[D:], rtol=1e-6)
    density = poisson()
    model = conditioned(
        models.decoder_model(3, decoder._replace(apply=lambda p, zy: decoder.apply(p, zy)[:D]), density),
        Condition("library_size", D, (0.5, 0.5), (float(np.log(50.0)), float(np.log(200.0)))),
    )
    theta = model.init(jax.random.key(1))
    keys = jax.random.split(jax.random.key(2), 2000)
    row_SxR = np.float64(jax.jit(jax.vmap(lambda key: models.simulate(model, theta, key)[1]))(keys))
    for size in (50.0, 200.0):
        of_size = np.isclose(row_SxR[:, D], np.log(size))
        assert 0.4 < np.mean(of_size) < 0.6
        # The total of independent Poisson counts is Poisson of l, whatever z.
        oracles.assert_mean(np.sum(row_SxR[of_size, :D], axis=1), size)
        oracles.assert_mean((np.sum(row_SxR[of_size, :D], axis=1) - size) ** 2, size)


MIXTURE = models.mixture(5, num_components=2)


@pytest.mark.parametrize("wrapped", [lambda m: m, lambda m: with_prior(first_level(m, 5), MIXTURE)])
def test_without_library_sizes_nothing_is_drawn_without_y(wrapped):
    network = networks.mlp_decoder(2, (4,), D, activation=jnp.tanh)
    decoded = models.decoder_model(3, with_library_size(network, 2, D), poisson())
    model = wrapped(conditioned(decoded, Condition("library_size", D, ())))
    assert (model.given.size, model.sample) == (1, None)
    with pytest.raises(ConfigError, match="no `sample` without y: give a y to"):
        models.simulate(model, model.init(jax.random.key(0)), jax.random.key(1))
