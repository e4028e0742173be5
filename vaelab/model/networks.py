"""Flax networks as pure (init, apply) pairs, arrays in and arrays out, one datapoint at a time."""

import itertools
import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaelab.types import Array, Network, Params, SharedPhi

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": nn.relu,
    "tanh": jnp.tanh,
    "elu": nn.elu,
    "softplus": nn.softplus,
    "swish": nn.swish,
}


class MLP(nn.Module):
    """Dense layers with an activation between them; the last layer is affine."""

    widths: Sequence[int]
    activation: Callable[[Array], Array]
    output_scale: float = 1.0  # variance scale of the last kernel, over the fan-in
    output_bias: Callable | None = None

    @nn.compact
    def __call__(self, x):
        *hidden, out = self.widths
        for width in hidden:
            x = self.activation(nn.Dense(width)(x))
        kernel_init = nn.initializers.variance_scaling(self.output_scale, "fan_in", "truncated_normal")
        bias_init = self.output_bias or nn.initializers.zeros
        return nn.Dense(out, kernel_init=kernel_init, bias_init=bias_init, name="output")(x)


class ConvolutionalEncoder(nn.Module):
    """x_D as an image, 4 x 4 convolutions of stride 2, one dense layer, an affine output."""

    image_shape: tuple[int, ...]
    channels: Sequence[int]
    hidden: int
    size: int
    activation: Callable[[Array], Array]
    output_scale: float
    output_bias: Callable

    @nn.compact
    def __call__(self, x):
        x = 2.0 * x.reshape(_with_channels(self.image_shape)) - 1.0
        for channels in self.channels:
            x = self.activation(nn.Dense(channels)(_neighbours(_join_squares(x), before=True)))
        x = self.activation(nn.Dense(self.hidden)(x.reshape(-1)))
        kernel_init = nn.initializers.variance_scaling(self.output_scale, "fan_in", "truncated_normal")
        return nn.Dense(self.size, kernel_init=kernel_init, bias_init=self.output_bias, name="output")(x)


# A convolution of stride 2 and width 4 is one matrix product over squares of pixels. On a CPU that is several
# times faster than XLA's own, which runs on one core inside a loop; the more so for gradients.


def _with_channels(image_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(height, width, channels) of a grey image too."""
    height, width, channels = (*image_shape, 1)[:3]
    return height, width, channels


def _halved(sides: tuple[int, int]) -> tuple[int, int]:
    """Half of both sides, rounded up."""
    return (sides[0] + 1) // 2, (sides[1] + 1) // 2


def _join_squares(x_HxWxC: Array) -> Array:
    """[(H + 1) // 2, (W + 1) // 2, 4 C]: each square of four pixels as one; an odd side ends in zeros."""
    height, width, _ = x_HxWxC.shape
    if height % 2 or width % 2:
        x_HxWxC = jnp.pad(x_HxWxC, ((0, height % 2), (0, width % 2), (0, 0)))
    height, width, channels = x_HxWxC.shape
    x = x_HxWxC.reshape(height // 2, 2, width // 2, 2, channels)
    return jnp.moveaxis(x, 2, 1).reshape(height // 2, width // 2, 4 * channels)


def _split_squares(x_HxWx4C: Array) -> Array:
    """[2 H, 2 W, C]: the inverse of `_join_squares`."""
    height, width, channels = x_HxWx4C.shape
    x = jnp.moveaxis(x_HxWx4C.reshape(height, width, 2, 2, channels // 4), 2, 1)
    return x.reshape(2 * height, 2 * width, channels // 4)


def _neighbours(x_HxWxC: Array, *, before: bool) -> Array:
    """[H, W, 4 C]: each pixel with its neighbours above and left, or below and right; 0 outside."""
    height, width, _ = x_HxWxC.shape
    pad = (1, 0) if before else (0, 1)
    x = jnp.pad(x_HxWxC, (pad, pad, (0, 0)))
    return jnp.concatenate([x[i : i + height, j : j + width] for i in (0, 1) for j in (0, 1)], axis=-1)


class ConvolutionalDecoder(nn.Module):
    """The encoder backwards: dense layers to the smallest image, transposed convolutions of stride 2.

    Each ends with the sides that the encoder had there: what is beyond an odd one is cut off.
    """

    image_shape: tuple[int, ...]
    channels: Sequence[int]
    hidden: int
    outputs_per_dim: int
    activation: Callable[[Array], Array]

    @nn.compact
    def __call__(self, z):
        *sides, image_channels = _with_channels(self.image_shape)
        sizes = list(itertools.accumulate(self.channels, lambda size, _: _halved(size), initial=tuple(sides)))
        height, width = sizes.pop()
        x = self.activation(nn.Dense(self.hidden)(z))
        x = self.activation(nn.Dense(height * width * self.channels[-1])(x)).reshape(height, width, -1)
        for channels in (*self.channels[-2::-1], None):
            out = self.outputs_per_dim * image_channels if channels is None else channels
            height, width = sizes.pop()
            x = _split_squares(nn.Dense(4 * out)(_neighbours(x, before=False)))[:height, :width]
            x = x if channels is None else self.activation(x)
        # [parameter, row, column, channel]: a likelihood splits the parameters, and x_D is row by row.
        x = x.reshape(height, width, self.outputs_per_dim, image_channels)
        return jnp.moveaxis(x, 2, 0).reshape(-1)


def _as_network(module: nn.Module, input_size: int) -> Network:
    # One program, and not one for each shape of each operation of each layer.
    return Network(
        init=jax.jit(lambda key: module.init(key, jnp.zeros(input_size))["params"]),
        apply=lambda params, x: module.apply({"params": params}, x),
    )


def mlp_encoder(
    data_dim: int, hidden: Sequence[int], phi_init_P: Array, *, activation: Callable, output_scale: float
) -> Network:
    """x_D -> phi_P. The output bias is the family's `init()`, so a fresh encoder gives q near the prior.

    `output_scale` is the variance scale of the last kernel. It has to be small for a dense S: K^2
    independent outputs of unit variance are a random matrix of norm 2 sqrt(K), far from the identity.
    """
    module = MLP(
        widths=(*hidden, phi_init_P.size),
        activation=activation,
        output_scale=output_scale,
        output_bias=_constant(phi_init_P),
    )
    return _as_network(module, data_dim)


def _constant(value: Array) -> Callable:
    return lambda key, shape, dtype=jnp.float32: value.astype(dtype)


def convolutional_encoder(
    image_shape: tuple[int, ...],
    channels: Sequence[int],
    hidden: int,
    phi_init_P: Array,
    *,
    activation: Callable,
    output_scale: float,
) -> Network:
    """x_D -> phi_P; the output layer starts as that of `mlp_encoder`.

    x_D is an image [height, width] or [height, width, channels], flat row by row. An odd side is padded by a
    row or column of zeros, the middle of 0..1, before it is halved. Raises ValueError for other shapes.
    """
    _check_image(image_shape)
    module = ConvolutionalEncoder(
        image_shape,
        tuple(channels),
        hidden,
        phi_init_P.size,
        activation,
        output_scale,
        _constant(phi_init_P),
    )
    return _as_network(module, math.prod(image_shape))


def convolutional_problem(
    image_shape: tuple[int, ...], hidden: Sequence[int], channels: Sequence[int]
) -> tuple[str, str] | None:
    """(the setting that a convolutional network cannot have, why); None where there can be one."""
    if len(image_shape) not in (2, 3):
        sides = "x".join(map(str, image_shape))
        return "network", f"x of {sides} is no image (height, width) or (height, width, channels): take mlp"
    if not channels:
        return "channels", "a convolutional network has one stage at least: give their channels, as (32, 64)"
    if len(hidden) != 1:
        return "hidden", "a convolutional network has one dense layer: give one width"
    return None


def _check_image(image_shape: tuple[int, ...]) -> None:
    if len(image_shape) not in (2, 3):
        raise ValueError(f"need (height, width) or (height, width, channels), not {image_shape}")


def convolutional_decoder(
    latent_dim: int,
    image_shape: tuple[int, ...],
    channels: Sequence[int],
    hidden: int,
    outputs_per_dim: int,
    *,
    activation: Callable,
) -> Network:
    """z_K -> out_Q, [parameter, row, column, channel] flat. Raises ValueError as `convolutional_encoder`."""
    _check_image(image_shape)
    module = ConvolutionalDecoder(image_shape, tuple(channels), hidden, outputs_per_dim, activation)
    return _as_network(module, latent_dim)


def in_bfloat16(network: Network) -> Network:
    """The network computed in bfloat16, from the same float32 parameters, with outputs in float32."""

    def apply(params: Params, x: Array) -> Array:
        half, x = jax.tree.map(lambda a: a.astype(jnp.bfloat16), (params, x))
        return network.apply(half, x).astype(jnp.float32)

    return network._replace(apply=apply)


def with_constants(network: Network, values_R: Array) -> Network:
    """The network's output followed by R learned numbers that no input moves, starting at these values."""
    return Network(
        init=lambda key: {"network": network.init(key), "constants": values_R},
        apply=lambda params, x: jnp.concatenate([network.apply(params["network"], x), params["constants"]]),
    )


def with_shared(network: Network, values_R: Array) -> Network:
    """An encoder's output beside R learned numbers that all datapoints share, starting at these values."""
    return Network(
        init=lambda key: {"network": network.init(key), "shared": values_R},
        apply=lambda params, x: SharedPhi(network.apply(params["network"], x), params["shared"]),
    )


def mlp_decoder(latent_dim: int, hidden: Sequence[int], output_size: int, *, activation: Callable) -> Network:
    """z_K -> out_Q, the parameters of the likelihood."""
    return _as_network(MLP(widths=(*hidden, output_size), activation=activation), latent_dim)
