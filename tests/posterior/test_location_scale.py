"""Density and projection of location-scale families, against closed forms of Gaussian distributions."""

import numpy as np
import scipy.stats

from tests.support import oracles
from vaelab import posterior
from vaelab.posterior.location_scale import mean_field_log_sd, sample_with_density

K = 4


def test_a_sample_comes_with_its_density():
    rng = np.random.default_rng(0)
    family = posterior.full(K)
    phi_P, eps_K = oracles.random_phi("full", rng, K, 9.0), rng.normal(size=K).astype(np.float32)
    mean, scale = oracles.mean_and_scale("full", phi_P)
    draw = sample_with_density(family.reparameterize, lambda phi_P: np.linalg.slogdet(scale)[1])
    z_K, log_q = draw(phi_P, eps_K)
    np.testing.assert_allclose(z_K, mean + scale @ eps_K, atol=1e-5)
    exact = scipy.stats.multivariate_normal(mean, scale @ scale.T).logpdf(np.float64(mean + scale @ eps_K))
    np.testing.assert_allclose(log_q, exact, atol=1e-4)


def test_the_mean_field_of_a_gaussian_has_its_conditional_variances():
    """Along the axes, and along those of a rotation: 1 / (Q' precision Q)_kk."""
    rng = np.random.default_rng(1)
    scale, turn = oracles.random_scale(rng, K, 9.0), np.linalg.qr(rng.normal(size=(K, K)))[0]
    precision = np.linalg.inv(scale @ scale.T)
    for rotation in (None, turn):
        inner = precision if rotation is None else rotation.T @ precision @ rotation
        turned = None if rotation is None else np.float32(rotation)
        log_sd = mean_field_log_sd(np.float32(scale), turned)
        np.testing.assert_allclose(log_sd, -0.5 * np.log(np.diag(inner)), atol=1e-4)
