"""A flow as a prior: N(0, I) before training, and its density in one pass whichever way round it is fast."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab import posterior
from vaelab.model.flow_prior import flow_prior
from vaelab.model.prior import standard_normal_log_prob

K = 3
FLOWS = {name: posterior.FAMILIES[name].make(K, num_layers=2, hidden=5) for name in ("real_nvp", "iaf")}
Z_K = jnp.array([0.3, -1.0, 2.0])


@pytest.fixture(params=FLOWS)
def prior(request):
    return flow_prior(K, family=FLOWS[request.param])


def moved(prior):
    phi_P = prior.init(jax.random.key(0))["phi_P"]
    return {"phi_P": phi_P + 0.3 * jax.random.normal(jax.random.key(1), phi_P.shape)}


def test_before_training_it_is_the_standard_prior(prior):
    params = prior.init(jax.random.key(0))
    np.testing.assert_allclose(prior.log_prob(params, Z_K), standard_normal_log_prob(Z_K), rtol=1e-6)
    z_K = prior.sample(params, jax.random.key(2))
    np.testing.assert_allclose(z_K, jax.random.normal(jax.random.key(2), (K,)), rtol=1e-5, atol=1e-6)


def test_the_density_is_that_of_the_change_of_variables(prior):
    """The draw as a function of its noise, by an autodiff Jacobian of the sampler with the noise set."""
    params = moved(prior)

    def of_noise(eps_K, monkey=None):
        normal, jax.random.normal = jax.random.normal, lambda key, shape: eps_K
        try:
            return prior.sample(params, None)
        finally:
            jax.random.normal = normal

    eps_K = jnp.array([0.5, -0.4, 1.1])
    z_K, jacobian_KxK = of_noise(eps_K), jax.jacfwd(of_noise)(eps_K)
    exact = standard_normal_log_prob(eps_K) - np.linalg.slogdet(np.float64(jacobian_KxK))[1]
    np.testing.assert_allclose(prior.log_prob(params, z_K), exact, rtol=1e-4)


def test_the_density_takes_no_loop_over_the_dimensions(prior):
    program = str(jax.make_jaxpr(prior.log_prob)(moved(prior), Z_K))
    assert "scan" not in program
    assert "while" not in program
