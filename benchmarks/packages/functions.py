"""The encoder and the decoder of the model as functions of one library's arrays."""

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.packages.model import Model


class Functions(NamedTuple):
    """x_NxD; encode(x) -> (mu, log sigma^2); logits(z); log_joint(x, z), nats, over the last axis."""

    x_NxD: Any
    encode: Callable[[Any], tuple[Any, Any]]
    logits: Callable[[Any], Any]
    log_joint: Callable[[Any, Any], Any]


def in_torch(model: Model) -> Functions:
    import torch

    f = Model(*(torch.tensor(part, dtype=torch.float32) for part in model))

    def log_joint(x: Any, z: Any) -> Any:
        logits = _logits(f, z, torch.tanh)
        likelihood = (x * logits - torch.nn.functional.softplus(logits)).sum(-1)
        return likelihood + torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)

    return Functions(f.x_NxD, f.encode, lambda z: _logits(f, z, torch.tanh), log_joint)


def in_jax(model: Model) -> Functions:
    import jax
    import jax.numpy as jnp

    f = Model(*(jnp.float32(part) for part in model))

    def log_joint(x: Any, z: Any) -> Any:
        logits = _logits(f, z, jnp.tanh)
        likelihood = jnp.sum(x * logits - jax.nn.softplus(logits), -1)
        return likelihood + jnp.sum(jax.scipy.stats.norm.logpdf(z), -1)

    return Functions(f.x_NxD, f.encode, lambda z: _logits(f, z, jnp.tanh), log_joint)


def _logits(f: Model, z: Any, tanh: Callable[[Any], Any]) -> Any:
    return tanh(z @ f.w1_HxK.T + f.b1_H) @ f.w2_DxH.T + f.b2_D
