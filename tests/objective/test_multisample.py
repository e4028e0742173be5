"""IWAE, DReG and Renyi bounds against exact answers of a linear-Gaussian model."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import oracles
from tests.support.oracles import EPS, LinearGaussian
from vaelab import model as models
from vaelab import posterior
from vaelab.objective import multisample
from vaelab.objective.elbo import elbo_from_draws, stick_the_landing
from vaelab.objective.multisample import dreg, iwae, renyi

K, D = 2, 4
EXACT = LinearGaussian.random(np.random.default_rng(0), D, (1.5, 0.7), 1.0)
X_D = EXACT.sample(np.random.default_rng(1), 1)[0]
MODEL = models.linear_gaussian(K, (1.5, 0.7), 1.0, D)
THETA = models.LinearGaussianParams(*EXACT.theta)
LOG_JOINT = models.bind(MODEL, THETA, X_D)
FAMILIES = {"diagonal": posterior.diagonal(K), "full": posterior.full(K)}
OBJECTIVES = {"iwae": iwae, "dreg": dreg, "renyi": partial(renyi, alpha=0.5)}


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def member(family):
    """Near the posterior and not at it: wider by a half and shifted, so that weights have a variance."""
    mean, covariance = EXACT.posterior(X_D)
    scale = np.linalg.cholesky(covariance) * 1.3
    if family.name == "full":
        return np.concatenate([mean + 0.3, scale.reshape(-1)]).astype(np.float32)
    return np.concatenate([mean + 0.3, 0.5 * np.log(1.7 * np.diag(covariance))]).astype(np.float32)


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def run(objective, family, count, **settings):
    """values_N and gradients_NxP in phi."""
    bound = jax.value_and_grad(partial(objective, LOG_JOINT, family, **settings))
    value_N, grad_NxP = jax.jit(jax.vmap(bound, (None, 0)))(member(family), keys(count))
    return np.float64(value_N), np.float64(grad_NxP)


@pytest.mark.long
def test_iwae_rises_with_the_draws_and_stays_below_log_evidence(family):
    elbo = EXACT.elbo(X_D, *oracles.mean_and_scale(family.name, member(family)))
    values = {S: run(iwae, family, 20_000, num_samples=S)[0] for S in (1, 2, 8, 32)}
    oracles.assert_mean(values[1], elbo, rounding=1e-5)
    means = [np.mean(v) for v in values.values()]
    stderrs = [np.std(v) / np.sqrt(len(v)) for v in values.values()]
    for i in range(3):
        assert means[i + 1] - means[i] > 5 * np.hypot(stderrs[i], stderrs[i + 1])
    assert means[-1] <= EXACT.log_evidence(X_D) + 5 * stderrs[-1]
    assert EXACT.log_evidence(X_D) - means[-1] < 0.05


def test_exponential_of_iwae_is_unbiased_for_the_evidence(family):
    value_N, _ = run(iwae, family, 20_000, num_samples=4)
    oracles.assert_mean(np.exp(value_N - EXACT.log_evidence(X_D)), 1.0, rounding=1e-5)


@pytest.mark.long
def test_one_draw_is_the_elbo(family):
    for objective, plain in [(iwae, elbo_from_draws), (dreg, stick_the_landing)]:
        (value_N, grad_NxP), (plain_N, plain_NxP) = (
            run(f, family, 50, num_samples=1) for f in (objective, plain)
        )
        np.testing.assert_allclose(value_N, plain_N, rtol=4 * EPS)
        np.testing.assert_allclose(grad_NxP, plain_NxP, atol=40 * EPS * np.abs(plain_NxP).max())


@pytest.mark.long
@pytest.mark.parametrize("num_samples", [2, 16])
def test_dreg_has_the_value_and_mean_gradient_of_iwae_with_less_variance(family, num_samples):
    value_N, grad_NxP = run(iwae, family, 20_000, num_samples=num_samples)
    dreg_value_N, dreg_grad_NxP = run(dreg, family, 20_000, num_samples=num_samples)
    np.testing.assert_allclose(dreg_value_N, value_N, rtol=20 * EPS, atol=20 * EPS)
    oracles.assert_mean(grad_NxP - dreg_grad_NxP, 0.0, rounding=1e-5)  # equal draws: paired
    assert np.all(np.var(dreg_grad_NxP, axis=0) < np.var(grad_NxP, axis=0))
    # The published order grows with the draws: from 2 to 16 the ratio of the variances rises.
    if num_samples == 16:
        few = [run(f, family, 20_000, num_samples=2)[1] for f in (iwae, dreg)]
        assert np.all(np.var(grad_NxP, 0) / np.var(dreg_grad_NxP, 0) > np.var(few[0], 0) / np.var(few[1], 0))


@pytest.mark.long
def test_dreg_has_no_variance_at_the_posterior():
    family = FAMILIES["full"]
    phi_P = EXACT.optimum("full", X_D).astype(np.float32)
    bound = jax.grad(partial(dreg, LOG_JOINT, family, num_samples=8))
    grad_NxP = jax.vmap(bound, (None, 0))(phi_P, keys(50))
    np.testing.assert_allclose(grad_NxP, 0.0, atol=200 * EPS)


@pytest.mark.long
@pytest.mark.slow
def test_dreg_leaves_the_gradient_of_the_model_and_a_factor_behind_it_alone(family):
    """d/dtheta as that of IWAE; and the gradient of c times the bound is c times its gradient."""
    key, phi_P = jax.random.key(3), member(family)

    def bound(objective, factor, theta, phi_P):
        log_joint = models.bind(MODEL, theta, X_D)
        return factor * objective(log_joint, family, phi_P, key, num_samples=4)

    of_theta = [jax.grad(bound, 2)(f, 1.0, THETA, phi_P) for f in (iwae, dreg)]
    for a, b in zip(*of_theta, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    once, scaled = (np.asarray(jax.grad(bound, 3)(dreg, c, THETA, phi_P)) for c in (1.0, -0.01))
    np.testing.assert_allclose(scaled, -0.01 * once, rtol=1e-5, atol=1e-7)


def renyi_divergence(alpha, mean, covariance, other_mean, other_covariance):
    """D_alpha(N(mean, covariance) || N(other...)): Gil, Alajaji & Linder 2013, table 2."""
    mixed = alpha * other_covariance + (1.0 - alpha) * covariance
    delta = other_mean - mean
    log_dets = [oracles.log_abs_det(c) for c in (mixed, covariance, other_covariance)]
    ratio = log_dets[0] - (1.0 - alpha) * log_dets[1] - alpha * log_dets[2]
    return 0.5 * alpha * delta @ np.linalg.solve(mixed, delta) - 0.5 * ratio / (alpha - 1.0)


@pytest.mark.long
@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.9, 1.3, -0.3])
def test_renyi_tends_to_log_evidence_less_the_divergence(family, alpha):
    mean, scale = oracles.mean_and_scale(family.name, member(family))
    divergence = renyi_divergence(alpha, mean, scale @ scale.T, *EXACT.posterior(X_D))
    limit = EXACT.log_evidence(X_D) - divergence
    value_N, _ = run(partial(renyi, alpha=alpha), family, 200, num_samples=20_000)
    # The bias of log-mean-exp is half its variance; of it over 1 - alpha, |1 - alpha| / 2 times its variance.
    bias = np.var(value_N) * abs(1.0 - alpha)
    oracles.assert_mean(value_N, limit, rounding=bias + 1e-4)
    assert (limit <= EXACT.log_evidence(X_D)) == (alpha > 0)


@pytest.mark.long
def test_renyi_falls_with_alpha_draws_by_draws(family):
    """The power-mean inequality, whatever the draws: the bound for alpha >= 0 is never above IWAE."""
    values = [run(partial(renyi, alpha=a), family, 200, num_samples=8)[0] for a in (-0.5, 0.0, 0.5, 2.0)]
    for higher_N, lower_N in itertools.pairwise(values):
        assert np.all(higher_N >= lower_N - 1e-5)
        assert np.mean(higher_N - lower_N) > 1e-3


@pytest.mark.long
def test_renyi_at_zero_is_iwae_and_near_one_the_elbo(family):
    iwae_N, _ = run(iwae, family, 100, num_samples=8)
    zero_N, _ = run(partial(renyi, alpha=0.0), family, 100, num_samples=8)
    np.testing.assert_allclose(zero_N, iwae_N, rtol=4 * EPS)
    draws_N, _ = run(elbo_from_draws, family, 100, num_samples=8)
    near_N, _ = run(partial(renyi, alpha=0.999), family, 100, num_samples=8)
    np.testing.assert_allclose(near_N, draws_N, atol=1e-2)


@pytest.mark.long
@pytest.mark.parametrize("name", OBJECTIVES)
def test_bad_weights_leave_a_finite_bound(name):
    """A draw of density zero counts as zero; it takes no other draw with it."""
    family = FAMILIES["full"]

    def log_joint(z_K):
        return jnp.where(z_K[0] > EXACT.posterior(X_D)[0][0], LOG_JOINT(z_K), -jnp.inf)

    value, grad_P = jax.value_and_grad(partial(OBJECTIVES[name], log_joint, family))(
        member(family), jax.random.key(0), num_samples=16
    )
    assert np.isfinite(value)
    assert np.all(np.isfinite(grad_P))


def test_dreg_refuses_antithetic_draws():
    family = posterior.diagonal(2)
    with pytest.raises(ValueError, match="antithetic=False"):
        multisample.dreg(
            lambda z_K: -jnp.sum(z_K**2),
            family,
            family.init(),
            jax.random.key(0),
            num_samples=2,
            antithetic=True,
        )
