"""q that are made level by level: their densities, and the best of them under a linear-Gaussian hierarchy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from tests.support import oracles
from vaelab import model as models
from vaelab import posterior
from vaelab.inference.solver import stochastic_gradient
from vaelab.measure.fit import InferenceSettings, fit_locally
from vaelab.model.hierarchy import slices
from vaelab.objective.elbo import stick_the_landing
from vaelab.posterior.chain import of_model
from vaelab.types import SharedPhi

LEVELS, K, D, N = (2, 1, 2), 5, 6, 3
AT = slices(LEVELS)
MODEL = models.linear_gaussian_hierarchy(LEVELS, (2.0, 0.5), 1.0, D)
THETA = MODEL.init(jax.random.key(5))
for _level in THETA["prior"].values():
    _level["bias_K"] = np.float32(np.linspace(-0.5, 0.8, _level["bias_K"].size))
EXACT = oracles.LinearHierarchy.of(THETA, LEVELS)
PRIOR = jax.eval_shape(MODEL.init, jax.random.key(0))["prior"]
FAMILIES = {
    "bottom_up": posterior.bottom_up(K, hidden=2, levels=LEVELS),
    "top_down": posterior.top_down(K, levels=LEVELS, prior=PRIOR),
}
X_NxD = np.float32(EXACT.mean[K:] + np.random.default_rng(4).normal(size=(N, D)))


def member(name, seed=0, size=0.4):
    family, random = FAMILIES[name], np.random.default_rng(seed)
    phi_P = family.init() + np.float32(size * random.normal(size=family.param_size))
    return ravel_pytree(of_model(family, THETA, phi_P))[0]


def normal(z, mean, sd):
    return oracles.log_normal(z, mean, np.diag(np.broadcast_to(sd, z.shape) ** 2))


def level(number):
    names = ("weight_JxK", "bias_K", "log_scale_K")
    weight, bias, log_scale = (np.float64(THETA["prior"][f"level_{number + 1}"][name]) for name in names)
    return weight.T, bias, np.exp(log_scale)


def test_top_down_is_the_product_of_prior_and_message_over_its_integral():
    """By Bayes: N(z; m, s^2) N(z; mu, sigma^2) / N(mu; m, s^2 + sigma^2)."""
    family, phi_P = FAMILIES["top_down"], member("top_down")
    z_K = np.random.default_rng(1).normal(size=K)
    mu_K, sd_K = np.float64(phi_P[:K]), np.exp(np.float64(phi_P[K : 2 * K]))
    exact = [normal(z_K[AT[2]], mu_K[AT[2]], sd_K[AT[2]])]
    for l in (1, 0):
        weight, bias, s = level(l)
        m, mu, sd = weight @ z_K[AT[l + 1]] + bias, mu_K[AT[l]], sd_K[AT[l]]
        norm = normal(mu, m, np.sqrt(s**2 + sd**2))
        exact.insert(0, normal(z_K[AT[l]], m, s) + normal(z_K[AT[l]], mu, sd) - norm)
    np.testing.assert_allclose(family.dist(phi_P).log_prob(np.float32(z_K)), np.sum(exact), rtol=1e-5)
    eps_K = family.dist(phi_P).bijector.inverse(np.float32(z_K))
    again_K, log_q_L = family.log_q_of_levels(phi_P, eps_K)
    np.testing.assert_allclose(again_K, z_K, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(log_q_L, exact, rtol=1e-4, atol=1e-4)


def test_bottom_up_is_gaussian_in_each_level_given_the_one_below():
    family, phi_P = FAMILIES["bottom_up"], member("bottom_up")
    assert family.log_q_of_levels is None  # its parts against those of the prior are no KL
    z_K, log_q_z = family.sample_and_log_prob(phi_P, jnp.float32([0.3, -1.0, 0.7, 0.2, -0.4]))
    log_q = family.dist(phi_P).log_prob
    np.testing.assert_allclose(log_q(z_K), log_q_z, rtol=1e-5)
    # z_3 hangs on z_2 alone, and z_2 on z_1.
    hessian_KxK = np.asarray(jax.jit(jax.hessian(log_q))(z_K))
    assert np.all(hessian_KxK[AT[0], AT[2]] == 0.0)
    assert np.all(hessian_KxK[AT[0], AT[1]] != 0.0)
    # Given the levels below, the last is Gaussian with a diagonal scale, and so are all in their own parts.
    third = jax.jit(jax.hessian(lambda z_J: log_q(z_K.at[AT[2]].set(z_J))))
    np.testing.assert_allclose(third(jnp.zeros(2)), third(jnp.ones(2)), rtol=1e-4)
    assert np.abs(np.asarray(third(jnp.zeros(2)))[0, 1]) < 1e-6


def test_in_bottom_up_noise_moves_a_level_as_its_mean_does_times_sigma():
    """z_{l+1} = m_l(z_l) + s_l(z_l) (mu + sigma eps): the scale of the level is of both."""
    family, phi_P = FAMILIES["bottom_up"], member("bottom_up")
    eps_K = jnp.float32([0.3, -1.0, 0.7, 0.2, -0.4])
    by_phi, by_eps = jax.jit(jax.jacobian(family.reparameterize, (0, 1)))(phi_P, eps_K)
    sigma_K, scale_K = np.exp(phi_P[K : 2 * K]), np.diag(by_phi[:, :K])
    np.testing.assert_allclose(np.diag(by_eps), sigma_K * scale_K, rtol=1e-5)
    assert np.all(scale_K[AT[0]] == 1.0)
    assert np.all(abs(scale_K[AT[1].start :] - 1.0) > 0.01)


def test_what_is_the_model_s_own_has_its_gradient_from_an_encoder_alone():
    family = FAMILIES["top_down"]

    def bound(theta, local_P):
        phi = of_model(family, theta, local_P)
        assert isinstance(phi, SharedPhi)
        z_K, log_q = family.sample_and_log_prob(phi, jnp.ones(K))
        return jnp.sum(z_K) + log_q

    grads = jax.jit(jax.grad(bound))(THETA, jnp.zeros(2 * K))["prior"]
    assert all(np.any(leaf != 0.0) for leaf in jax.tree.leaves(grads))
    grad_P = jax.grad(lambda phi_P: family.sample_and_log_prob(phi_P, jnp.ones(K))[1])(member("top_down"))
    assert np.all(grad_P[2 * K :] == 0.0)
    assert np.all(grad_P[K : 2 * K] != 0.0)
    diagonal = posterior.diagonal(K)
    phi_P = jnp.ones(2 * K)
    assert of_model(diagonal, THETA, phi_P) is phi_P


def gaussian_of_top_down(log_sd_K):
    """The precision of q in float64: log q is quadratic, with these blocks of its root."""
    sd_K, rows = np.exp(log_sd_K), []
    for l in range(3):
        root = np.zeros((LEVELS[l], K))
        if l == 2:
            root[:, AT[l]] = np.diag(1.0 / sd_K[AT[l]])
        else:
            weight, _, s = level(l)
            q_sd = 1.0 / np.sqrt(s**-2 + sd_K[AT[l]] ** -2)
            root[:, AT[l]] = np.diag(1.0 / q_sd)
            root[:, AT[l + 1]] = -(q_sd / s**2)[:, None] * weight
        rows.append(root)
    root_KxK = np.concatenate(rows)
    return root_KxK.T @ root_KxK


def best_gap(name):
    """KL(q* || posterior), the same for every x, as means can be those of the posterior."""
    covariance_KxK = EXACT.posterior(np.zeros(D))[1]
    if name == "bottom_up":
        # The posterior is p(z_1 given x) prod p(z_{l+1} given z_l): each loses what is off the diagonal.
        total = 0.0
        for l in range(3):
            given, size = (slice(0, AT[l].start), LEVELS[l])
            below = covariance_KxK[given, given]
            conditional = covariance_KxK[AT[l], AT[l]]
            if below.size:
                cross = covariance_KxK[AT[l], given]
                conditional = conditional - cross @ np.linalg.solve(below, cross.T)
            precision = np.linalg.inv(conditional)
            total += 0.5 * (np.sum(np.log(np.diag(precision))) - oracles.log_abs_det(precision))
            assert size == len(precision)
        return total
    from scipy.optimize import minimize

    def kl(log_sd_K):
        return oracles.gaussian_kl(
            np.zeros(K), np.linalg.inv(gaussian_of_top_down(log_sd_K)), np.zeros(K), covariance_KxK
        )

    return min(minimize(kl, start * np.ones(K), tol=1e-10).fun for start in (-1.0, 0.0, 1.0))


def settings(num_steps):
    def solver(family):
        optimizer = optax.adam(optax.cosine_decay_schedule(0.03, num_steps), b2=0.99)
        objective = partial(stick_the_landing, num_samples=10, antithetic=True)
        return stochastic_gradient(family, objective, optimizer, num_samples=10, holds_density=True)

    return InferenceSettings(solver, num_steps, 1, 8, 4000, 500)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_best_member_has_the_gap_of_its_closed_form(name):
    family = FAMILIES[name]
    phi_NxP = np.tile(np.asarray(ravel_pytree(of_model(family, THETA, family.init()))[0]), (N, 1))
    fit = fit_locally(
        MODEL,
        family,
        settings(1500 if name == "top_down" else 700),
        THETA,
        (X_NxD, np.arange(N)),
        phi_NxP,
        jax.random.key(7),
        starts=("prior",),
        chunk_size=N,
    )
    log_evidence_N = np.array([EXACT.log_evidence(x_D) for x_D in X_NxD])
    gap_N = log_evidence_N - np.float64(fit.elbo_optimal.value)
    truth = best_gap(name)
    assert truth > 0.02
    assert np.all(np.abs(gap_N - truth) < 0.005 + oracles.FIVE * fit.elbo_optimal.stderr), (gap_N, truth)
    assert np.all(np.float64(fit.gain.value) > 0.1)
    if name == "top_down":
        np.testing.assert_array_equal(fit.inference.phi_P[:, 2 * K :], phi_NxP[:, 2 * K :])


def test_where_levels_are_independent_in_their_dimensions_top_down_is_the_posterior():
    """W'W diagonal, and one weight in each row and column of the levels: every conditional is diagonal."""
    theta = jax.tree.map(np.asarray, THETA)
    likelihood = theta["likelihood"]._replace(weight_DxK=np.float32(np.eye(D, 2) * [1.5, 0.7]))
    prior = {name: dict(of_level) for name, of_level in theta["prior"].items()}
    prior["level_1"]["weight_JxK"] = np.float32([[0.8, 0.0]])
    prior["level_2"]["weight_JxK"] = np.float32([[0.6], [0.0]])
    theta = {"likelihood": likelihood, "prior": prior}
    family, x_D = FAMILIES["top_down"], np.float32(np.linspace(-1.0, 2.0, D))
    exact = oracles.LinearHierarchy.of(theta, LEVELS)
    # The likelihood of z_1 is the message; what it says of the levels above goes up through the noise.
    precision = np.array([1.5, 0.7]) ** 2 * np.exp(-np.float64(likelihood.log_variance_D)[:2])
    message = (x_D[:2] - np.float64(likelihood.bias_D)[:2]) / np.array([1.5, 0.7])
    mean_K, sd_K = np.zeros(K), np.full(K, 1e3)
    mean_K[:2], sd_K[:2] = message, precision**-0.5
    noise = [np.exp(2.0 * np.float64(prior[f"level_{l}"]["log_scale_K"][:1])) for l in (1, 2)]
    variance = (sd_K[:1] ** 2 + noise[0]) / 0.8**2
    mean_K[2:3] = (message[0] - np.float64(prior["level_1"]["bias_K"][0])) / 0.8
    sd_K[2:3] = variance**0.5
    above = (variance + noise[1]) / 0.6**2
    of_top = 1.0 / (1.0 + 1.0 / above)
    mean_K[3:4] = of_top * (mean_K[2] - np.float64(prior["level_2"]["bias_K"])) / 0.6 / above
    sd_K[3:4], sd_K[4:] = of_top**0.5, 1.0
    phi_P = np.float32(np.concatenate([mean_K, np.log(sd_K)]))
    whole_P = ravel_pytree(of_model(family, theta, phi_P))[0]
    for seed in range(3):
        eps_K = np.float32(np.random.default_rng(seed).normal(size=K))
        z_K, log_q = family.sample_and_log_prob(whole_P, eps_K)
        log_w = models.bind(MODEL, theta, x_D)(z_K) - log_q
        np.testing.assert_allclose(log_w, exact.log_evidence(x_D), rtol=2e-4)
