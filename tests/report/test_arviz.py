"""What goes to ArviZ: samples of q, log weights whose mean is the ELBO, log-likelihoods with ArviZ's sign."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.oracles import LinearGaussian
from vaelab import posterior
from vaelab.errors import ConfigError
from vaelab.report.arviz import groups, to_arviz

K, D, N, S = 2, 4, 3, 4000
# 1 / p(x given z), the weights of ArviZ's loo, have a finite variance where W'W < 1, the noise.
EXACT = LinearGaussian.random(np.random.default_rng(1), D, (0.6, 0.3), 1.0)
WEIGHT, BIAS, LOG_VAR = map(jnp.asarray, EXACT.theta)
KEY = jax.random.key(0)


def log_likelihood(x_D, z_K):
    """log p(x given z) of EXACT."""
    off_D = x_D - WEIGHT @ z_K - BIAS
    return -0.5 * jnp.sum(off_D**2 / jnp.exp(LOG_VAR) + LOG_VAR + jnp.log(2.0 * jnp.pi))


@pytest.fixture(scope="module")
def x_NxD():
    return EXACT.sample(np.random.default_rng(2), N)


@pytest.fixture(scope="module")
def q(x_NxD):
    """(mu_NxK, sigma_NxK), wide, and (mu_NxK, S_NxKxK) of the posterior itself."""
    posteriors = [EXACT.posterior(x) for x in x_NxD]
    mu_NxK = np.stack([mean for mean, _ in posteriors])
    scale_NxKxK = np.stack([np.linalg.cholesky(covariance) for _, covariance in posteriors])
    wide_NxK = np.stack([1.3 * np.sqrt(np.diag(covariance)) for _, covariance in posteriors])
    return {"wide": (mu_NxK, wide_NxK), "posterior": (mu_NxK, scale_NxKxK)}


@pytest.fixture(scope="module")
def wide(x_NxD, q):
    return groups(log_likelihood, q["wide"], x_NxD, key=KEY, num_samples=S)


def test_the_mean_log_weight_is_the_elbo(x_NxD, q, wide):
    log_weight = np.float64(wide["sample_stats"]["log_weight"])
    assert log_weight.shape == (1, S, N)
    for n, x in enumerate(x_NxD):
        exact = EXACT.elbo(x, q["wide"][0][n], np.diag(q["wide"][1][n]))
        error = log_weight[0, :, n].std() / np.sqrt(S)
        assert abs(log_weight[0, :, n].mean() - exact) < 5 * error
    # At the posterior itself every weight is p(x).
    constant = groups(log_likelihood, q["posterior"], x_NxD, key=KEY, num_samples=50)
    of_each = np.array([EXACT.log_evidence(x) for x in x_NxD])
    np.testing.assert_allclose(
        constant["sample_stats"]["log_weight"], np.broadcast_to(of_each, (1, 50, N)), atol=1e-4
    )


def test_the_log_likelihood_is_that_of_the_samples_and_not_its_negative(x_NxD, wide):
    z, log_p = wide["posterior"]["z"], wide["log_likelihood"]["x"]
    assert z.shape == (1, S, N, K)
    assert log_p.shape == (1, S, N)
    for n, s in ((0, 0), (2, 17)):
        assert log_p[0, s, n] == pytest.approx(float(log_likelihood(x_NxD[n], z[0, s, n])), rel=1e-5)
    np.testing.assert_array_equal(wide["observed_data"]["x"], x_NxD)


def test_a_family_gives_what_its_mean_and_scale_give(x_NxD, q, wide):
    family, (mu_NxK, sigma_NxK) = posterior.diagonal(K), q["wide"]
    phi_NxP = np.concatenate([mu_NxK, np.log(sigma_NxK)], axis=1)
    same = groups(log_likelihood, (family, phi_NxP), x_NxD, key=KEY, num_samples=S)
    np.testing.assert_allclose(same["posterior"]["z"], wide["posterior"]["z"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        same["sample_stats"]["log_weight"], wide["sample_stats"]["log_weight"], atol=1e-4
    )


def test_a_prior_of_ones_own_is_in_the_weights(x_NxD, q):
    settings = {"key": KEY, "num_samples": 5}
    standard = groups(log_likelihood, q["wide"], x_NxD, **settings)
    shifted = groups(
        log_likelihood,
        q["wide"],
        x_NxD,
        log_prior=lambda z_K: jnp.sum(jax.scipy.stats.norm.logpdf(z_K)) + 2.5,
        **settings,
    )
    more = shifted["sample_stats"]["log_weight"] - standard["sample_stats"]["log_weight"]
    np.testing.assert_allclose(more, 2.5, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ((np.zeros((N, K)), -np.ones((N, K))), "sigma must be above 0"),
        ((np.zeros((N, K)), np.ones((N, K + 1))), "the shapes of q are"),
        ((np.zeros((N + 1, K)), np.ones((N + 1, K))), f"q has {N + 1} datapoints, x {N}"),
        (np.zeros((N, K)), "give q as"),
    ],
)
def test_what_is_no_q_is_a_line(x_NxD, given, line):
    with pytest.raises(ConfigError, match=line):
        groups(log_likelihood, given, x_NxD, key=KEY, num_samples=5)


def test_without_arviz_is_one_line(monkeypatch, x_NxD, q):
    monkeypatch.setitem(__import__("sys").modules, "arviz", None)
    with pytest.raises(ConfigError, match=r"needs ArviZ: pip install 'vaelab\[arviz\]'"):
        to_arviz(log_likelihood, q["wide"], x_NxD, key=KEY)


def test_arviz_takes_it_and_its_loo_is_log_evidence(x_NxD, q):
    """From samples of the posterior itself, z being the datapoint's own."""
    arviz = pytest.importorskip("arviz")
    made = to_arviz(log_likelihood, q, x_NxD, key=KEY, num_samples=S)
    assert set(made) == {"wide", "posterior"}
    data = made["posterior"]
    assert data["posterior"]["z"].dims[-2:] == ("datapoint", "latent")
    np.testing.assert_array_equal(data["observed_data"]["x"], x_NxD)
    loo = arviz.loo(data, pointwise=True)
    elpd = float(getattr(loo, "elpd", getattr(loo, "elpd_loo", np.nan)))
    exact = sum(EXACT.log_evidence(x) for x in x_NxD)
    # The harmonic mean's own error: 1 / p(x given z) of the samples, by the delta method.
    inverse = np.exp(-np.float64(data["log_likelihood"]["x"]).reshape(S, N))
    error = np.sqrt(np.sum(inverse.var(axis=0) / inverse.mean(axis=0) ** 2 / S))
    assert abs(elpd - exact) < 5 * error
