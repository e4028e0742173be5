"""Posterior families and their encoders from a config."""

import math
import os
from collections.abc import Callable, Mapping

from vaelab import posterior
from vaelab.config.model import convolutional
from vaelab.config.section import Section
from vaelab.model import networks
from vaelab.types import Encoder, Network, PosteriorFamily

FAMILIES: Mapping[str, Callable[[int, Section], PosteriorFamily]] = {
    "diagonal": lambda K, section: posterior.diagonal(K),
    "full": lambda K, section: posterior.full(K),
    "cholesky": lambda K, section: posterior.cholesky(K),
    "low_rank": lambda K, section: posterior.low_rank(K, rank=_at_most(section, "rank", K)),
    "householder": lambda K, section: posterior.householder(
        K, num_reflections=_at_most(section, "num_reflections", K)
    ),
    "real_nvp": lambda K, section: posterior.real_nvp(K, **_flow_sizes(section, K)),
    "iaf": lambda K, section: posterior.iaf(K, **_flow_sizes(section, K)),
}


def _at_most(section: Section, name: str, latent_dim: int) -> int:
    number = section.integer(name, 1)
    if number > latent_dim:
        raise section.error(name, f"must be at most model.latent_dim={latent_dim}")
    return number


def _flow_sizes(section: Section, latent_dim: int) -> dict[str, int]:
    if latent_dim < 2:
        raise section.error("family", "a flow needs model.latent_dim of 2 or more")
    flow = section.section("flow")
    return {"num_layers": flow.integer("num_layers", 1), "hidden": flow.integer("hidden", 1)}


def families(section: Section, names: tuple[str, ...], latent_dim: int) -> dict[str, PosteriorFamily]:
    """Each named family at the sizes of the section; the section's own comes first."""
    section.choice("family", FAMILIES)
    trained = section.value("family")
    if trained not in names:
        raise section.error("family", f"must be one of --config.inference.families={names}")
    section.integer("rank", 1), section.integer("num_reflections", 1)
    flow = section.section("flow")
    flow.integer("num_layers", 1), flow.integer("hidden", 1)
    ordered = sorted(names, key=lambda name: name != trained)
    return {name: FAMILIES[name](latent_dim, section) for name in ordered}


def encoder(
    section: Section,
    family: PosteriorFamily,
    image_shape: tuple[int, ...],
    computed: Callable[[Network], Network],
) -> Encoder:
    """x -> phi; what a flow shares among datapoints is learned beside the network.

    computed: how the network itself is, `in_bfloat16` say.
    """
    hidden, output_scale = section.widths("hidden"), section.number("output_scale")
    activation = section.choice("activation", networks.ACTIVATIONS)
    init_P = family.init()
    own = family.param_size - family.shared_size
    sizes = {"activation": activation, "output_scale": output_scale}
    if convolutional(section, image_shape, hidden):
        channels = section.widths("channels")
        network = networks.convolutional_encoder(image_shape, channels, hidden[0], init_P[:own], **sizes)
    else:
        network = networks.mlp_encoder(math.prod(image_shape), hidden, init_P[:own], **sizes)
    network = computed(network)
    return networks.with_shared(network, init_P[own:]) if family.shared_size else network


def check_memory(section: Section, name: str, latent_dim: int, last_width: int, batch_size: int) -> None:
    """Raises ConfigError where the K^2 outputs of a dense scale cannot fit this machine's memory.

    In float32: the encoder's output layer with its gradient and two moments, and the outputs of a batch with
    their gradients.
    """
    outputs = {"full": latent_dim + latent_dim**2, "cholesky": 2 * latent_dim + latent_dim**2 // 2}
    if name not in outputs:
        return
    needed = 4 * outputs[name] * (4 * (last_width + 1) + 2 * batch_size)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise section.error(
            "latent_dim",
            f"the {outputs[name]:,} outputs of posterior family {name} take {needed:,} bytes and this "
            f"machine has {there:,}: take a smaller latent_dim, or low_rank",
        )
