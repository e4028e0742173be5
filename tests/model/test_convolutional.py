"""Convolutional networks: what their outputs are at the start, of which inputs, and by which sums."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab.model import convolutional
from vaelab.model.networks import Layers, in_bfloat16

PHI_P = jnp.arange(5.0)


def encoder(**changes):
    settings = {"activation": jnp.tanh, "output_scale": 0.0} | changes
    return convolutional.convolutional_encoder((28, 28), Layers((16,), (4, 8)), PHI_P, **settings)


@pytest.mark.long
@pytest.mark.parametrize("side", [28, 32])
def test_convolutional_decoder_has_an_output_for_each_pixel_and_parameter(side):
    decoder = convolutional.convolutional_decoder(
        3, (side, side), Layers((16,), (4, 8)), 2, activation=jnp.tanh
    )
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
    squares = convolutional._join_squares(x_HxWxC)
    np.testing.assert_array_equal(convolutional._split_squares(squares), x_HxWxC)
    kernel = jax.random.normal(jax.random.key(1), (4, 4, 3, 5))  # [row, column, in, out]
    # Row 2 i + a of the kernel is row a of neighbour i.
    blocks = jnp.moveaxis(kernel.reshape(2, 2, 2, 2, 3, 5), 2, 1)
    for pad in ((2, 0), (0, 2), (2, 2)):
        expected = jax.lax.conv_general_dilated(
            x_HxWxC[None], kernel, (2, 2), (pad, pad), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )[0]
        product = convolutional._neighbours(squares, (pad[0] // 2, pad[1] // 2)) @ blocks.reshape(48, 5)
        np.testing.assert_allclose(product, expected, atol=1e-4)


def test_a_batch_is_its_datapoints():
    network = encoder(output_scale=1.0)
    psi, x_NxD = network.init(jax.random.key(0)), jax.random.uniform(jax.random.key(1), (3, 784))
    whole_NxP = jax.vmap(network.apply, (None, 0))(psi, x_NxD)
    for x_D, phi_P in zip(x_NxD, whole_NxP, strict=True):
        np.testing.assert_allclose(network.apply(psi, x_D), phi_P, rtol=1e-4, atol=1e-5)


FROZEN_PHI = [0.001905492, 0.9701719, 2.002235, 3.063373, 3.988045]
# Every fifth of out_Q.
FROZEN_OUT = np.fromstring(
    "-0.1783059 -0.3873813 0.1370564 -0.09549518 -0.1678394 -0.3066146 0.03859229 "
    "-0.1456112 -0.8241216 0.09335808 -0.04019807 0.2570065 0.2589506",
    sep=" ",
)


def test_the_numbers_of_grey_images_whose_sides_divide_are_those_of_the_first_version():
    """Of that with one channel and sides in multiples of 2^n alone: runs of it are loaded and go on."""
    settings = {"activation": jax.nn.relu}
    encode = convolutional.convolutional_encoder(
        (8, 4), Layers((16,), (2, 3)), PHI_P, output_scale=1.0, **settings
    )
    x_D = jax.random.uniform(jax.random.key(1), (32,))
    np.testing.assert_allclose(
        jax.jit(encode.apply)(encode.init(jax.random.key(0)), x_D), FROZEN_PHI, atol=1e-5
    )
    decode = convolutional.convolutional_decoder(3, (8, 4), Layers((16,), (2, 3)), 2, **settings)
    out_Q = jax.jit(decode.apply)(decode.init(jax.random.key(0)), jnp.array([0.3, -1.0, 2.0]))
    np.testing.assert_allclose(out_Q[::5], FROZEN_OUT, atol=1e-5)


def dense(params, name, x):
    return x @ np.float64(params[name]["kernel"]) + np.float64(params[name]["bias"])


def shaken(network):
    """Parameters of which none is 0."""
    leaves, tree = jax.tree.flatten(network.init(jax.random.key(0)))
    rng = np.random.default_rng(0)
    return tree.unflatten([leaf + np.float32(0.3 * rng.normal(size=leaf.shape)) for leaf in leaves])


# Two odd sides, then one that becomes odd; stages down to a single pixel and beyond; a grey image.
SHAPES = [((5, 6, 3), (2, 3)), ((3, 2, 2), (2, 2, 3)), ((5, 3), (3,))]


@pytest.mark.parametrize(("shape", "channels"), SHAPES)
def test_an_encoder_of_any_image_is_its_sum_over_pixels(shape, channels):
    network = convolutional.convolutional_encoder(
        shape, Layers((4,), channels), PHI_P, activation=jnp.tanh, output_scale=1.0
    )
    psi = shaken(network)
    x_D = np.random.default_rng(1).uniform(size=np.prod(shape))
    image = 2.0 * x_D.reshape(*shape[:2], -1) - 1.0
    for stage in range(len(channels)):
        height, width, depth = image.shape
        rows, columns = -(-height // 2), -(-width // 2)
        padded = np.zeros((2 * rows + 2, 2 * columns + 2, depth))
        padded[2 : 2 + height, 2 : 2 + width] = image
        # A kernel's rows come as [neighbour down, across, pixel down, across, channel].
        blocks = np.empty((rows, columns, 16 * depth))
        for i, j in np.ndindex(rows, columns):
            window = padded[2 * i : 2 * i + 4, 2 * j : 2 * j + 4].reshape(2, 2, 2, 2, depth)
            blocks[i, j] = np.moveaxis(window, 2, 1).reshape(-1)
        image = np.tanh(dense(psi, f"Dense_{stage}", blocks))
    phi_P = dense(psi, "output", np.tanh(dense(psi, f"Dense_{len(channels)}", image.reshape(-1))))
    np.testing.assert_allclose(jax.jit(network.apply)(psi, np.float32(x_D)), phi_P, atol=1e-5)


@pytest.mark.parametrize(("shape", "channels"), SHAPES)
def test_a_decoder_of_any_image_is_its_sum_over_pixels(shape, channels):
    """out_Q is [parameter, row, column, channel] in this order."""
    num_parameters = 2
    network = convolutional.convolutional_decoder(
        3, shape, Layers((4,), channels), num_parameters, activation=jnp.tanh
    )
    theta = shaken(network)
    sizes, depth = [np.array(shape[:2])], shape[2] if len(shape) == 3 else 1
    for _ in channels:
        sizes.append(-(-sizes[-1] // 2))
    z_K = np.array([0.3, -1.0, 2.0])
    hidden = np.tanh(dense(theta, "Dense_1", np.tanh(dense(theta, "Dense_0", z_K))))
    image = hidden.reshape(*sizes.pop(), channels[-1])
    for stage in range(len(channels)):
        rows, columns, width = image.shape
        padded = np.zeros((rows + 1, columns + 1, width))
        padded[:rows, :columns] = image
        last = stage == len(channels) - 1
        made = np.empty((2 * rows, 2 * columns, num_parameters * depth if last else channels[-2 - stage]))
        for i, j in np.ndindex(rows, columns):
            square = dense(theta, f"Dense_{2 + stage}", padded[i : i + 2, j : j + 2].reshape(-1))
            made[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = square.reshape(2, 2, -1)
        height, width = sizes.pop()
        image = made[:height, :width]
        image = image if last else np.tanh(image)
    image = image.reshape(*shape[:2], num_parameters, depth)
    expected = np.stack([image[:, :, parameter] for parameter in range(num_parameters)])
    assert expected.size == num_parameters * np.prod(shape)
    np.testing.assert_allclose(
        jax.jit(network.apply)(theta, np.float32(z_K)), expected.reshape(-1), atol=1e-5
    )


@pytest.mark.parametrize("shape", [(64,), (2, 4, 4, 3), ()])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match=r"need \(height, width\)"):
        convolutional.convolutional_decoder(3, shape, Layers((16,), (4, 8, 16)), 1, activation=jnp.tanh)
    with pytest.raises(ValueError, match=r"need \(height, width\)"):
        convolutional.convolutional_encoder(
            shape, Layers((16,), (4,)), PHI_P, activation=jnp.tanh, output_scale=1.0
        )


def as_conv(params, product):
    """The parameters of the same convolutions for flax.linen.Conv; product: those of products."""
    made = dict(product)
    for name, layer in params.items():
        if "kernel" not in layer or layer["kernel"].ndim != 4:
            continue
        rows, columns, inputs, outputs = layer["kernel"].shape
        kernel = np.zeros_like(layer["kernel"])
        if name.startswith("ConvTranspose"):
            other = made.pop(f"Dense_{of_stage(name, product, last=True)}")
            blocks = other["kernel"].reshape(2, 2, inputs, 2, 2, outputs)
            for i, j, a, b in np.ndindex(2, 2, 2, 2):
                kernel[2 * i + 1 - a, 2 * j + 1 - b] = blocks[i, j, :, a, b]
            bias = other["bias"].reshape(4, outputs)[0]
        elif name.startswith("Conv"):
            other = made.pop(f"Dense_{of_stage(name, product, last=False)}")
            blocks = other["kernel"].reshape(2, 2, 2, 2, inputs, outputs)
            kernel, bias = np.moveaxis(blocks, 2, 1).reshape(rows, columns, inputs, outputs), other["bias"]
        else:
            other = made.pop(name)
            kernel, bias = other["kernel"].reshape(rows, columns, inputs, outputs), other["bias"]
        made[name] = {"kernel": kernel, "bias": bias}
    dense = sorted((name for name in made if name.startswith("Dense")), key=lambda name: int(name[6:]))
    renamed = {name: f"Dense_{number}" for number, name in enumerate(dense)}
    return {renamed.get(name, name): layer for name, layer in made.items()}


def of_stage(name, product, *, last):
    """The number of the product that stands for a convolution: the first ones, or the last."""
    dense = sum(name.startswith("Dense") for name in product)
    number = int(name.rpartition("_")[2])
    return dense - NUM_STAGES + number if last else number


NUM_STAGES = 2


@pytest.mark.parametrize("shape", [(5, 6, 3), (4, 8)])
@pytest.mark.parametrize("side", ["encoder", "decoder"])
@pytest.mark.parametrize("alignment", convolutional.ALIGNMENTS)
def test_flax_convolutions_are_the_same_sums(shape, side, alignment):
    """Of parameters in another order; residual blocks among them, and odd sides."""
    products = Layers((4,), (2, 3), residual=1, alignment=alignment)

    def network(layers):
        if side == "encoder":
            settings = {"activation": jnp.tanh, "output_scale": 1.0}
            return convolutional.convolutional_encoder(shape, layers, PHI_P, **settings)
        return convolutional.convolutional_decoder(3, shape, layers, 2, activation=jnp.tanh)

    first, second = network(products), network(products._replace(convolution="conv"))
    # Biases of a doubling are one for each of four pixels in a product, and one for all in a convolution.
    params = jax.tree.map(np.asarray, shaken(first))
    for name, layer in params.items():
        if side == "decoder" and name in ("Dense_2", "Dense_3"):
            outputs = layer["bias"].size // 4
            layer["bias"] = np.tile(layer["bias"][:outputs], 4)
    other = as_conv(jax.tree.map(np.array, second.init(jax.random.key(0))), params)
    inputs = np.random.default_rng(2).uniform(size=np.prod(shape) if side == "encoder" else 3)
    results = [
        jax.jit(net.apply)(weights, np.float32(inputs)) for net, weights in ((first, params), (second, other))
    ]
    np.testing.assert_allclose(*results, atol=1e-5)
    assert np.abs(results[0]).max() > 0.1


@pytest.mark.parametrize("convolution", convolutional.CONVOLUTIONS)
@pytest.mark.parametrize("step", ["halve", "double"])
def test_centred_a_layer_reaches_as_far_on_all_sides(convolution, step):
    """Which pixels it takes is the same from the other end; at a corner it is not."""
    halve, _, double = convolutional.CONVOLUTIONS[convolution]
    layer = {"halve": halve, "double": double}[step]

    def reach(alignment):
        class Layer(nn.Module):
            @nn.compact
            def __call__(self, x):
                return layer(x, 1, centred=convolutional.ALIGNMENTS[alignment])

        x = jax.random.normal(jax.random.key(0), (6, 4, 1))
        slope = jax.jacobian(partial(Layer().apply, Layer().init(jax.random.key(1), x)))(x)
        return np.asarray(slope[:, :, 0, :, :, 0] != 0)

    taken = reach("centre")
    np.testing.assert_array_equal(taken, taken[::-1, ::-1, ::-1, ::-1])
    corner = reach("corner")
    assert np.any(corner != corner[::-1, ::-1, ::-1, ::-1])


@pytest.mark.parametrize("convolution", convolutional.CONVOLUTIONS)
def test_fresh_residual_blocks_change_nothing_and_learned_ones_add_their_convolutions(convolution):
    layers = Layers((4,), (2, 3), 0, convolution)
    settings = {"activation": jnp.tanh, "output_scale": 1.0}
    plain = convolutional.convolutional_encoder((5, 6, 3), layers, PHI_P, **settings)
    deep = convolutional.convolutional_encoder((5, 6, 3), layers._replace(residual=2), PHI_P, **settings)
    key, x_D = jax.random.key(0), np.random.default_rng(0).uniform(size=90).astype(np.float32)
    psi = deep.init(key)
    named = {f"residual_{s}_{b}_{part}" for s in (0, 1) for b in (0, 1) for part in ("first", "second")}
    assert {name for name in psi if name.startswith("residual")} == named
    without = {name: layer for name, layer in psi.items() if name not in named}
    jax.tree.map(np.testing.assert_array_equal, without, dict(plain.init(key)))
    np.testing.assert_array_equal(deep.apply(psi, x_D), plain.apply(without, x_D))
    moved = jax.grad(lambda psi: jnp.sum(deep.apply(psi, x_D) ** 2))(psi)
    assert all(np.abs(moved[f"residual_{s}_{b}_second"]["kernel"]).max() > 0 for s in (0, 1) for b in (0, 1))


def test_a_residual_block_is_its_sum_over_pixels():
    """x + W2 tanh(W1 x) with windows of 3 x 3 and zeros outside."""
    layers = Layers((), (2,), residual=1)
    network = convolutional.convolutional_encoder(
        (4, 6), layers, PHI_P, activation=jnp.tanh, output_scale=1.0
    )
    psi = shaken(network)
    assert set(psi) == {"Dense_0", "residual_0_0_first", "residual_0_0_second", "output"}
    x_D = np.random.default_rng(1).uniform(size=24).astype(np.float32)
    none = network.init(jax.random.key(0))
    # The image after the stage itself, from the network without a block and an output that hands it on.
    stage = convolutional._neighbours(convolutional._join_squares(2.0 * x_D.reshape(4, 6, 1) - 1.0), (1, 0))
    image = np.tanh(dense(psi, "Dense_0", np.float64(stage)))

    def same(name, x):
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        windows = [padded[i : i + 2, j : j + 3] for i in range(3) for j in range(3)]
        return dense(psi, name, np.concatenate(windows, axis=-1))

    image = image + same("residual_0_0_second", np.tanh(same("residual_0_0_first", image)))
    np.testing.assert_allclose(network.apply(psi, x_D), dense(psi, "output", image.reshape(-1)), atol=1e-5)
    assert none["Dense_0"]["kernel"].shape == (16, 2)


@pytest.mark.parametrize("convolution", convolutional.CONVOLUTIONS)
def test_residual_networks_compute_in_bfloat16(convolution):
    layers = Layers((4,), (2, 3), 1, convolution)
    network = convolutional.convolutional_decoder(3, (6, 4, 3), layers, 1, activation=jnp.tanh)
    theta, z_K = shaken(network), jnp.array([0.3, -1.0, 2.0])
    whole_Q, half_Q = (jax.jit(one.apply)(theta, z_K) for one in (network, in_bfloat16(network)))
    assert half_Q.dtype == jnp.float32
    scale = np.abs(whole_Q).max()
    assert 1e-5 * scale < np.abs(whole_Q - half_Q).max() < 0.05 * scale  # 8 bits, a few layers


def test_without_a_dense_layer_z_goes_to_the_smallest_image_at_once():
    network = convolutional.convolutional_decoder(3, (4, 4), Layers((), (2,)), 1, activation=jnp.tanh)
    theta = network.init(jax.random.key(0))
    assert {name: layer["kernel"].shape for name, layer in theta.items()} == {
        "Dense_0": (3, 8),
        "Dense_1": (8, 4),
    }
    assert network.apply(theta, jnp.zeros(3)).shape == (16,)
