"""A mixture of Gaussian distributions against SciPy in float64: density, gradients, far components."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special, stats

from tests.support import oracles
from tests.support.oracles import EPS
from vaelab.model.mixture import (
    SPREAD,
    component_log_probs,
    expanded_log_probs,
    mixture,
    mixture_log_prob,
)

M, K = 4, 3
RANDOM = np.random.default_rng(0)
PARAMS = {
    "logit_M": np.float32(RANDOM.normal(size=M)),
    "mean_MxK": np.float32(2.0 * RANDOM.normal(size=(M, K))),
    "log_scale_MxK": np.float32(0.5 * RANDOM.normal(size=(M, K))),
}
Z_K = np.float32([0.4, -1.2, 2.0])
PRIOR = mixture(K, num_components=M)


def exact(logit_M, mean_MxK, log_scale_MxK, z_K):
    terms_M = stats.norm(mean_MxK, np.exp(log_scale_MxK)).logpdf(z_K).sum(axis=1)
    return special.logsumexp(terms_M + special.log_softmax(logit_M))


def test_the_density_is_that_of_scipy():
    arguments = (np.float64(PARAMS[name]) for name in ("logit_M", "mean_MxK", "log_scale_MxK"))
    np.testing.assert_allclose(PRIOR.log_prob(PARAMS, Z_K), exact(*arguments, np.float64(Z_K)), rtol=4 * EPS)


def test_gradients_in_parameters_and_z_are_those_of_differences():
    grads, grad_K = jax.jit(jax.grad(PRIOR.log_prob, argnums=(0, 1)))(PARAMS, Z_K)
    values = {name: np.float64(value) for name, value in PARAMS.items()} | {"z_K": np.float64(Z_K)}
    for name, grad in (grads | {"z_K": grad_K}).items():

        def at(flat, name=name):
            return exact(*(values | {name: flat.reshape(values[name].shape)}).values())

        difference = oracles.gradient(at, values[name].reshape(-1))
        np.testing.assert_allclose(np.ravel(grad), difference, rtol=1e-4, atol=2e-6)


def test_second_derivatives_in_z_are_those_of_differences_of_the_gradient():
    hessian_KxK = jax.hessian(PRIOR.log_prob, argnums=1)(PARAMS, Z_K)
    arguments = [np.float64(PARAMS[name]) for name in ("logit_M", "mean_MxK", "log_scale_MxK")]

    def slope(z_K):
        return oracles.gradient(lambda z: exact(*arguments, z), z_K)

    rows = [(slope(Z_K + d) - slope(Z_K - d)) / 2e-3 for d in 1e-3 * np.eye(K)]
    np.testing.assert_allclose(hessian_KxK, rows, rtol=1e-3, atol=1e-4)


def test_a_gradient_of_a_batch_is_the_sum_of_those_of_its_datapoints():
    """Through products of matrices there, of which alone there are none."""
    z_BxK = np.float32(RANDOM.normal(size=(5, K)))
    whole = jax.grad(lambda p: jnp.sum(jax.vmap(PRIOR.log_prob, (None, 0))(p, z_BxK)))(PARAMS)
    parts = [jax.grad(PRIOR.log_prob)(PARAMS, z_K) for z_K in z_BxK]
    for name in PARAMS:
        alone = np.sum([part[name] for part in parts], axis=0)
        np.testing.assert_allclose(whole[name], alone, rtol=1e-4, atol=1e-5)


def test_a_narrow_component_far_out_loses_no_digits():
    """|z|^2 - 2 z'm + |m|^2 in units of the scale would be off by nats here."""
    mean_MxK, log_scale_MxK = np.float32([[5.0, -5.0]]), np.log(np.float32([[1e-3, 1e-3]]))
    z_K = mean_MxK[0] + np.float32([1e-3, -2e-3])
    truth = stats.norm(np.float64(mean_MxK), np.exp(np.float64(log_scale_MxK))).logpdf(np.float64(z_K)).sum()
    got = component_log_probs(mean_MxK, log_scale_MxK, z_K)
    np.testing.assert_allclose(got, [truth], rtol=0, atol=1e-4)
    slope_K = jax.grad(lambda z_K: component_log_probs(mean_MxK, log_scale_MxK, z_K)[0])(z_K)
    sd_K = np.exp(log_scale_MxK[0])
    expected_K = -(np.float64(z_K) - mean_MxK[0]) / np.float64(sd_K) ** 2
    np.testing.assert_allclose(slope_K * sd_K, expected_K * sd_K, atol=20 * EPS * 5.0 / 1e-3)


def test_at_the_start_it_has_the_second_moments_of_the_standard_prior():
    params = mixture(K, num_components=20_000).init(jax.random.key(0))
    second = np.mean(np.float64(params["mean_MxK"]) ** 2, axis=0) + np.exp(2.0 * params["log_scale_MxK"][0])
    np.testing.assert_allclose(second, 1.0, atol=5.0 * SPREAD**2 * np.sqrt(2.0 / 20_000))


def test_components_without_weight_are_not_there():
    weight_M = np.log(np.float32([1.0, 0.0, 0.0, 0.0]) + np.float32(1e-30))
    got = mixture_log_prob(weight_M, PARAMS["mean_MxK"], PARAMS["log_scale_MxK"], Z_K)
    alone = component_log_probs(PARAMS["mean_MxK"], PARAMS["log_scale_MxK"], Z_K)[0]
    np.testing.assert_allclose(got, alone, rtol=1e-6)


def test_what_training_takes_is_the_same_density_to_its_digits():
    z_BxK = np.float32(RANDOM.normal(size=(6, K)))
    plain, fast = (jax.vmap(jax.value_and_grad(f), (None, 0)) for f in (PRIOR.log_prob, PRIOR.fast_log_prob))
    (value_B, grads), (fast_B, fast_grads) = plain(PARAMS, z_BxK), fast(PARAMS, z_BxK)
    np.testing.assert_allclose(fast_B, value_B, rtol=1e-5)
    for name in PARAMS:
        np.testing.assert_allclose(fast_grads[name], grads[name], rtol=1e-3, atol=1e-4)
    # At 100 scales from 0 to a thousandth of a nat, and no better.
    mean_MxK, log_scale_MxK = np.float32([[1.0]]), np.log(np.float32([[0.01]]))
    z_Bx1 = np.float32(1.0 + 0.01 * np.linspace(-2.0, 2.0, 50))[:, None]
    off_B = jax.vmap(expanded_log_probs, (None, None, 0))(mean_MxK, log_scale_MxK, z_Bx1)
    off_B = np.abs(off_B - jax.vmap(component_log_probs, (None, None, 0))(mean_MxK, log_scale_MxK, z_Bx1))
    assert 1e-4 < off_B.max() < 2e-3
