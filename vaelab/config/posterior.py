"""Posterior families and their encoders from a config."""

import math
from collections.abc import Callable
from typing import Any

import jax

from vaelab.config import own
from vaelab.config.model import network
from vaelab.config.section import Section
from vaelab.model import networks
from vaelab.posterior import FAMILIES
from vaelab.runtime.memory import of_machine
from vaelab.types import Encoder, LatentModel, Network, PosteriorFamily


def families(
    section: Section, names: tuple[str, ...], latent_dim: int, model: LatentModel | None = None
) -> dict[str, PosteriorFamily]:
    """Each named family at the sizes of the section; the section's family comes first.

    model: whose z they are of, for families that ask for its levels or its prior; None without any.
    """
    section.choice("family", FAMILIES)
    trained = section.value("family")
    if trained not in names:
        raise section.error("family", f"must be one of --config.inference.families={names}")
    sizes = {name: _size(section, name) for entry in FAMILIES.values() for name in entry.sizes}
    ordered = sorted(names, key=lambda name: name != trained)
    return {name: _family(section, name, latent_dim, model, sizes) for name in ordered}


def _size(section: Section, name: str) -> int:
    *outer, last = name.split(".")
    for part in outer:
        section = section.section(part)
    return section.integer(last, 1)


def _family(
    section: Section, name: str, latent_dim: int, model: LatentModel | None, sizes: dict[str, int]
) -> PosteriorFamily:
    entry = FAMILIES[name]
    if latent_dim < entry.min_latent_dim:
        raise section.error("family", f"{name} needs model.latent_dim of {entry.min_latent_dim} or more")
    for size in entry.sizes:
        if entry.sizes_up_to_latent_dim and sizes[size] > latent_dim:
            raise section.error(size, f"must be at most model.latent_dim={latent_dim}")
    given: dict[str, Any] = {size.split(".")[-1]: sizes[size] for size in entry.sizes}
    if not entry.of_levels:
        return entry.make(latent_dim, **given)
    if model is None or not model.levels:
        fix = "take --config.model.prior.name=hierarchy, or another family"
        raise section.error("family", f"{name} is for a z of levels, and this one has none", fix=fix)
    if entry.of_prior:
        given["prior"] = jax.eval_shape(model.init, jax.random.key(0))["prior"]
    return entry.make(latent_dim, levels=model.levels, **given)


def encoder(
    section: Section,
    family: PosteriorFamily,
    image_shape: tuple[int, ...],
    computed: Callable[[Network], Network],
) -> Encoder:
    """x -> phi; what a flow shares among datapoints is learned beside the network.

    Without the numbers that a family shares with the model.

    computed: how the network itself is, `in_bfloat16` say.
    """
    output_scale = section.number("output_scale")
    activation = section.choice("activation", networks.ACTIVATIONS)
    kind, layers = network(section, image_shape)
    init_P = family.init()
    size = family.param_size - family.shared_size  # of what differs between datapoints
    settings = {"activation": activation, "output_scale": output_scale}
    local = computed(kind.encoder(image_shape, layers, init_P[:size], **settings))
    own.check_network(section, local, math.prod(image_shape), size)
    local = networks.of_log1p(local) if section.boolean("log1p") else local
    of_encoder = family.shared_size and family.shared_of is None
    return networks.with_shared(local, init_P[size:]) if of_encoder else local


def check_memory(section: Section, name: str, latent_dim: int, last_width: int, batch_size: int) -> None:
    """Raises ConfigError where an encoder's outputs, K^2 for a dense scale, cannot fit this machine's memory.

    In float32: the encoder's output layer with its gradient and two moments, and the outputs of a batch with
    their gradients.
    """
    count = FAMILIES[name].outputs
    if count is None:
        return
    outputs = count(latent_dim)
    needed = 4 * outputs * (4 * (last_width + 1) + 2 * batch_size)
    available = of_machine()
    if needed > available:
        raise section.error(
            "latent_dim",
            f"the {outputs:,} outputs of posterior family {name} take {needed:,} bytes and this "
            f"machine has {available:,}",
            fix="take a smaller one, or other inference.families, low_rank say",
        )
