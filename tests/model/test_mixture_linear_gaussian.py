"""The mixture prior with a linear-Gaussian likelihood against dense algebra in float64."""

import jax
import numpy as np
from scipy import special

from tests.support import oracles
from vaelab import model as models

M, K, D = 3, 2, 4
MODEL = models.mixture_linear_gaussian(K, (1.5, 0.6), 0.4, D, num_components=M)
RANDOM = np.random.default_rng(1)
THETA = MODEL.init(jax.random.key(0)) | {
    "prior": {
        "logit_M": np.float32([0.0, -0.7, 0.4]),
        "mean_MxK": np.float32(2.0 * RANDOM.normal(size=(M, K))),
        "log_scale_MxK": np.float32(0.4 * RANDOM.normal(size=(M, K)) - 0.5),
    }
}
X_D = np.float32([0.5, -1.0, 1.5, 0.2])


def components():
    """(log w_m + log p_m(x), mean, covariance of z given x) of each, by conditioning the joint Gaussian."""
    linear, prior = oracles.LinearGaussian.of(THETA["likelihood"]), THETA["prior"]
    for log_weight, mean, log_scale in zip(
        special.log_softmax(np.float64(prior["logit_M"])),
        np.float64(prior["mean_MxK"]),
        np.float64(prior["log_scale_MxK"]),
        strict=True,
    ):
        covariance = np.diag(np.exp(2.0 * log_scale))
        of_x = linear.weight @ covariance @ linear.weight.T + np.diag(linear.variance)
        at = linear.weight @ mean + linear.bias
        gain = covariance @ linear.weight.T @ np.linalg.inv(of_x)
        yield (
            log_weight + oracles.log_normal(np.float64(X_D), at, of_x),
            mean + gain @ (X_D - at),
            covariance - gain @ linear.weight @ covariance,
        )


def test_log_evidence_is_that_of_the_joint_gaussians():
    exact = special.logsumexp([log_p for log_p, _, _ in components()])
    got = models.mixture_linear_gaussian_log_evidence(THETA, X_D)
    np.testing.assert_allclose(got, exact, rtol=1e-5)


def test_the_posterior_is_the_mixture_of_theirs_and_the_joint_density_over_the_evidence():
    log_weight_M, mean_MxK, precision_MxKxK = models.mixture_linear_gaussian_posterior(THETA, X_D)
    log_p_M = np.array([log_p for log_p, _, _ in components()])
    np.testing.assert_allclose(log_weight_M, log_p_M - special.logsumexp(log_p_M), rtol=1e-4, atol=1e-5)
    for m, (_, mean, covariance) in enumerate(components()):
        np.testing.assert_allclose(mean_MxK[m], mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(precision_MxKxK[m], np.linalg.inv(covariance), rtol=1e-4)
    z_K = np.float32([0.7, -0.9])
    parts = [
        log_p + oracles.log_normal(np.float64(z_K), mean, covariance)
        for log_p, mean, covariance in components()
    ]
    np.testing.assert_allclose(models.bind(MODEL, THETA, X_D)(z_K), special.logsumexp(parts), rtol=1e-5)


def test_the_bounds_are_those_of_one_component_with_its_mean_field_loss():
    diagonal_M, full_M = models.mixture_linear_gaussian_bounds(THETA, X_D)
    for m, (log_p, _, covariance) in enumerate(components()):
        precision = np.linalg.inv(covariance)
        loss = 0.5 * (np.sum(np.log(np.diag(precision))) - oracles.log_abs_det(precision))
        assert loss > 1e-3
        np.testing.assert_allclose([diagonal_M[m], full_M[m]], [log_p - loss, log_p], rtol=1e-5)


def test_one_component_is_the_linear_gaussian_model_itself():
    one = models.mixture_linear_gaussian(K, (1.5, 0.6), 0.8, D, num_components=1)
    linear = models.linear_gaussian(K, (1.5, 0.6), 0.8, D)
    theta = one.init(jax.random.key(0))
    theta["prior"] |= {
        "mean_MxK": np.zeros((1, K), np.float32),
        "log_scale_MxK": np.zeros((1, K), np.float32),
    }
    got = models.mixture_linear_gaussian_log_evidence(theta, X_D)
    np.testing.assert_allclose(got, linear.exact.log_evidence(theta["likelihood"], X_D), rtol=1e-6)
    assert one.concavity is not None
