"""Flax networks as pure (init, apply) pairs, arrays in and arrays out, one datapoint at a time."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

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


class Layers(NamedTuple):
    """The layers of a network.

    hidden: widths of dense layers
    channels: of a convolutional network, of each stage, which halves the sides
    residual: blocks of two convolutions in each stage
    convolution: how convolutions are computed, a name of `convolutional.CONVOLUTIONS`
    alignment: where a layer of stride 2 stands, a name of `convolutional.ALIGNMENTS`: with corner a decoder
        makes a square of pixels from its own cell and those below and right of it, and an encoder reads those
        above and left; with centre it has as much on each side
    """

    hidden: tuple[int, ...]
    channels: tuple[int, ...] = ()
    residual: int = 0
    convolution: str = "products"
    alignment: str = "corner"


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
        kernel_init, bias_init = output_kernel(self.output_scale), self.output_bias or nn.initializers.zeros
        return nn.Dense(out, kernel_init=kernel_init, bias_init=bias_init, name="output")(x)


def output_kernel(scale: float) -> Callable:
    """An initializer with this variance over the fan-in."""
    return nn.initializers.variance_scaling(scale, "fan_in", "truncated_normal")


def as_network(module: nn.Module, input_size: int) -> Network:
    """The module as a pair of functions, of inputs [input_size]."""
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
        output_bias=constant(phi_init_P),
    )
    return as_network(module, data_dim)


def constant(value: Array) -> Callable:
    """An initializer that gives this value."""
    return lambda key, shape, dtype=jnp.float32: value.astype(dtype)


def in_bfloat16(network: Network) -> Network:
    """The network computed in bfloat16, from the same float32 parameters, with outputs in float32."""

    def apply(params: Params, x: Array) -> Array:
        half, x = jax.tree.map(lambda a: a.astype(jnp.bfloat16), (params, x))
        return network.apply(half, x).astype(jnp.float32)

    return network._replace(apply=apply)


def of_log1p(network: Network) -> Network:
    """The network of log(1 + x), for x of 0 or more whose dimensions differ by orders of magnitude."""
    return network._replace(apply=lambda params, x: network.apply(params, jnp.log1p(x)))


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
    return as_network(MLP(widths=(*hidden, output_size), activation=activation), latent_dim)


def mlp_problem(image_shape: Sequence[int], layers: Layers) -> tuple[str, str] | None:
    """(the setting that an MLP cannot have, why); None where there can be one."""
    if layers.residual:
        return "residual", "an mlp has no residual blocks: take 0, or network=convolutional"
    return None
