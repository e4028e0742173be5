"""What does each posterior family cost, as the latent dimension grows?

For each family and K: the size P of phi, the time of one draw with its density (value and gradient of log w
in phi) and of the closed-form KL for a batch of datapoints, and what the family makes of a training step and
its memory, with an MLP encoder and decoder between.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from vaelab import data, model, objective, report
from vaelab.data.observe import observe
from vaelab.model import likelihood, networks
from vaelab.posterior import FAMILIES
from vaelab.runtime.timing import quickest
from vaelab.study.finding import Finding
from vaelab.training import regime
from vaelab.training import step as train
from vaelab.types import Array, Key, PosteriorFamily, SharedPhi

MAX_VALUE = 255


class Sizes(NamedTuple):
    """The sizes of what is timed.

    batch_size, data_dim, hidden: those of the training step
    rank: that of low_rank, and the number of reflections
    num_layers, flow_hidden: those of the flows
    """

    batch_size: int
    data_dim: int
    hidden: int
    rank: int
    num_layers: int
    flow_hidden: int


def _family(name: str, latent_dim: int, sizes: Sizes) -> PosteriorFamily:
    entry = FAMILIES[name]
    of_setting = {
        "rank": min(sizes.rank, latent_dim),
        "num_reflections": min(sizes.rank, latent_dim),
        "flow.num_layers": sizes.num_layers,
        "flow.hidden": sizes.flow_hidden,
    }
    return entry.make(latent_dim, **{size.split(".")[-1]: of_setting[size] for size in entry.sizes})


def family_cost(
    key: Key, *, families: tuple[str, ...], latent_dims: tuple[int, ...], repeats: int, sizes: Sizes
) -> Finding:
    """The least of the repeats of each time, in milliseconds for a batch; memory in megabytes."""
    measured = {}
    for K in latent_dims:
        for name in families:
            family = _family(name, K, sizes)
            measured[K, name] = {
                "P": family.param_size - family.shared_size,
                **_density(key, sizes.batch_size, repeats, family),
                **_training_step(key, sizes, repeats, family),
            }
    batch = f"{sizes.batch_size} datapoints"
    titles = {
        "P": "numbers of phi for each datapoint",
        "draw_ms": f"milliseconds for a draw and its density, value and gradient, {batch}",
        "kl_ms": f"milliseconds for the closed-form KL, value and gradient, {batch}",
        "step_ms": f"milliseconds a training step, {batch}",
        "state_mb": "megabytes of a training state: parameters and two moments",
        "temporary_mb": "megabytes of a training step beside the state",
    }
    tables = {
        title: [
            {"family": name, **{f"K={K}": measured[K, name][quantity] for K in latent_dims}}
            for name in families
        ]
        for quantity, title in titles.items()
    }
    return Finding(tables=tables, plot=lambda path: _plot(path, measured, latent_dims))


def _density(key: Key, batch_size: int, repeats: int, family: PosteriorFamily) -> dict[str, float]:
    key_phi, key_eps = jax.random.split(key)
    phi_P = family.init()
    local_NxP = 0.1 * jax.random.normal(key_phi, (batch_size, family.param_size - family.shared_size))
    phi_NxP = local_NxP + phi_P[None, : local_NxP.shape[1]]
    shared_R = phi_P[local_NxP.shape[1] :]
    eps_NxK = jax.random.normal(key_eps, (batch_size, family.latent_dim))

    def phi_of(local_P: Array, shared_R: Array) -> Array | SharedPhi:
        return SharedPhi(local_P, shared_R) if family.shared_size else local_P

    def log_weights(phi_NxP: Array, shared_R: Array) -> Array:
        def one(local_P: Array, eps_K: Array) -> Array:
            phi = phi_of(local_P, shared_R)
            return objective.log_weight(model.standard_normal_log_prob, family, phi, phi)(eps_K)

        return jnp.sum(jax.vmap(one)(phi_NxP, eps_NxK))

    draw = jax.jit(jax.value_and_grad(log_weights, argnums=(0, 1)))
    drawn = quickest(draw, phi_NxP, shared_R, repeats=repeats)
    values = {"draw_ms": drawn.milliseconds, "kl_ms": None}
    if family.kl_to_prior is not None:
        kl = jax.jit(jax.vmap(jax.value_and_grad(family.kl_to_prior)))
        values["kl_ms"] = quickest(kl, phi_NxP, repeats=repeats).milliseconds
    return values


def _training_step(key: Key, sizes: Sizes, repeats: int, family: PosteriorFamily) -> dict[str, float]:
    """One step of Adam on the ELBO, two layers of `sizes.hidden` units each way, on made images."""
    layers = (sizes.hidden, sizes.hidden)
    init_P, size = family.init(), family.param_size - family.shared_size
    encoder = networks.mlp_encoder(
        sizes.data_dim, layers, init_P[:size], activation=nn.elu, output_scale=0.01
    )
    bound = objective.elbo if family.kl_to_prior else objective.elbo_from_draws
    encoder = networks.with_shared(encoder, init_P[size:]) if family.shared_size else encoder
    system = train.System(
        model=model.decoder_model(
            family.latent_dim,
            networks.mlp_decoder(family.latent_dim, layers, sizes.data_dim, activation=nn.elu),
            likelihood.bernoulli(),
        ),
        family=family,
        regime=regime.amortized(encoder, family),
        objective=partial(bound, num_samples=1),
        optimizer=optax.adam(1e-3),
        observe=partial(data.binarize, max_value=MAX_VALUE),
    )
    key_init, key_observe, key_step = jax.random.split(key, 3)
    state = train.init_state(system, key_init)
    pixels_BxD = np.random.RandomState(0).randint(0, MAX_VALUE + 1, (sizes.batch_size, sizes.data_dim))
    index_B = jnp.arange(sizes.batch_size)
    x_BxD = observe(key_observe, pixels_BxD.astype(np.uint8), index_B, observation=system.observe)
    batch = regime.Batch(x_BxD, index_B, index_B)
    step = jax.jit(partial(train.train_step, system=system)).lower(state, batch, key_step).compile()
    return {
        "step_ms": quickest(step, state, batch, key_step, repeats=repeats).milliseconds,
        "state_mb": sum(leaf.nbytes for leaf in jax.tree.leaves(state)) / 1e6,
        "temporary_mb": step.memory_analysis().temp_size_in_bytes / 1e6,
    }


def _plot(
    path: Path, measured: dict[tuple[int, str], dict[str, float]], latent_dims: tuple[int, ...]
) -> None:
    figure, axes = report.figure(2, 11.0, 4.2)
    names = dict.fromkeys(name for _, name in measured)
    colours = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee8866", "#aa3377", "#777777")
    quantities = {
        "draw_ms": "milliseconds for a draw and its density",
        "step_ms": "milliseconds a training step",
    }
    for axis, (quantity, label) in zip(axes, quantities.items(), strict=True):
        for name, colour in zip(names, colours, strict=False):
            values = [measured[K, name][quantity] for K in latent_dims]
            axis.loglog(latent_dims, values, "o-", color=colour, label=name)
        axis.set_xticks(latent_dims, [str(K) for K in latent_dims])
        axis.set_xlabel("latent dimension K")
        axis.set_ylabel(label)
    axes[0].legend()
    figure.savefig(path, dpi=120)
