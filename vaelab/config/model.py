"""Latent-variable models from a config, and data that are simulated from one."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from vaelab import data, model
from vaelab.config import own
from vaelab.config.condition import CONDITIONS, read_condition
from vaelab.config.levels import READS, read_levels
from vaelab.config.section import Section
from vaelab.data.sources import SPLITS
from vaelab.keys import named_key
from vaelab.model import (
    LARGEST_COUNT,
    LIKELIHOODS,
    NETWORKS,
    PRIORS,
    Likelihood,
    LikelihoodEntry,
    NetworkEntry,
    networks,
    simulate,
)
from vaelab.model.convolutional import ALIGNMENTS, CONVOLUTIONS
from vaelab.model.networks import Layers
from vaelab.types import LatentModel, Network, Params

LINEAR_PRIORS = {name: PRIORS[name] for name in ("standard_normal", "hierarchy")}


def linear_gaussian(section: Section) -> LatentModel:
    """The linear-Gaussian model of the section, of linear levels where it has any. Raises ConfigError."""
    if section.value("name") != "linear_gaussian":
        raise section.error("name", "data.name=simulated needs model.name=linear_gaussian")
    section.section("prior").choice("name", LINEAR_PRIORS)
    condition = section.section("condition")
    if condition.choice("name", CONDITIONS) is not None:
        raise condition.error("name", "data.name=simulated has none", fix="take none")
    read_condition(section, None)
    sizes, read = read_levels(section)
    if sizes and section.section("prior").choice("reads", READS):
        line = "is for decoders, and linear_gaussian reads the first level"
        raise section.section("prior").error("reads", line, fix="take first")
    singular_values = section.numbers("singular_values", 0.0)
    if len(singular_values) != read:
        what = "the first of model.prior.levels" if sizes else "latent_dim"
        raise section.error("singular_values", f"must be {read} numbers ({what}), 0 or more")
    data_dim = section.integer("data_dim", read)
    noise, one_variance = section.number("noise", above=True), section.boolean("one_variance")
    if sizes:
        return model.linear_gaussian_hierarchy(
            sizes, singular_values, noise, data_dim, one_variance=one_variance
        )
    return model.linear_gaussian(read, singular_values, noise, data_dim, one_variance=one_variance)


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


def _likelihood(section: Section, observation: str, dataset: data.DataSet) -> Likelihood:
    entries = LIKELIHOODS.values()
    numbers = {name: section.number(name, above=True) for e in entries for name in e.settings}
    numbers |= {name: section.integer(name, 1) for e in entries for name in e.sizes}
    entry = own.entry(section, "name", LIKELIHOODS, LikelihoodEntry)
    if observation == "identity" and not entry.real:
        problem = "is for levels, and data.observation=identity gives real numbers"
        real = ", ".join(name for name, other in LIKELIHOODS.items() if other.real)
        raise section.error("name", problem, fix=f"there are {real}")
    if observation not in ("identity", entry.observation):
        raise section.error(
            "name",
            f"{section.value('name')} needs --config.data.observation={entry.observation}, "
            f"and it is {observation}",
        )
    if observation == "identity" and entry.support is not None:
        _check_support(section, entry.support, dataset)
    asked = (*entry.settings, *entry.sizes)
    if not numbers.keys() >= set(asked):
        lacking = ", ".join(name for name in asked if name not in numbers)
        raise section.error(
            "name", f"asks for {lacking}, which no setting is", fix="bind it in your function"
        )
    settings = {name: numbers[name] for name in asked}
    return entry.make(dataset.max_value + 1, **settings)


LOOKED_AT = 4096  # examples of a split that is kept on the disk


def _check_support(section: Section, support: str, dataset: data.DataSet) -> None:
    """Raises ConfigError for real-valued data that a likelihood has no density at.

    A finished run has no data any more; they were looked at when it began.
    """
    for split, rows in getattr(dataset, "splits", {}).items():
        count = len(rows.index_N) if isinstance(rows.pixels_NxD, np.ndarray) else LOOKED_AT
        x_NxD = np.asarray(rows.pixels_NxD[np.arange(min(count, len(rows.index_N)))])
        low, high = float(np.min(x_NxD)), float(np.max(x_NxD))
        if support == "unit" and (low < 0.0 or high > 1.0):
            problem = f"is of values from 0 to 1, and those of {split} are from {low:.6g} to {high:.6g}"
            raise section.error("name", problem, fix="bring them to that range, or take gaussian")
        if support == "counts":
            none_M = x_NxD[(x_NxD < 0.0) | (x_NxD > LARGEST_COUNT) | (x_NxD != np.rint(x_NxD))]
            if len(none_M):
                problem = f"is of counts from 0 to {LARGEST_COUNT:,}, and {len(none_M):,} values of {split}"
                fix = "give raw counts, or take gaussian"
                raise section.error("name", f"{problem} are none, the first {none_M[0]:.9g}", fix=fix)


def decoder_model(
    section: Section,
    dataset: data.DataSet,
    observation: str,
    computed: Callable[[Network], Network],
) -> LatentModel:
    """The model with a network for its decoder under N(0, I); computed: how that is, `in_bfloat16` say."""
    if section.value("name") != "decoder":
        raise section.error("name", "must be decoder, or linear_gaussian with data.name=simulated")
    density = _likelihood(section.section("likelihood"), observation, dataset)
    latent_dim, (_, read) = section.integer("latent_dim", 1), read_levels(section)
    condition = read_condition(section, dataset)
    of_library = condition is not None and condition.kind == "library_size"
    inputs = read if condition is None or of_library else read + condition.size
    activation = section.choice("activation", networks.ACTIVATIONS)
    kind, layers = network(section, dataset.image_shape)
    shape, per_dim = dataset.image_shape, density.outputs_per_dim
    decoder = computed(kind.decoder(inputs, shape, layers, per_dim, activation=activation))
    own.check_network(section, decoder, inputs, per_dim * math.prod(shape))
    if density.learned:
        decoder = networks.with_constants(decoder, jnp.array(density.learned))
    affine = kind.affine_without_hidden and not layers.hidden and not of_library
    if of_library:
        if density.name not in LIKELIHOODS or LIKELIHOODS[density.name].support != "counts":
            line = f"needs a likelihood of counts, and {density.name} is none"
            raise section.section("condition").error("name", line, fix="take negative_binomial")
        decoder, inputs = model.with_library_size(decoder, read, math.prod(shape)), read + 1
    decoded = model.decoder_model(inputs, decoder, density, affine=affine)
    decoded = decoded if condition is None else model.conditioned(decoded, condition)
    return decoded if read == latent_dim else model.first_level(decoded, latent_dim)


def network(section: Section, image_shape: tuple[int, ...]) -> tuple[NetworkEntry, Layers]:
    """The kind of network that the section asks for, and its layers, if there can be one."""
    section.choice("convolution", CONVOLUTIONS)
    section.choice("alignment", ALIGNMENTS)
    layers = Layers(
        hidden=section.widths("hidden"),
        channels=section.widths("channels"),
        residual=section.integer("residual", 0),
        convolution=section.value("convolution"),
        alignment=section.value("alignment"),
    )
    kind = own.entry(section, "network", NETWORKS, NetworkEntry)
    problem = kind.problem(image_shape, layers)
    if problem is not None:
        raise section.error(*problem)
    return kind, layers
