"""Flax networks as pure (init, apply) pairs, arrays in and arrays out, one datapoint at a time."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp

from vaelab.types import Array, Network

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


def _as_network(module: nn.Module, input_size: int) -> Network:
    return Network(
        init=lambda key: module.init(key, jnp.zeros(input_size))["params"],
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
        output_bias=lambda key, shape, dtype=jnp.float32: phi_init_P.astype(dtype),
    )
    return _as_network(module, data_dim)


def mlp_decoder(latent_dim: int, hidden: Sequence[int], output_size: int, *, activation: Callable) -> Network:
    """z_K -> out_Q, the parameters of the likelihood."""
    return _as_network(MLP(widths=(*hidden, output_size), activation=activation), latent_dim)
