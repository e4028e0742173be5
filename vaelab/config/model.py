"""Data sets and latent-variable models from a config."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from vaelab import data, model
from vaelab.config.section import Section
from vaelab.data.sources import SPLITS
from vaelab.keys import named_key
from vaelab.model import likelihood, networks
from vaelab.types import LatentModel, Network, Params


def dataset(section: Section) -> data.DataSet:
    loaded = data.load(section.value("name"), data_dir=section.value("data_dir"))
    count = section.integer("num_train", 0)
    train = loaded.splits["train"]
    if count > len(train.index_N):
        raise section.error("num_train", f"{loaded.name} has {len(train.index_N)} training examples")
    if count:
        loaded.splits["train"] = data.Split(*(array[:count] for array in train))
    return loaded


def linear_gaussian(section: Section) -> LatentModel:
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
    """Draws from the model at theta: example i of seed s is the same whatever the sizes of the splits."""
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


FITTING_OBSERVATION = {"bernoulli": "binarize", "discretized_logistic": "rescale"}


def _likelihood(section: Section, observation: str, max_value: int) -> likelihood.Likelihood:
    min_variance = section.number("min_variance", above=True)
    density = section.choice(
        "name",
        {
            "bernoulli": likelihood.bernoulli(),
            "gaussian": likelihood.gaussian(min_variance=min_variance),
            "gaussian_one_variance": likelihood.gaussian_one_variance(min_variance=min_variance),
            "discretized_logistic": likelihood.discretized_logistic(levels=max_value + 1),
        },
    )
    fitting = FITTING_OBSERVATION.get(density.name, "dequantize")
    if observation != fitting:
        raise section.error(
            "name", f"{density.name} needs --config.data.observation={fitting}, and it is {observation}"
        )
    return density


def decoder_model(
    section: Section,
    dataset: data.DataSet,
    observation: str,
    computed: Callable[[Network], Network],
) -> LatentModel:
    """computed: how the decoder's network is, `in_bfloat16` say."""
    if section.value("name") != "decoder":
        raise section.error("name", "must be decoder, or linear_gaussian with data.name=simulated")
    density = _likelihood(section.section("likelihood"), observation, dataset.max_value)
    latent_dim = section.integer("latent_dim", 1)
    hidden = section.widths("hidden")
    activation = section.choice("activation", networks.ACTIVATIONS)
    if convolutional(section, dataset.image_shape, hidden):
        decoder = networks.convolutional_decoder(
            latent_dim,
            dataset.image_shape,
            section.widths("channels"),
            hidden[0],
            density.outputs_per_dim,
            activation=activation,
        )
    else:
        size = density.outputs_per_dim * math.prod(dataset.image_shape)
        decoder = networks.mlp_decoder(latent_dim, hidden, size, activation=activation)
    decoder = computed(decoder)
    if density.learned:
        decoder = networks.with_constants(decoder, jnp.array(density.learned))
    affine = section.value("network") == "mlp" and not hidden
    return model.decoder_model(latent_dim, decoder, density, affine=affine)


def convolutional(section: Section, image_shape: tuple[int, ...], hidden: tuple[int, ...]) -> bool:
    """Whether the section asks for a convolutional network; checks that there can be one."""
    asked = section.choice("network", {"mlp": False, "convolutional": True})
    channels = section.widths("channels")
    if not asked:
        return False
    shrink = 2 ** len(channels)
    if len(image_shape) != 2 or any(side % shrink for side in image_shape):
        sides = "x".join(map(str, image_shape))
        raise section.error(
            "channels", f"{len(channels)} layers of stride 2 need sides in multiples of {shrink}, not {sides}"
        )
    if not channels or len(hidden) != 1:
        raise section.error("hidden", "a convolutional network has one dense layer: give one width")
    return True
