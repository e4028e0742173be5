"""Convolutional networks for images of any size and number of channels, one datapoint at a time."""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from vaelab.model.networks import Layers, as_network, constant, output_kernel
from vaelab.types import Array, Network


class ConvolutionalEncoder(nn.Module):
    """x_D as an image, 4 x 4 convolutions of stride 2, one dense layer or none, an affine output."""

    image_shape: tuple[int, ...]
    layers: Layers
    size: int
    activation: Callable[[Array], Array]
    output_scale: float
    output_bias: Callable

    @nn.compact
    def __call__(self, x):
        halve, same, _ = _computed(self.layers)
        x = 2.0 * x.reshape(_with_channels(self.image_shape)) - 1.0
        for stage, channels in enumerate(self.layers.channels):
            x = self.activation(halve(x, channels))
            x = _blocks(x, same, self.activation, stage, self.layers.residual)
        x = x.reshape(-1)
        for width in self.layers.hidden:
            x = self.activation(nn.Dense(width)(x))
        init = {"kernel_init": output_kernel(self.output_scale), "bias_init": self.output_bias}
        return nn.Dense(self.size, **init, name="output")(x)


class ConvolutionalDecoder(nn.Module):
    """The encoder backwards: dense layers to the smallest image, transposed convolutions of stride 2.

    Each ends with the sides that the encoder had there: what is beyond an odd one is cut off.
    """

    image_shape: tuple[int, ...]
    layers: Layers
    outputs_per_dim: int
    activation: Callable[[Array], Array]

    @nn.compact
    def __call__(self, z):
        _, same, double = _computed(self.layers)
        *sides, image_channels = _with_channels(self.image_shape)
        stages = self.layers.channels
        sizes = list(itertools.accumulate(stages, lambda size, _: _halved(size), initial=tuple(sides)))
        height, width = sizes.pop()
        x = z
        for units in self.layers.hidden:
            x = self.activation(nn.Dense(units)(x))
        x = self.activation(nn.Dense(height * width * stages[-1])(x)).reshape(height, width, -1)
        for stage, channels in enumerate((*stages[-2::-1], None)):
            x = _blocks(x, same, self.activation, stage, self.layers.residual)
            out = self.outputs_per_dim * image_channels if channels is None else channels
            height, width = sizes.pop()
            x = double(x, out)[:height, :width]
            x = x if channels is None else self.activation(x)
        # [parameter, row, column, channel]: a likelihood splits the parameters, and x_D is row by row.
        x = x.reshape(height, width, self.outputs_per_dim, image_channels)
        return jnp.moveaxis(x, 2, 0).reshape(-1)


def _blocks(x_HxWxC: Array, same: Callable, activation: Callable, stage: int, count: int) -> Array:
    """x + W2 act(W1 x), `count` times, W1 and W2 convolutions of 3 x 3.

    W2 starts at 0, and so a fresh network with blocks is the one without them.
    """
    for block in range(count):
        name = f"residual_{stage}_{block}"
        inner = activation(same(x_HxWxC, name=f"{name}_first"))
        x_HxWxC = x_HxWxC + same(inner, name=f"{name}_second", kernel_init=nn.initializers.zeros)
    return x_HxWxC


def _with_channels(image_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(height, width, channels) of a grey image too."""
    height, width, channels = (*image_shape, 1)[:3]
    return height, width, channels


def _halved(sides: tuple[int, int]) -> tuple[int, int]:
    """Half of both sides, rounded up."""
    return (sides[0] + 1) // 2, (sides[1] + 1) // 2


# A convolution of stride 2 and width 4 is one matrix product over squares of pixels. On a CPU that is several
# times faster than XLA's own, which runs on one core inside a loop; the more so for gradients.


def _halve_by_product(x_HxWxC: Array, channels: int, *, centred: bool) -> Array:
    if centred:  # by one pixel from the squares, so that no square need be split
        pads = [(1, 1 + side % 2) for side in x_HxWxC.shape[:2]]
        return nn.Dense(channels)(_neighbours(_join_squares(jnp.pad(x_HxWxC, (*pads, (0, 0)))), (0, 0)))
    return nn.Dense(channels)(_neighbours(_join_squares(x_HxWxC), (1, 0)))


def _double_by_product(x_HxWxC: Array, channels: int, *, centred: bool) -> Array:
    squares = _split_squares(nn.Dense(4 * channels)(_neighbours(x_HxWxC, (1, 1) if centred else (0, 1))))
    return squares[1:-1, 1:-1] if centred else squares


def _same_by_product(x_HxWxC: Array, **named) -> Array:
    height, width, channels = x_HxWxC.shape
    x = jnp.pad(x_HxWxC, ((1, 1), (1, 1), (0, 0)))
    around = [x[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return nn.Dense(channels, **named)(jnp.concatenate(around, axis=-1))


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


def _neighbours(x_HxWxC: Array, pad: tuple[int, int]) -> Array:
    """[H + sum(pad) - 1, ..., 4 C]: all squares of four pixels, after rows and columns of 0 before and after.

    (1, 0) is each pixel with those above and left of it, (0, 1) with those below and right.
    """
    x = jnp.pad(x_HxWxC, (pad, pad, (0, 0)))
    height, width = x.shape[0] - 1, x.shape[1] - 1
    return jnp.concatenate([x[i : i + height, j : j + width] for i in (0, 1) for j in (0, 1)], axis=-1)


# The same by flax.linen.Conv: the same sums, of parameters in another order.


def _halve_by_conv(x_HxWxC: Array, channels: int, *, centred: bool) -> Array:
    before, after = (1, 1) if centred else (2, 0)
    pads = tuple((before, after + side % 2) for side in x_HxWxC.shape[:2])
    return nn.Conv(channels, (4, 4), (2, 2), padding=pads)(x_HxWxC)


def _double_by_conv(x_HxWxC: Array, channels: int, *, centred: bool) -> Array:
    pad = (2, 2) if centred else (1, 3)
    return nn.ConvTranspose(channels, (4, 4), (2, 2), padding=(pad, pad))(x_HxWxC)


def _same_by_conv(x_HxWxC: Array, **named) -> Array:
    return nn.Conv(x_HxWxC.shape[2], (3, 3), padding=((1, 1), (1, 1)), **named)(x_HxWxC)


CONVOLUTIONS: dict[str, tuple[Callable, Callable, Callable]] = {
    "products": (_halve_by_product, _same_by_product, _double_by_product),
    "conv": (_halve_by_conv, _same_by_conv, _double_by_conv),
}
"""name -> (halve(x, channels, centred=), same(x, **settings), double(x, channels, centred=)) of one image."""

ALIGNMENTS = {"corner": False, "centre": True}
"""name -> whether a layer of stride 2 reaches as far on all sides."""


def _computed(layers: Layers) -> tuple[Callable, Callable, Callable]:
    """(halve, same, double) as the layers ask for them."""
    halve, same, double = CONVOLUTIONS[layers.convolution]
    centred = ALIGNMENTS[layers.alignment]
    return partial(halve, centred=centred), same, partial(double, centred=centred)


def convolutional_encoder(
    image_shape: tuple[int, ...],
    layers: Layers,
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
        image_shape, layers, phi_init_P.size, activation, output_scale, constant(phi_init_P)
    )
    return as_network(module, math.prod(image_shape))


def convolutional_decoder(
    latent_dim: int,
    image_shape: tuple[int, ...],
    layers: Layers,
    outputs_per_dim: int,
    *,
    activation: Callable,
) -> Network:
    """z_K -> out_Q, [parameter, row, column, channel] flat. Raises ValueError as `convolutional_encoder`."""
    _check_image(image_shape)
    return as_network(ConvolutionalDecoder(image_shape, layers, outputs_per_dim, activation), latent_dim)


def convolutional_problem(image_shape: Sequence[int], layers: Layers) -> tuple[str, str] | None:
    """(the setting that a convolutional network cannot have, why); None where there can be one."""
    if len(image_shape) not in (2, 3):
        sides = "x".join(map(str, image_shape))
        return "network", f"x of {sides} is no image (height, width) or (height, width, channels): take mlp"
    if not layers.channels:
        return "channels", "a convolutional network has one stage at least: give their channels, as (32, 64)"
    if len(layers.hidden) > 1:
        return "hidden", "a convolutional network has one dense layer at most: give one width, or ()"
    return None


def _check_image(image_shape: tuple[int, ...]) -> None:
    if len(image_shape) not in (2, 3):
        raise ValueError(f"need (height, width) or (height, width, channels), not {image_shape}")
