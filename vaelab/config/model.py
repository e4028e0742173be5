"""Latent-variable models from a config, and data that are simulated from one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from vaelab import data, model
from vaelab.config.section import Section
from vaelab.data.sources import SPLITS
from vaelab.keys import named_key
from vaelab.model import LIKELIHOODS, NETWORKS, Likelihood, NetworkEntry, networks, simulate
from vaelab.types import LatentModel, Network, Params


def linear_gaussian(section: Section) -> LatentModel:
    """The linear-Gaussian model of the section. Raises ConfigError."""
    if section.value("name") != "linear_gaussian":
        raise section.error("name", "data.name=simulated needs model.name=linear_gaussian")
    latent_dim = section.integer("latent_dim", 1)
    singular_values = section.numbers("singular_values", 0.0)
    if len(singular_values) != latent_dim:
        raise section.error("singular_values", f"must be {latent_dim} numbers (latent_dim), 0 or more")
    data_dim = section.integer("data_dim", latent_dim)
    noise, one_variance = section.number("noise", above=True), section.boolean("one_variance")
    return model.linear_gaussian(latent_dim, singular_values, noise, data_dim, one_variance=one_variance)


def simulated(section: Section, latent_model: LatentModel, theta: Params) -> data.DataSet:
    """Samples of the model at theta: example i of seed s is the same whatever the sizes of the splits."""
    sizes = {name: section.integer(f"num_{name}", 2) for name in SPLITS}
    index_N = np.arange(sum(sizes.values()), dtype=np.int32)
    key = named_key(section.integer("seed", 0), "simulated")

    def draw(index: jax.Array) -> jax.Array:
        return simulate(latent_model, theta, jax.random.fold_in(key, index))[1]

    with jax.default_matmul_precision("highest"):
        x_NxD = np.asarray(jax.vmap(draw)(index_N))
    splits, start = {}, 0
    for name in SPLITS:
        rows = slice(start, start + sizes[name])
        splits[name] = data.Split(x_NxD[rows], np.full(sizes[name], -1, np.int32), index_N[rows])
        start += sizes[name]
    return data.DataSet("simulated", x_NxD.shape[1:], 1, splits)


CONTINUOUS = "dequantize"  # the observation of densities on R, which take real-valued data as they are too


def _likelihood(section: Section, observation: str, max_value: int) -> Likelihood:
    entries = LIKELIHOODS.values()
    numbers = {name: section.number(name, above=True) for e in entries for name in e.settings}
    numbers |= {name: section.integer(name, 1) for e in entries for name in e.sizes}
    entry = section.choice("name", LIKELIHOODS)
    if observation == "identity" and entry.observation != CONTINUOUS:
        problem = "is for levels, and data.observation=identity gives real numbers"
        continuous = ", ".join(name for name, other in LIKELIHOODS.items() if other.observation == CONTINUOUS)
        raise section.error("name", problem, fix=f"there are {continuous}")
    if observation not in ("identity", entry.observation):
        raise section.error(
            "name",
            f"{section.value('name')} needs --config.data.observation={entry.observation}, "
            f"and it is {observation}",
        )
    return entry.make(max_value + 1, **{name: numbers[name] for name in (*entry.settings, *entry.sizes)})


def decoder_model(
    section: Section,
    dataset: data.DataSet,
    observation: str,
    computed: Callable[[Network], Network],
) -> LatentModel:
    """The model with a network for its decoder under N(0, I); computed: how that is, `in_bfloat16` say."""
    if section.value("name") != "decoder":
        raise section.error("name", "must be decoder, or linear_gaussian with data.name=simulated")
    density = _likelihood(section.section("likelihood"), observation, dataset.max_value)
    latent_dim = section.integer("latent_dim", 1)
    activation = section.choice("activation", networks.ACTIVATIONS)
    kind, shape, hidden, channels = network(section, dataset.image_shape)
    decoder = computed(
        kind.decoder(latent_dim, shape, hidden, channels, density.outputs_per_dim, activation=activation)
    )
    if density.learned:
        decoder = networks.with_constants(decoder, jnp.array(density.learned))
    affine = kind.affine_without_hidden and not hidden
    return model.decoder_model(latent_dim, decoder, density, affine=affine)


def network(
    section: Section, image_shape: tuple[int, ...]
) -> tuple[NetworkEntry, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """(the kind of network, image_shape, hidden, channels) that the section asks for, if there can be one."""
    hidden, channels = section.widths("hidden"), section.widths("channels")
    kind = section.choice("network", NETWORKS)
    problem = kind.problem(image_shape, hidden, channels)
    if problem is not None:
        raise section.error(*problem)
    return kind, image_shape, hidden, channels
