"""Latent-variable models from a config, and data that are simulated from one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from vaelab import data, model
from vaelab.config.section import Section
from vaelab.data.sources import SPLITS
from vaelab.keys import named_key
from vaelab.model import LIKELIHOODS, NETWORKS, Likelihood, NetworkEntry, networks
from vaelab.model.convolutional import CONVOLUTIONS
from vaelab.model.networks import Layers
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
        key_z, key_x = jax.random.split(jax.random.fold_in(key, index))
        return latent_model.sample(theta, key_x, jax.random.normal(key_z, (latent_model.latent_dim,)))

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
    """The model with a network for its decoder; computed: how that is, `in_bfloat16` say."""
    if section.value("name") != "decoder":
        raise section.error("name", "must be decoder, or linear_gaussian with data.name=simulated")
    density = _likelihood(section.section("likelihood"), observation, dataset.max_value)
    latent_dim = section.integer("latent_dim", 1)
    activation = section.choice("activation", networks.ACTIVATIONS)
    kind, layers = network(section, dataset.image_shape)
    shape, per_dim = dataset.image_shape, density.outputs_per_dim
    decoder = computed(kind.decoder(latent_dim, shape, layers, per_dim, activation=activation))
    if density.learned:
        decoder = networks.with_constants(decoder, jnp.array(density.learned))
    affine = kind.affine_without_hidden and not layers.hidden
    return model.decoder_model(latent_dim, decoder, density, affine=affine)


def network(section: Section, image_shape: tuple[int, ...]) -> tuple[NetworkEntry, Layers]:
    """The kind of network that the section asks for, and its layers, if there can be one."""
    section.choice("convolution", CONVOLUTIONS)
    layers = Layers(
        hidden=section.widths("hidden"),
        channels=section.widths("channels"),
        residual=section.integer("residual", 0),
        convolution=section.value("convolution"),
    )
    kind = section.choice("network", NETWORKS)
    problem = kind.problem(image_shape, layers)
    if problem is not None:
        raise section.error(*problem)
    return kind, layers
