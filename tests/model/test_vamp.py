"""The VampPrior: the encoder's q at pseudo-inputs, which start at data and stay in the range of x."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from vaelab import posterior
from vaelab.model import networks
from vaelab.model.vamp import PseudoInputs, vamp

M, K, D = 3, 2, 4
FAMILY = posterior.diagonal(K)
ENCODER = networks.mlp_encoder(D, (5,), FAMILY.init(), activation=jnp.tanh, output_scale=1.0)
PSI = ENCODER.init(jax.random.key(5))
DATA_NxD = np.float32(np.random.default_rng(0).uniform(size=(7, D)))
LEVELS = PseudoInputs(jnp.zeros(D), jnp.ones(D), jnp.asarray(DATA_NxD))


def prior(inputs=LEVELS, family=FAMILY, encoder=ENCODER):
    return vamp(K, num_components=M, family=family, encoder=encoder, inputs=inputs)


def tied(made=None):
    made = made or prior()
    return made.tie(made.init(jax.random.key(0)), PSI)


def test_it_is_the_mean_of_the_encoders_densities_at_the_pseudo_inputs():
    params, z_K = tied(), np.float32([0.4, -1.0])
    phi_MxP = np.float64(jax.vmap(ENCODER.apply, (None, 0))(PSI, params["pseudo_inputs_MxD"]))
    terms_M = stats.norm(phi_MxP[:, :K], np.exp(phi_MxP[:, K:])).logpdf(np.float64(z_K)).sum(axis=1)
    np.testing.assert_allclose(
        prior().log_prob(params, z_K), special.logsumexp(terms_M) - np.log(M), rtol=1e-5
    )


def test_pseudo_inputs_start_at_training_examples_of_which_each_seed_has_its_own():
    starts = [np.asarray(prior().init(jax.random.key(seed))["pseudo_inputs_MxD"]) for seed in (0, 1)]
    for u_MxD in starts:
        rows = [np.flatnonzero((DATA_NxD == u_D).all(axis=1)).item() for u_D in u_MxD]
        assert len(set(rows)) == M
    assert not np.array_equal(*starts)


def test_without_data_they_start_as_noise_on_the_range_of_x():
    range_ = PseudoInputs(jnp.full(D, -3.0), jnp.array([-2.0, 0.0, 5.0, -3.0]))
    u_MxD = prior(range_).init(jax.random.key(0))["pseudo_inputs_MxD"]
    u_MxD = np.asarray(u_MxD)
    assert np.all((u_MxD >= np.asarray(range_.lower_D)) & (u_MxD <= np.asarray(range_.upper_D)))
    assert np.ptp(u_MxD[:, 2]) > 0.1
    assert np.ptp(u_MxD[:, 3]) == 0.0


def test_what_a_step_has_carried_out_of_the_range_is_put_back_and_still_has_a_gradient():
    params = tied()
    params["pseudo_inputs_MxD"] = params["pseudo_inputs_MxD"].at[0, 0].set(1.7).at[1, 2].set(-0.3)
    again = prior().tie(params, PSI)
    u_MxD = np.asarray(again["pseudo_inputs_MxD"])
    assert (u_MxD[0, 0], u_MxD[1, 2]) == (1.0, 0.0)
    phi_P = ENCODER.apply(PSI, u_MxD[0])
    np.testing.assert_allclose(again["phi_MxP"][0], phi_P, rtol=1e-6)

    def bound(u_MxD, psi):
        made = prior().tie(params | {"pseudo_inputs_MxD": u_MxD}, psi)
        return prior().log_prob(made, jnp.zeros(K))

    of_u, of_psi = jax.grad(bound, argnums=(0, 1))(params["pseudo_inputs_MxD"], PSI)
    assert np.all(np.abs(of_u) > 0.0)
    assert all(np.abs(leaf).max() > 0.0 for leaf in jax.tree.leaves(of_psi))


def test_a_family_with_correlations_has_them_in_its_components():
    family = posterior.full(K)
    encoder = networks.mlp_encoder(D, (5,), family.init(), activation=jnp.tanh, output_scale=1.0)
    made = prior(family=family, encoder=encoder)
    params = made.tie(made.init(jax.random.key(0)), encoder.init(jax.random.key(6)))
    z_K, terms = np.array([0.4, -1.0]), []
    for phi_P in np.float64(params["phi_MxP"]):
        scale_KxK = phi_P[K:].reshape(K, K)
        terms.append(stats.multivariate_normal(phi_P[:K], scale_KxK @ scale_KxK.T).logpdf(z_K))
    exact = special.logsumexp(terms) - np.log(M)
    assert made.log_prob(params, jnp.float32(z_K)) == pytest.approx(exact, rel=1e-4)
