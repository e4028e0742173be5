"""Networks: what their outputs are at the start, and of which inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab.model import networks

PHI_P = jnp.arange(5.0)


def encoder(**changes):
    settings = {"activation": jnp.tanh, "output_scale": 0.0} | changes
    return networks.convolutional_encoder((28, 28), (4, 8), 16, PHI_P, **settings)


@pytest.mark.long
@pytest.mark.parametrize("side", [28, 32])
def test_convolutional_decoder_has_an_output_for_each_pixel_and_parameter(side):
    decoder = networks.convolutional_decoder(3, (side, side), (4, 8), 16, 2, activation=jnp.tanh)
    theta = decoder.init(jax.random.key(0))
    z_K = jnp.array([0.3, -1.0, 2.0])
    out_Q = decoder.apply(theta, z_K)
    assert out_Q.shape == (2 * side * side,)
    # Every pixel hangs on z, and each parameter's image is whole: the two halves differ.
    slope_QxK = jax.jacobian(lambda z: decoder.apply(theta, z))(z_K)
    assert np.all(np.abs(slope_QxK).max(axis=1) > 0)
    assert np.abs(out_Q[: side * side] - out_Q[side * side :]).max() > 1e-3


@pytest.mark.long
def test_convolutional_encoder_starts_at_phi_and_sees_every_pixel():
    fresh, open_ = encoder(), encoder(output_scale=1.0)
    x_D = jax.random.uniform(jax.random.key(1), (784,))
    np.testing.assert_array_equal(fresh.apply(fresh.init(jax.random.key(0)), x_D), PHI_P)
    psi = open_.init(jax.random.key(0))
    slope_PxD = jax.jacobian(lambda x: open_.apply(psi, x))(x_D)
    assert np.all(np.abs(slope_PxD).max(axis=0) > 0)


def test_squares_and_neighbours_are_a_convolution_of_stride_2():
    x_HxWxC = jax.random.normal(jax.random.key(0), (6, 8, 3))
    squares = networks._join_squares(x_HxWxC)
    np.testing.assert_array_equal(networks._split_squares(squares), x_HxWxC)
    kernel = jax.random.normal(jax.random.key(1), (4, 4, 3, 5))  # [row, column, in, out]
    # Row 2 i + a of the kernel is row a of neighbour i.
    blocks = jnp.moveaxis(kernel.reshape(2, 2, 2, 2, 3, 5), 2, 1)
    for before in (True, False):
        pad = (2, 0) if before else (0, 2)
        expected = jax.lax.conv_general_dilated(
            x_HxWxC[None], kernel, (2, 2), (pad, pad), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )[0]
        product = networks._neighbours(squares, before=before) @ blocks.reshape(48, 5)
        np.testing.assert_allclose(product, expected, atol=1e-4)


def test_a_batch_is_its_datapoints():
    network = encoder(output_scale=1.0)
    psi, x_NxD = network.init(jax.random.key(0)), jax.random.uniform(jax.random.key(1), (3, 784))
    whole_NxP = jax.vmap(network.apply, (None, 0))(psi, x_NxD)
    for x_D, phi_P in zip(x_NxD, whole_NxP, strict=True):
        np.testing.assert_allclose(network.apply(psi, x_D), phi_P, rtol=1e-4, atol=1e-5)


def test_sides_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="multiples of 8"):
        networks.convolutional_decoder(3, (28, 28), (4, 8, 16), 16, 1, activation=jnp.tanh)


def test_constants_are_appended_learned_and_moved_by_no_input():
    network = networks.with_constants(
        networks.mlp_decoder(2, (4,), 3, activation=jnp.tanh), jnp.array([7.0, -1.0])
    )
    params = network.init(jax.random.key(0))
    for z_K in (jnp.zeros(2), jnp.ones(2)):
        np.testing.assert_array_equal(network.apply(params, z_K)[3:], [7.0, -1.0])
    grads = jax.grad(lambda p: jnp.sum(network.apply(p, jnp.ones(2)) ** 2))(params)
    np.testing.assert_array_equal(grads["constants"], [14.0, -2.0])
