"""The q of every datapoint as arrays, against the moments that phi says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import oracles
from vaelab import posterior
from vaelab.measure.encoding import encoded, moments, noise
from vaelab.model import hierarchy
from vaelab.types import PosteriorFamily

K, N, R, S = 3, 5, 2, 4
FAMILIES = {"diagonal": posterior.diagonal(K), "full": posterior.full(K)}
EPS_RxSxK = np.random.default_rng(1).normal(size=(R, S, K))


def members(name):
    rng = np.random.default_rng(0)
    return np.stack([oracles.random_phi(name, rng, K, 4.0) for _ in range(N)])


@pytest.mark.parametrize("name", FAMILIES)
def test_of_gaussian_families_all_is_in_closed_form(name):
    phi_NxP = members(name)
    seen = encoded(FAMILIES[name], phi_NxP, EPS_RxSxK)
    exact = [oracles.mean_and_scale(name, phi_P) for phi_P in phi_NxP]
    assert seen.exact
    np.testing.assert_allclose(seen.mean_NxK, [mean for mean, _ in exact], rtol=1e-6)
    np.testing.assert_allclose(seen.kl_N, [oracles.kl_to_prior(*one) for one in exact], rtol=1e-5)
    for (mean, scale), kl_K in zip(exact, seen.kl_NxK, strict=True):
        variances = np.sum(scale**2, axis=1)
        np.testing.assert_allclose(kl_K, 0.5 * (variances + mean**2 - 1.0 - np.log(variances)), rtol=1e-5)
    assert seen.rows_M.tolist() == [0, 1]
    for (mean, scale), eps_SxK, u_SxK in zip(exact, EPS_RxSxK, seen.draws.u_NxSxK, strict=False):
        np.testing.assert_allclose(u_SxK, mean + eps_SxK @ scale.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moments(FAMILIES[name], phi_NxP)[1], [scale for _, scale in exact], atol=1e-6)


def test_what_is_not_finite_is_nan_and_has_no_draws():
    phi_NxP = members("diagonal")
    phi_NxP[0, 1], phi_NxP[3, K] = np.nan, 200.0
    seen = encoded(FAMILIES["diagonal"], phi_NxP, EPS_RxSxK)
    assert np.isnan(seen.kl_N).tolist() == [True, False, False, True, False]
    assert np.isnan(seen.mean_NxK).all(axis=1).tolist() == [True, False, False, True, False]
    assert seen.rows_M.tolist() == [1]
    assert seen.draws.u_NxSxK.shape == (1, S, K)


def cubed(shared_size):
    """z = u + u^3 of u = mu + exp(log sigma) eps, and numbers that do nothing."""

    def sample_and_log_prob(phi_P, eps_K):
        mu_K, log_sigma_K = phi_P[:K], phi_P[K : 2 * K]
        u_K = mu_K + jnp.exp(log_sigma_K) * eps_K
        log_q = jnp.sum(jax.scipy.stats.norm.logpdf(eps_K) - log_sigma_K - jnp.log1p(3.0 * u_K**2))
        return u_K + u_K**3, log_q

    size = 2 * K + 1
    return PosteriorFamily("cubed", K, size, None, None, sample_and_log_prob, None, shared_size=shared_size)


SHARED = [(1, 0.0, True), (1, 1.0, False), (0, 0.0, False)]


@pytest.mark.parametrize(("shared_size", "last", "transformed"), SHARED)
def test_a_flow_is_gaussian_behind_a_transformation_only_where_all_share_it(shared_size, last, transformed):
    phi_NxP = np.concatenate([members("diagonal"), last * np.arange(N, dtype=np.float32)[:, None]], axis=1)
    seen = encoded(cubed(shared_size), phi_NxP, EPS_RxSxK)
    assert not seen.exact
    assert seen.kl_NxK is None
    assert (seen.members is not None) == seen.draws.is_transformed == transformed
    u_RxSxK = phi_NxP[:R, None, :K] + np.exp(phi_NxP[:R, None, K : 2 * K]) * EPS_RxSxK
    z_RxSxK = u_RxSxK + u_RxSxK**3
    np.testing.assert_allclose(seen.mean_NxK[:R], z_RxSxK.mean(axis=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(seen.noise_NxK[:R], z_RxSxK.var(axis=1, ddof=1) / S, rtol=1e-4)
    assert np.isnan(seen.kl_N[R:]).all()
    if transformed:
        np.testing.assert_allclose(seen.draws.u_NxSxK, u_RxSxK, rtol=1e-5)
        log_det_RxS = np.sum(np.log1p(3.0 * u_RxSxK**2), axis=2)
        np.testing.assert_allclose(seen.draws.log_det_NxS, log_det_RxS, atol=1e-4)


def test_the_noise_of_a_datapoint_is_that_of_its_index():
    key, sizes = jax.random.key(0), {"num_draws": S, "latent_dim": K}
    eps_NxSxK = noise(key, np.array([7, 3, 9]), **sizes)
    assert eps_NxSxK.shape == (3, S, K)
    np.testing.assert_array_equal(noise(key, np.array([9, 8]), **sizes)[0], eps_NxSxK[2])
    assert np.abs(eps_NxSxK[0] - eps_NxSxK[1]).max() > 0.1


@pytest.mark.parametrize("name", ["bottom_up", "top_down"])
def test_a_chain_of_levels_has_members_where_one_map_makes_all_of_them(name):
    """z of bottom_up is one map of mu + sigma eps; that of top_down is another for each message."""
    levels, prior = (2, 1), hierarchy(K, levels=(2, 1), hidden=2)
    family = {
        "bottom_up": lambda: posterior.bottom_up(K, hidden=2, levels=levels),
        "top_down": lambda: posterior.top_down(
            K, levels=levels, prior=jax.eval_shape(prior.init, jax.random.key(0))
        ),
    }[name]()
    rng = np.random.default_rng(0)
    shared_R = np.tile(0.5 * rng.normal(size=family.shared_size), (N, 1))
    phi_NxP = np.float32(np.concatenate([0.5 * rng.normal(size=(N, 2 * K)), shared_R], axis=1))
    seen = encoded(family, phi_NxP, EPS_RxSxK)
    assert (seen.members is None) == (name == "top_down")
    z_RxSxK = jax.vmap(jax.vmap(family.reparameterize, (None, 0)))(phi_NxP[:R], np.float32(EPS_RxSxK))
    np.testing.assert_allclose(seen.draws.z_NxSxK, z_RxSxK, rtol=1e-5, atol=1e-6)
    if name == "bottom_up":
        # Two of one u have one z, whichever datapoint u is of.
        same_P = np.concatenate([seen.draws.u_NxSxK[0, 0], np.zeros(K), shared_R[0]])
        np.testing.assert_allclose(
            family.reparameterize(np.float32(same_P), jnp.zeros(K)), z_RxSxK[0, 0], rtol=1e-4, atol=1e-5
        )
