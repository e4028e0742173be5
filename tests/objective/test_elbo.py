"""Bounds and their gradients against the exact ELBO of a linear-Gaussian model."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import oracles
from tests.support.oracles import EPS, LinearGaussian
from vaelab import model as models
from vaelab import posterior
from vaelab.objective.elbo import beta_elbo, elbo, elbo_from_draws, free_bits, stick_the_landing

K = 3
FAMILIES = {"diagonal": posterior.diagonal(K), "full": posterior.full(K)}
OBJECTIVES = (elbo, elbo_from_draws, stick_the_landing)
EXACT = LinearGaussian.random(np.random.default_rng(0), 5, (3.0, 1.0, 0.3), 1.0)
X_D = EXACT.sample(np.random.default_rng(1), 1)[0]
LOG_JOINT = models.bind(
    models.linear_gaussian(K, (3.0, 1.0, 0.3), 1.0, 5), models.LinearGaussianParams(*EXACT.theta), X_D
)


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def member(family):
    return oracles.random_phi(family.name, np.random.default_rng(2), K, 4.0)


def exact_elbo(family, phi):
    return EXACT.elbo(X_D, *oracles.mean_and_scale(family.name, phi))


def optimum(family):
    return EXACT.optimum(family.name, X_D).astype(np.float32)


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


@functools.cache
def values_and_grads(family, log_joint=LOG_JOINT, **settings):
    """(phi_P, keys_N) -> values_NxO, grads_NxOxP of the three objectives."""

    def one(phi_P, key):
        pairs = [
            jax.value_and_grad(partial(objective, **settings), argnums=2)(log_joint, family, phi_P, key)
            for objective in OBJECTIVES
        ]
        return jnp.stack([value for value, _ in pairs]), jnp.stack([grad_P for _, grad_P in pairs])

    return jax.jit(jax.vmap(one, (None, 0)))


@pytest.mark.long
@pytest.mark.parametrize(
    ("num_samples", "antithetic"),
    [(1, False), (2, False), (2, True)],
    ids=["one", "independent", "antithetic"],
)
def test_every_objective_has_the_mean_and_the_mean_gradient_of_the_elbo(family, num_samples, antithetic):
    phi_P = member(family)
    run = values_and_grads(family, num_samples=num_samples, antithetic=antithetic)
    value_NxO, grad_NxOxP = run(phi_P, keys(4000))
    oracles.assert_mean(value_NxO, exact_elbo(family, phi_P), rounding=1e-4)
    exact_grad_P = oracles.gradient(lambda phi: exact_elbo(family, phi), phi_P)
    oracles.assert_mean(grad_NxOxP, exact_grad_P, rounding=1e-4)
    assert np.std(value_NxO, axis=0).min() > 0.1  # so that the errors above are small beside the spread


def test_elbo_holds_for_another_prior():
    """L[q] = -KL(q || N(a, B)) + log c where p(x, z) = c N(z; a, B)."""
    family = FAMILIES["full"]
    rng, phi_P = np.random.default_rng(3), member(FAMILIES["full"])
    mean_K, root_KxK = rng.normal(size=K), oracles.random_scale(rng, K, 4.0)
    precision_KxK = np.linalg.inv(root_KxK @ root_KxK.T)
    mean_32, precision_32 = np.float32(mean_K), np.float32(precision_KxK)

    def log_joint(z_K):
        square = (z_K - mean_32) @ precision_32 @ (z_K - mean_32)
        return -0.5 * (square + K * oracles.LOG_2PI - oracles.log_abs_det(precision_KxK)) - 7.0

    value_NxO, _ = values_and_grads(family, log_joint, num_samples=2)(phi_P, keys(4000))
    mean, scale = oracles.mean_and_scale("full", phi_P)
    kl = oracles.gaussian_kl(mean, scale @ scale.T, mean_K, root_KxK @ root_KxK.T)
    oracles.assert_mean(value_NxO, -7.0 - kl)


@pytest.mark.long
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 4.0])
def test_beta_weighs_the_kl_alone(family, beta):
    """E_q[log p(x given z)] - beta KL, value and gradient in phi."""
    phi_P = member(family)

    def exact(phi):
        kl = oracles.kl_to_prior(*oracles.mean_and_scale(family.name, phi))
        return exact_elbo(family, phi) + (1.0 - beta) * kl

    bound = jax.value_and_grad(partial(beta_elbo, LOG_JOINT, family, num_samples=2, beta=beta))
    value_N, grad_NxP = jax.jit(jax.vmap(bound, (None, 0)))(phi_P, keys(4000))
    oracles.assert_mean(value_N, exact(phi_P), rounding=1e-4)
    oracles.assert_mean(grad_NxP, oracles.gradient(exact, phi_P), rounding=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 4.0])
def test_beta_weighs_the_kl_from_draws_where_there_is_no_closed_form(family, beta):
    """The same mean and gradient as with the closed form, by a family that does not say it has one."""
    phi_P, secretive = member(family), family._replace(kl_to_prior=None)

    def exact(phi):
        kl = oracles.kl_to_prior(*oracles.mean_and_scale(family.name, phi))
        return exact_elbo(family, phi) + (1.0 - beta) * kl

    bound = jax.value_and_grad(partial(beta_elbo, LOG_JOINT, secretive, num_samples=2, beta=beta))
    value_N, grad_NxP = jax.jit(jax.vmap(bound, (None, 0)))(phi_P, keys(4000))
    oracles.assert_mean(value_N, exact(phi_P), rounding=1e-4)
    oracles.assert_mean(grad_NxP, oracles.gradient(exact, phi_P), rounding=1e-4)


@pytest.mark.long
def test_free_bits_charge_no_less_than_their_floor(family):
    phi_P = member(family)
    kl = oracles.kl_to_prior(*oracles.mean_and_scale(family.name, phi_P))
    for min_kl in (0.5 * kl, 2.0 * kl):
        run = jax.value_and_grad(partial(free_bits, LOG_JOINT, family, num_samples=4, min_kl=min_kl))
        plain = jax.value_and_grad(partial(elbo, LOG_JOINT, family, num_samples=4))
        (value, grad_P), (elbo_value, elbo_grad_P) = (f(phi_P, keys(1)[0]) for f in (run, plain))
        missing = max(0.0, min_kl - kl)
        np.testing.assert_allclose(value, elbo_value - missing, rtol=20 * EPS)
        kl_grad_P = jax.grad(family.kl_to_prior)(phi_P) if missing else 0.0
        np.testing.assert_allclose(grad_P, elbo_grad_P + kl_grad_P, atol=1e-4)


def test_at_the_posterior_draws_have_no_variance_and_stick_the_landing_no_gradient():
    """The full family holds the posterior; the diagonal one does where W has orthogonal columns."""
    for name, exact in [("full", EXACT), ("diagonal", orthogonal())]:
        family, phi_P = FAMILIES[name], exact.optimum(name, X_D).astype(np.float32)
        log_joint = models.bind(
            models.linear_gaussian(K, (1.0,) * K, 1.0, 5), models.LinearGaussianParams(*exact.theta), X_D
        )
        value_NxO, grad_NxOxP = values_and_grads(family, log_joint, num_samples=1)(phi_P, keys(200))
        log_evidence = exact.log_evidence(X_D)
        np.testing.assert_allclose(value_NxO[:, 1:], log_evidence, atol=20 * EPS * abs(log_evidence))
        # d log p / dz and d log q / dz are equal numbers of size |Lam| |z - m|, the latter below 10.
        bound = 20 * EPS * np.linalg.norm(exact.precision(), 2) * 10.0
        np.testing.assert_allclose(grad_NxOxP[:, 2], 0.0, atol=bound)
        # The two others are zero in the mean only.
        oracles.assert_mean(grad_NxOxP[:, :2], 0.0, rounding=bound)
        assert np.all(np.std(grad_NxOxP[:, :2, K:], axis=0).max(axis=-1) > 100 * bound)


def orthogonal():
    return EXACT._replace(weight=np.float64(np.eye(5, K) * np.float32([3.0, 1.0, 0.3])))


def test_stick_the_landing_is_exactly_zero_where_q_is_the_prior_and_the_posterior(family):
    log_joint = models.standard_normal_log_prob
    run = values_and_grads(family, lambda z_K: log_joint(z_K) - 3.0, num_samples=1)
    value_NxO, grad_NxOxP = run(family.init(), keys(200))
    np.testing.assert_array_equal(grad_NxOxP[:, 2], 0.0)
    np.testing.assert_array_equal(grad_NxOxP[:, 0], 0.0)  # its log-likelihood is constant, its KL exact
    assert np.abs(grad_NxOxP[:, 1]).max() > 0.5
    np.testing.assert_allclose(value_NxO, -3.0, atol=20 * EPS)


def test_stick_the_landing_has_the_value_of_all_draws(family):
    value_NxO, grad_NxOxP = values_and_grads(family, num_samples=2)(member(family), keys(50))
    np.testing.assert_allclose(value_NxO[:, 1], value_NxO[:, 2], rtol=8 * EPS)
    assert np.abs(grad_NxOxP[:, 1] - grad_NxOxP[:, 2]).max() > 0.1


def test_antithetic_gradient_of_the_mean_is_exact_for_a_quadratic(family):
    """The draws enter that gradient through odd terms alone, which cancel in a pair."""
    phi_P = member(family)
    _, grad_NxOxP = values_and_grads(family, num_samples=2, antithetic=True)(phi_P, keys(20))
    exact_P = oracles.gradient(lambda phi: exact_elbo(family, phi), phi_P)
    exact_NxOxK = np.broadcast_to(exact_P[:K], grad_NxOxP[..., :K].shape)
    np.testing.assert_allclose(grad_NxOxP[..., :K], exact_NxOxK, atol=100 * EPS * np.abs(exact_P).max())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_odd_number_of_antithetic_draws_is_an_error(objective):
    family = FAMILIES["diagonal"]
    with pytest.raises(ValueError, match="num_samples=3 must be even"):
        objective(LOG_JOINT, family, family.init(), jax.random.key(0), num_samples=3, antithetic=True)


MEANS_2, SCALE_2, WEIGHT_2 = np.array([-1.5, 2.0]), np.array([0.5, 0.8]), np.array([0.3, 0.7])


def log_mixture(z_K):
    """Of two Gaussian distributions on a line."""
    return jax.nn.logsumexp(jax.scipy.stats.norm.logpdf(z_K[0], MEANS_2, SCALE_2), b=WEIGHT_2)


@pytest.mark.parametrize("closed", [True, False])
def test_beta_weighs_the_kl_to_the_prior_that_there_is(closed):
    """E_q[log p(x given z)] - beta KL(q || p), by quadrature; of a family without a KL too."""
    family = posterior.diagonal(1)
    family = family if closed else family._replace(kl_to_prior=None)
    phi_P, beta = np.float32([0.4, -0.3]), 1.7
    draws = {"num_samples": 2, "beta": beta, "log_prior": log_mixture}

    def log_joint(z_K):
        return -0.5 * (z_K[0] - 1.0) ** 2 + log_mixture(z_K)

    bound = partial(beta_elbo, log_joint, family, phi_P, **draws)
    value_N = np.float64(jax.jit(jax.vmap(bound))(keys(4000)))
    z_S = np.linspace(-8.0, 8.0, 4001)
    q_S = np.exp(-0.5 * ((z_S - phi_P[0]) / np.exp(phi_P[1])) ** 2) / (
        np.exp(phi_P[1]) * np.sqrt(2.0 * np.pi)
    )
    log_p_S = np.log(
        sum(
            w * np.exp(-0.5 * ((z_S - m) / s) ** 2) / s
            for m, s, w in zip(MEANS_2, SCALE_2, WEIGHT_2, strict=True)
        )
        / np.sqrt(2.0 * np.pi)
    )
    term_S = -0.5 * (z_S - 1.0) ** 2 - beta * (np.log(np.maximum(q_S, 1e-300)) - log_p_S)
    oracles.assert_mean(value_N, np.sum(q_S * term_S) * (z_S[1] - z_S[0]))
