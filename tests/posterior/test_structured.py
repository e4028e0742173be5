"""Gaussian families whose scale costs less than K^2 numbers: what is of their coordinates alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.posterior.test_gaussian import FAMILIES, K, cases
from tests.support import oracles
from tests.support.oracles import EPS
from vaelab import posterior


@pytest.mark.long
@pytest.mark.parametrize("name", ["low_rank", "householder"])
@pytest.mark.slow
def test_natural_gradient_by_conjugate_gradients_solves_its_metric(name):
    """By dense algebra: the Fisher information, a weight for rotations of the draws, and a damping."""
    family, rng = FAMILIES[name](K), np.random.default_rng(7)
    natural = jax.jit(family.gaussian.natural_gradient)
    for phi_P in cases(family, (1.0, 3.0, 10.0), repeats=2):
        _, scale_KxK = family.gaussian.location_scale(phi_P)
        jacobian = np.float64(jax.jacobian(lambda p: family.gaussian.location_scale(p)[1])(phi_P))[..., K:]
        a = np.einsum("ij,jkp->ikp", np.linalg.inv(np.float64(scale_KxK)), jacobian)
        even, odd = a + a.swapaxes(0, 1), a - a.swapaxes(0, 1)
        rotation = 0.1 if name == "householder" else 0.0
        G = 0.5 * (np.einsum("ijp,ijq->pq", even, even) + rotation * np.einsum("ijp,ijq->pq", odd, odd))
        G += 0.03 * np.eye(len(G))
        # The even part alone is the Fisher information.
        F = oracles.fisher_information(name, phi_P)
        np.testing.assert_allclose(
            0.5 * np.einsum("ijp,ijq->pq", even, even), F[K:, K:], atol=1e-4 * np.abs(F).max()
        )
        # One draw's gradient of a nonlinear function: not one of q's, and in the range of G all the
        # same.
        eps_K = np.float32(rng.normal(size=K))
        g = jax.grad(lambda p, e=eps_K: jnp.sum(jnp.sin(family.reparameterize(p, e))))(phi_P)
        step = np.asarray(natural(phi_P, g), np.float64)
        g = np.float64(g)
        np.testing.assert_allclose(G @ step[K:], g[K:], atol=5e-3 * np.linalg.norm(g[K:]))
        covariance = np.float64(scale_KxK @ scale_KxK.T)
        np.testing.assert_allclose(step[:K], covariance @ g[:K], rtol=1e-4, atol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize(("size", "rank"), [(1, 1), (3, 3), (9, 2), (17, 5), (50, 10)])
def test_low_rank_at_every_size(size, rank):
    family, rng = posterior.low_rank(size, rank=rank), np.random.default_rng(size)
    log_d, factor = 0.3 * rng.normal(size=size), rng.normal(size=(size, rank)) / np.sqrt(rank)
    phi_P = np.concatenate([rng.normal(size=size), log_d, factor.reshape(-1)]).astype(np.float32)
    phi = np.float64(phi_P)
    d, factor = np.exp(phi[size : 2 * size]), phi[2 * size :].reshape(size, rank)
    covariance = np.diag(d**2) + (d[:, None] * factor) @ (d[:, None] * factor).T
    z = rng.normal(size=size).astype(np.float32)
    kl = oracles.gaussian_kl(phi[:size], covariance, np.zeros(size), np.eye(size))
    np.testing.assert_allclose(family.kl_to_prior(phi_P), kl, rtol=1e-5)
    log_q = oracles.log_normal(np.float64(z), phi[:size], covariance)
    np.testing.assert_allclose(family.dist(phi_P).log_prob(z), log_q, rtol=1e-5)
    _, scale_KxK = family.gaussian.location_scale(phi_P)
    np.testing.assert_allclose(scale_KxK @ scale_KxK.T, covariance, atol=8 * size * EPS)


def test_as_many_reflections_as_dimensions_reach_any_covariance():
    """K - 1 reflections carry the first eigenvectors to the axes one by one; the last follows."""
    family, rng = posterior.householder(K, num_reflections=K), np.random.default_rng(9)
    target = oracles.random_scale(rng, K, 10.0)
    value_K, vector_KxK = np.linalg.eigh(target @ target.T)
    rest, reflections = vector_KxK.copy(), []
    for i in range(K):
        v = rest[:, i] - np.eye(K)[:, i]
        v = v if np.linalg.norm(v) > 1e-6 else rest[:, i] + np.eye(K)[:, i]  # to -e_i: the same q
        rest = rest - 2.0 * np.outer(v, v @ rest) / (v @ v)
        reflections.append(v)
    phi_P = np.concatenate([np.zeros(K), 0.5 * np.log(value_K), *reflections]).astype(np.float32)
    _, scale_KxK = family.gaussian.location_scale(phi_P)
    np.testing.assert_allclose(scale_KxK @ scale_KxK.T, target @ target.T, atol=20 * K * EPS)


@pytest.mark.parametrize("bad", [0, K + 1, -1])
def test_ranks_and_reflections_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=f"from 1 to latent_dim={K}, not {bad}"):
        posterior.low_rank(K, rank=bad)
    with pytest.raises(ValueError, match=f"from 1 to latent_dim={K}, not {bad}"):
        posterior.householder(K, num_reflections=bad)
