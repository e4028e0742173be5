"""The levels of a hierarchical z, from the section `model.prior`."""

from typing import NamedTuple

from vaelab.config import own
from vaelab.config.section import Section
from vaelab.model import PRIORS, PriorEntry

READS = {"first": False, "all": True}


class Levels(NamedTuple):
    """sizes: the dimensions of each level of z, the one next to x first; () where z is one level.

    read: how many dimensions of z, the first, p(x given z) reads.
    """

    sizes: tuple[int, ...]
    read: int


def read_levels(section: Section) -> Levels:
    """The levels of a section `model`, whose latent_dim they have in all. Raises ConfigError."""
    latent_dim, prior = section.integer("latent_dim", 1), section.section("prior")
    sizes, reads_all = prior.widths("levels"), prior.choice("reads", READS)
    if not own.entry(prior, "name", PRIORS, PriorEntry).of_levels:
        return Levels((), latent_dim)
    if not sizes:
        raise prior.error("levels", "has no level", fix=f"give numbers that are {latent_dim} in all")
    if sum(sizes) != latent_dim:
        line = f"are {sum(sizes)} dimensions in all, and model.latent_dim is {latent_dim}"
        raise prior.error("levels", line, fix="make them equal")
    return Levels(sizes, latent_dim if reads_all else sizes[0])
