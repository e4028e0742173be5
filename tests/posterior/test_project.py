"""One distribution in the coordinates of another family."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.posterior.test_families import make, member
from tests.support import oracles
from vaelab import posterior
from vaelab.posterior import FAMILIES
from vaelab.posterior.project import has_projection, near, project, same_distribution, searched_as


@pytest.mark.parametrize("name", FAMILIES)
def test_a_distribution_is_carried_over_and_back(name):
    family, full = make(name), make("full")
    if family.gaussian is None:
        np.testing.assert_array_equal(project(member(family), family, full), full.init())
        np.testing.assert_array_equal(project(full.init(), full, family), family.init())
        return
    phi_P = member(family)
    mu_K, scale_KxK = family.gaussian.location_scale(phi_P)
    same_mu_K, same_KxK = full.gaussian.location_scale(project(phi_P, family, full))
    np.testing.assert_allclose(same_mu_K, mu_K, rtol=1e-6)
    np.testing.assert_allclose(same_KxK @ same_KxK.T, scale_KxK @ scale_KxK.T, rtol=1e-4, atol=1e-5)
    assert project(phi_P, family, family) is phi_P
    if searched_as(family) is not family:
        moved_P = same_distribution(phi_P, family, searched_as(family))
        back_P = same_distribution(moved_P, searched_as(family), family)
        np.testing.assert_allclose(back_P, phi_P, rtol=1e-4, atol=1e-5)
    if not has_projection(family):
        np.testing.assert_array_equal(project(full.init(), full, family), family.init())
    else:
        np.testing.assert_allclose(project(full.init(), full, family), family.init(), atol=1e-6)
    assert jnp.all(jnp.isfinite(project(member(full), full, family)))


def gaussian_kl(mean_K, covariance_KxK, target_mean_K, target_KxK):
    return float(oracles.gaussian_kl(*map(np.float64, (mean_K, covariance_KxK, target_mean_K, target_KxK))))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_member_near_a_gaussian_distribution_is_at_least_as_near_as_mean_field(name):
    """In KL(q || N(mu, S S')), of a thin ellipsoid aslant; a flow's T is the identity, and its q Gaussian."""
    family, rng = make(name), np.random.default_rng(3)
    if family.shared_of is not None:
        assert near(family) is None
        return
    K = family.latent_dim
    mean_K, scale_KxK = np.float32(rng.normal(size=K)), np.float32(rng.normal(size=(K, K)) / 3.0)
    phi_P = near(family)(mean_K, scale_KxK)
    assert phi_P.shape == (family.param_size,)
    eps_SxK = np.concatenate([np.zeros((1, K)), np.eye(K)]).astype(np.float32)
    z_SxK = np.float64([family.reparameterize(phi_P, eps_K) for eps_K in eps_SxK])
    np.testing.assert_allclose(z_SxK[0], mean_K, atol=1e-6)
    root_KxK = (z_SxK[1:] - z_SxK[0]).T
    target_KxK = np.float64(scale_KxK) @ np.float64(scale_KxK).T
    at = gaussian_kl(mean_K, root_KxK @ root_KxK.T, mean_K, target_KxK)
    mean_field_KxK = np.diag(1.0 / np.diag(np.linalg.inv(target_KxK)))
    mean_field = gaussian_kl(mean_K, mean_field_KxK, mean_K, target_KxK)
    assert mean_field > 0.5
    assert at <= mean_field + 0.03  # a factor of low_rank has a least size
    if name in ("full", "cholesky"):
        assert abs(at) < 1e-3


def test_as_many_reflections_as_dimensions_give_the_distribution_itself():
    K, rng = 4, np.random.default_rng(5)
    family = posterior.householder(K, num_reflections=K)
    scale_KxK = np.float32(rng.normal(size=(K, K)))
    _, same_KxK = family.gaussian.location_scale(near(family)(np.zeros(K, np.float32), scale_KxK))
    np.testing.assert_allclose(same_KxK @ same_KxK.T, scale_KxK @ scale_KxK.T, rtol=1e-3, atol=1e-4)


def test_one_reflection_turns_to_the_one_axis_that_is_wide():
    """With the others equal N(mu, Q diag(sigma^2) Q') has this covariance itself."""
    K, along_K = 4, np.array([1.0, -2.0, 0.5, 1.5])
    covariance_KxK = 0.1 * np.eye(K) + np.outer(along_K, along_K)
    family = posterior.householder(K, num_reflections=1)
    scale_KxK = np.float32(np.linalg.cholesky(covariance_KxK))
    _, same_KxK = family.gaussian.location_scale(near(family)(np.zeros(K, np.float32), scale_KxK))
    np.testing.assert_allclose(same_KxK @ same_KxK.T, covariance_KxK, rtol=1e-3, atol=1e-4)


def test_the_factors_of_low_rank_gain_what_is_derived():
    """1/2 sum_j (log l_j - 1 + 1/l_j), l_j the largest eigenvalues of D^-1 S S' D^-1, D^2 mean-field's."""
    K, rank, rng = 5, 2, np.random.default_rng(6)
    scale_KxK = np.float32(np.eye(K) + 0.25 * rng.normal(size=(K, K)))
    target_KxK = np.float64(scale_KxK) @ np.float64(scale_KxK).T
    variance_K = 1.0 / np.diag(np.linalg.inv(target_KxK))
    largest_r = np.linalg.eigvalsh(target_KxK / np.sqrt(np.outer(variance_K, variance_K)))[-rank:]
    assert 1.1 < largest_r.min() <= largest_r.max() < 8.0  # far off neither a 1 nor a log counts for much
    gain = 0.5 * np.sum(np.log(largest_r) - 1.0 + 1.0 / largest_r)
    family, mean_K = posterior.low_rank(K, rank=rank), np.zeros(K)
    _, same_KxK = family.gaussian.location_scale(near(family)(np.float32(mean_K), scale_KxK))
    at = gaussian_kl(mean_K, same_KxK @ same_KxK.T, mean_K, target_KxK)
    mean_field = gaussian_kl(mean_K, np.diag(variance_K), mean_K, target_KxK)
    np.testing.assert_allclose(mean_field - at, gain, rtol=1e-3)


def test_low_rank_never_starts_without_a_factor():
    """Where the coordinates are independent V = 0 would be near, and no gradient leads away from it."""
    family = posterior.low_rank(4, rank=2)
    phi_P = near(family)(np.zeros(4, np.float32), np.diag(np.float32([0.1, 1.0, 2.0, 3.0])))
    assert np.all(np.linalg.norm(np.asarray(phi_P[8:]).reshape(4, 2), axis=0) > 0.1)
