"""Importance sampling against exact log p(x): linear-Gaussian models, truncated ones, quadrature."""

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
from vaelab.evidence import importance_sampling
from vaelab.model import likelihood, networks
from vaelab.objective.draws import estimate_elbo

K, D = 3, 6
DIAGONAL, FULL = posterior.diagonal(K), posterior.full(K)
EXACT = LinearGaussian.random(np.random.default_rng(0), D, (3.0, 1.0, 0.3), 1.0)
X_D = EXACT.sample(np.random.default_rng(1), 1)[0]
LOG_EVIDENCE = EXACT.log_evidence(X_D)
LOG_JOINT = models.bind(
    models.linear_gaussian(K, (1.0,) * K, 1.0, D), models.LinearGaussianParams(*EXACT.theta), X_D
)
POSTERIOR_P = EXACT.optimum("full", X_D).astype(np.float32)
ROUNDING = 20 * EPS * abs(LOG_EVIDENCE)  # of one log weight, a float32 sum


def wide(stretch=1.4):
    """The posterior with its scale stretched: the weights are bounded, and their variance is known."""
    return np.concatenate([POSTERIOR_P[:K], np.float32(stretch) * POSTERIOR_P[K:]])


def relative_variance(phi_P):
    """Var_q[w] / p(x)^2 = E_q[(posterior / q)^2] - 1 for the full family, in closed form."""
    mean, covariance = EXACT.posterior(X_D)
    q_mean, q_scale = oracles.mean_and_scale("full", phi_P)
    precision, q_precision = np.linalg.inv(covariance), np.linalg.inv(q_scale @ q_scale.T)
    left = 2.0 * precision - q_precision
    vector = 2.0 * precision @ mean - q_precision @ q_mean
    square = (
        vector @ np.linalg.solve(left, vector) - 2.0 * mean @ precision @ mean + q_mean @ q_precision @ q_mean
    )
    log_det = (
        2 * oracles.log_abs_det(precision) - oracles.log_abs_det(q_precision) - oracles.log_abs_det(left)
    )
    assert np.linalg.eigvalsh(left).min() > 0
    return float(np.exp(0.5 * (square + log_det)) - 1.0)


@functools.cache
def estimator(families, num_samples, chunk_size, log_joint=LOG_JOINT):
    """(phis, keys_N) -> Evidence of N keys."""

    def one(phis, key):
        proposals = tuple(zip(families, phis, strict=True))
        return importance_sampling(log_joint, proposals, key, num_samples=num_samples, chunk_size=chunk_size)

    return jax.jit(jax.vmap(one, (None, 0)))


def estimates(families, phis, count, *, num_samples, chunk_size, seed=0, **settings):
    keys = jax.random.split(jax.random.key(seed), count)
    weighed = estimator(families, num_samples, chunk_size, **settings)(phis, keys)
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), weighed)


@pytest.mark.long
def test_posterior_as_the_proposal_is_exact():
    weighed = estimates((FULL,), (POSTERIOR_P,), 20, num_samples=50, chunk_size=10)
    np.testing.assert_allclose(weighed.log_evidence, LOG_EVIDENCE, atol=ROUNDING)
    # 1 / ESS - 1 / S, of equal numbers, is 0 up to the rounding of each.
    assert np.all(weighed.stderr <= np.sqrt(8 * EPS / 50))
    np.testing.assert_allclose(weighed.effective_sample_size, 50.0, rtol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize(
    ("num_samples", "chunk_size", "num_proposals", "used"),
    [(10, 4, 1, 12), (3, 100, 1, 100), (9, 5, 2, 12), (3, 1, 2, 4)],
)
def test_chunks_only_round_the_number_of_draws_up(num_samples, chunk_size, num_proposals, used):
    """Equal weights have an effective sample size of as many draws as there are."""
    families, phis = (FULL,) * num_proposals, (POSTERIOR_P,) * num_proposals
    weighed = estimates(families, phis, 1, num_samples=num_samples, chunk_size=chunk_size)
    np.testing.assert_allclose(weighed.effective_sample_size, used, rtol=1e-5)
    np.testing.assert_allclose(weighed.log_evidence, LOG_EVIDENCE, atol=ROUNDING)


REPEATS = 40_000


@pytest.fixture(scope="module")
def by_size():
    """Estimates with S = 1, 8 and 64 draws from the stretched posterior, in one chunk or several."""
    return {
        size: estimates((FULL,), (wide(),), REPEATS, num_samples=size, chunk_size=min(size, 16), seed=size)
        for size in (1, 8, 64)
    }


@pytest.mark.long
def test_the_weight_is_unbiased_for_the_evidence(by_size):
    for weighed in by_size.values():
        oracles.assert_mean(np.exp(weighed.log_evidence - LOG_EVIDENCE), 1.0, rounding=ROUNDING)


def test_elbo_below_estimate_below_evidence_and_closer_with_more_draws(by_size):
    elbo = EXACT.elbo(X_D, *oracles.mean_and_scale("full", wide()))
    oracles.assert_mean(by_size[1].log_evidence, elbo, rounding=ROUNDING)
    means = [np.mean(weighed.log_evidence) for weighed in by_size.values()]
    stderrs = [np.std(weighed.log_evidence, ddof=1) / np.sqrt(REPEATS) for weighed in by_size.values()]
    assert means[-1] <= LOG_EVIDENCE + 5.0 * stderrs[-1]
    # Each rise is many times its error, so that the order cannot hold by chance.
    assert np.all(np.diff(means) > 5.0 * np.hypot(stderrs[1:], stderrs[:-1]))


def test_the_bias_is_half_the_relative_variance_over_the_draws(by_size):
    for size in (8, 64):
        leading = relative_variance(wide()) / (2.0 * size)
        remainder = 3.0 * leading**2  # of the next order in 1 / S
        oracles.assert_mean(by_size[size].log_evidence, LOG_EVIDENCE - leading, rounding=remainder + ROUNDING)
        stderr = np.std(by_size[size].log_evidence, ddof=1) / np.sqrt(REPEATS)
        assert leading > 5.0 * stderr + remainder  # so that no bias at all would be seen


@pytest.mark.long
def test_standard_error_is_calibrated():
    weighed = estimates((FULL,), (wide(),), 200, num_samples=1000, chunk_size=100)
    oracles.assert_calibrated(weighed.log_evidence, LOG_EVIDENCE, weighed.stderr)
    oracles.assert_mean(weighed.stderr**2 * 1000, relative_variance(wide()), rounding=0.01)
    size = 1000 / (1.0 + relative_variance(wide()))
    np.testing.assert_allclose(np.mean(weighed.effective_sample_size), size, rtol=0.02)


def test_mean_field_proposal_is_unbiased():
    phi_P = EXACT.optimum("diagonal", X_D).astype(np.float32)
    weighed = estimates((DIAGONAL,), (phi_P,), 4000, num_samples=20, chunk_size=20)
    oracles.assert_mean(np.exp(weighed.log_evidence - LOG_EVIDENCE), 1.0)


@pytest.mark.long
def test_a_terrible_proposal_beside_a_good_one_costs_its_share_of_the_draws():
    far_P = np.float32(DIAGONAL.init()) + np.float32([50.0] * K + [-2.0] * K)
    weighed = estimates((FULL, DIAGONAL), (POSTERIOR_P, far_P), 20, num_samples=100, chunk_size=20)
    # The good half has the constant weight 2 p(x), the other none at all.
    np.testing.assert_allclose(weighed.log_evidence, LOG_EVIDENCE, atol=ROUNDING)
    np.testing.assert_allclose(weighed.effective_sample_size, 50.0, rtol=1e-5)
    np.testing.assert_allclose(weighed.stderr, 0.1 * np.sqrt(100 / 99), rtol=1e-4)


@pytest.mark.long
def test_mixture_of_two_wrong_proposals_is_unbiased():
    """Each half alone would be off; the balance heuristic weighs by the density of both."""
    near, far = wide(1.2), wide(0.8)
    near[:K] += 0.3
    far[:K] -= 0.3
    weighed = estimates((FULL, FULL), (near, far), 4000, num_samples=20, chunk_size=10)
    oracles.assert_mean(np.exp(weighed.log_evidence - LOG_EVIDENCE), 1.0)
    assert np.std(weighed.log_evidence) < 0.5
    # Stratified draws vary less than the same number from the mixture, for which the error is given.
    assert np.mean(weighed.stderr**2) > 0.9 * np.var(weighed.log_evidence, ddof=1)


def test_the_two_halves_of_a_mixture_are_drawn_independently():
    """The same proposal twice is that proposal: with common draws the variance would double."""
    twice = estimates((FULL, FULL), (wide(), wide()), 2000, num_samples=20, chunk_size=20)
    # Var of the mean of 20 weights, 5 standard errors of a variance of 2000 values with kurtosis below 4.
    variance = np.var(np.exp(twice.log_evidence - LOG_EVIDENCE), ddof=1)
    np.testing.assert_allclose(variance, relative_variance(wide()) / 20, rtol=5 * np.sqrt(3.0 / 2000))


def test_half_of_space_without_density_halves_the_evidence():
    """Zero weights, whole chunks of them, are counted and cancel nothing."""
    mean_K = EXACT.posterior(X_D)[0]

    def log_joint(z_K):
        return jnp.where(z_K[0] > np.float32(mean_K[0]), LOG_JOINT(z_K), -jnp.inf)

    settings = {"num_samples": 40, "chunk_size": 2, "log_joint": log_joint}
    weighed = estimates((FULL,), (POSTERIOR_P,), 2000, **settings)
    oracles.assert_mean(np.exp(weighed.log_evidence - LOG_EVIDENCE), 0.5, rounding=1e-4)
    oracles.assert_mean(weighed.effective_sample_size, 20.0, rounding=1e-4)


def test_no_weight_at_all_gives_minus_infinity_and_spoils_no_neighbour():
    def one(offset, key):
        proposals = ((FULL, POSTERIOR_P),)
        return importance_sampling(
            lambda z_K: LOG_JOINT(z_K) + offset, proposals, key, num_samples=20, chunk_size=5
        )

    offset_N = np.float32([0.0, -np.inf, 5.0, np.nan, -1e4, 1e4])
    weighed = jax.jit(jax.vmap(one))(offset_N, jax.random.split(jax.random.key(0), len(offset_N)))
    assert weighed.log_evidence[1] == -np.inf
    assert not np.isfinite(weighed.log_evidence[3])
    fine = [0, 2, 4, 5]
    rounding = ROUNDING + 8 * EPS * np.abs(offset_N[fine])  # the shift itself is rounded in float32
    error = np.abs(weighed.log_evidence[np.array(fine)] - (LOG_EVIDENCE + np.float64(offset_N[fine])))
    assert np.all(error <= rounding)
    assert np.all(np.isfinite(weighed.stderr[np.array(fine)]))
    assert not np.any(weighed.stderr[np.array([1, 3])] < 1.0)  # no error bar that would pass for a good one


@pytest.mark.long
def test_no_key_is_used_twice():
    with jax.debug_key_reuse(True):
        proposals = ((FULL, POSTERIOR_P), (DIAGONAL, DIAGONAL.init()))
        weighed = importance_sampling(LOG_JOINT, proposals, jax.random.key(0), num_samples=8, chunk_size=4)
    assert abs(weighed.log_evidence - LOG_EVIDENCE) < 1.0


@pytest.mark.long
@pytest.mark.parametrize("size", [1, 2])
def test_evidence_and_elbo_of_a_neural_decoder_equal_quadrature(size):
    data_dim, families = 6, {"diagonal": posterior.diagonal(size)}
    if size > 1:
        families["full"] = posterior.full(size)
    decoder = networks.mlp_decoder(size, (8,), data_dim, activation=jnp.tanh)
    model = models.decoder_model(size, decoder, likelihood.bernoulli())
    theta = jax.tree.map(lambda leaf: 3.0 * leaf, model.init(jax.random.key(size)))
    x_D, rng = np.float32([1, 0, 0, 1, 1, 0]), np.random.default_rng(2)
    log_joint = models.bind(model, theta, x_D)
    z_SxK, weight_S = oracles.standard_normal_grid(size)
    log_likelihood_S = jax.jit(jax.vmap(partial(model.log_likelihood, theta, x_D)))
    log_evidence = np.log(np.exp(np.float64(log_likelihood_S(z_SxK))) @ weight_S)
    keys = jax.random.split(jax.random.key(0), 50)
    for name, family in families.items():
        phi_P = oracles.random_phi(name, rng, size, 2.0)
        mean, scale = oracles.mean_and_scale(name, phi_P)
        expected = weight_S @ np.float64(log_likelihood_S(np.float32(z_SxK @ scale.T + mean)))
        elbo = expected - oracles.kl_to_prior(mean, scale)
        estimate = partial(estimate_elbo, log_joint, family, phi_P, num_samples=400, chunk_size=100)
        oracles.assert_mean(jax.jit(jax.vmap(estimate))(keys).value, elbo, rounding=1e-5)
        assert elbo < log_evidence - 0.05

    def weigh(key):
        proposals = ((families["diagonal"], families["diagonal"].init()),)
        return importance_sampling(log_joint, proposals, key, num_samples=4000, chunk_size=500)

    weighed = jax.jit(jax.vmap(weigh))(keys)
    oracles.assert_mean(np.exp(np.float64(weighed.log_evidence) - log_evidence), 1.0, rounding=1e-5)
    # From below: the bias, sd^2 / 2, is far under the error of one estimate.
    oracles.assert_calibrated(weighed.log_evidence, log_evidence, np.asarray(weighed.stderr))
