"""Networks: MLPs, numbers that no input moves, and the type that is computed in."""

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.model import networks


def test_constants_are_appended_learned_and_moved_by_no_input():
    network = networks.with_constants(
        networks.mlp_decoder(2, (4,), 3, activation=jnp.tanh), jnp.array([7.0, -1.0])
    )
    params = network.init(jax.random.key(0))
    for z_K in (jnp.zeros(2), jnp.ones(2)):
        np.testing.assert_array_equal(network.apply(params, z_K)[3:], [7.0, -1.0])
    grads = jax.grad(lambda p: jnp.sum(network.apply(p, jnp.ones(2)) ** 2))(params)
    np.testing.assert_array_equal(grads["constants"], [14.0, -2.0])


def test_an_mlp_is_its_products_and_starts_with_the_scale_of_its_output():
    network = networks.mlp_decoder(2, (4,), 3, activation=jnp.tanh)
    params, z_K = network.init(jax.random.key(0)), jnp.array([0.5, -2.0])
    hidden = np.tanh(z_K @ params["Dense_0"]["kernel"])
    np.testing.assert_allclose(network.apply(params, z_K), hidden @ params["output"]["kernel"], atol=1e-6)
    kernel = networks.output_kernel(0.25)(jax.random.key(0), (400, 500), jnp.float32)
    np.testing.assert_allclose(np.var(kernel), 0.25 / 400, rtol=0.02)


def test_an_mlp_has_no_residual_blocks():
    layers = networks.Layers((4,), residual=1)
    assert networks.mlp_problem((4, 4), layers)[0] == "residual"
    assert networks.mlp_problem((4, 4), layers._replace(residual=0)) is None


def test_a_network_of_log1p_sees_the_logarithm_of_one_more():
    network = networks.mlp_encoder(3, (4,), jnp.zeros(2), activation=jnp.tanh, output_scale=1.0)
    params, x_D = network.init(jax.random.key(0)), np.float32([0.0, 5.0, 4000.0])
    of_log = networks.of_log1p(network)
    np.testing.assert_allclose(of_log.apply(params, x_D), network.apply(params, np.log1p(x_D)), rtol=1e-6)
    assert not np.allclose(of_log.apply(params, x_D), network.apply(params, x_D))
