"""Families of approximate posteriors: phi -> q(z), each for an encoder and for the inner loop alike.

Gaussian families, z = mu + S eps (`gaussian.py`, `structured.py`, `per_level.py`):

    diagonal       S = diag(sigma)                                 P = 2K
    full           S dense, unconstrained                          P = K + K^2
    cholesky       S lower triangular, positive diagonal           P = 2K + K(K-1)/2
    low_rank       S S' = D^2 + U U', U of rank r                  P = 2K + K r
    householder    S = H_1 ... H_m diag(sigma), H_i reflections    P = 2K + K m
    per_level      a triangular S for each level of z              P = 2K + sum_l K_l (K_l - 1)/2

Flows, z = T(mu + sigma * eps) (`flow.py`): real_nvp, iaf. Chains of Gaussian distributions over the levels of
z (`chain.py`): bottom_up, top_down.
"""

from collections.abc import Callable
from typing import NamedTuple

from vaelab.posterior.chain import bottom_up, top_down
from vaelab.posterior.flow import iaf, real_nvp
from vaelab.posterior.gaussian import cholesky, diagonal, full
from vaelab.posterior.per_level import per_level
from vaelab.posterior.structured import householder, low_rank
from vaelab.types import PosteriorFamily


class FamilyEntry(NamedTuple):
    """A family by its name: how it is made, and what is decided by which family it is.

    make(latent_dim, **sizes) -> PosteriorFamily; raises ValueError for sizes that it cannot have.
    loop: the section of config.inference whose inner loop fits it: diagonal, gaussian or flow.
    richness: of a Gaussian family, the larger, the nearer its q* is to the posterior; 0 for a flow. Paths of
        annealing begin at the richest.
    sizes: the settings of config.posterior that make takes; its keyword is the part after the last dot.
    outputs(latent_dim) -> the numbers that an encoder makes for a datapoint, where they can be too many for
        a machine's memory; None where they grow with latent_dim only in proportion.
    sizes_up_to_latent_dim: whether no size may be above latent_dim.
    min_latent_dim: the fewest latent dimensions that it is for.
    of_levels: whether make takes levels=, how many dimensions each level of a hierarchical z has.
    of_prior: whether make takes prior=, a tree of the shapes of theta["prior"].
    """

    make: Callable[..., PosteriorFamily]
    loop: str
    richness: int
    sizes: tuple[str, ...] = ()
    outputs: Callable[[int], int] | None = None
    sizes_up_to_latent_dim: bool = False
    min_latent_dim: int = 1
    of_levels: bool = False
    of_prior: bool = False


_FLOW_SIZES = ("flow.num_layers", "flow.hidden")
FAMILIES: dict[str, FamilyEntry] = {
    "diagonal": FamilyEntry(diagonal, "diagonal", 10),
    "full": FamilyEntry(full, "gaussian", 50, outputs=lambda K: K + K**2),
    "cholesky": FamilyEntry(cholesky, "gaussian", 40, outputs=lambda K: 2 * K + K**2 // 2),
    "low_rank": FamilyEntry(low_rank, "gaussian", 30, ("rank",), sizes_up_to_latent_dim=True),
    "householder": FamilyEntry(
        householder, "gaussian", 20, ("num_reflections",), sizes_up_to_latent_dim=True
    ),
    "per_level": FamilyEntry(per_level, "gaussian", 25, outputs=lambda K: K + K**2 // 2, of_levels=True),
    "real_nvp": FamilyEntry(real_nvp, "flow", 0, _FLOW_SIZES, min_latent_dim=2),
    "iaf": FamilyEntry(iaf, "flow", 0, _FLOW_SIZES, min_latent_dim=2),
    "bottom_up": FamilyEntry(bottom_up, "flow", 0, ("flow.hidden",), of_levels=True),
    "top_down": FamilyEntry(top_down, "flow", 0, of_levels=True, of_prior=True),
}

OF_ANY_MODEL = {name: entry for name, entry in FAMILIES.items() if not entry.of_levels}
"""The families that ask for nothing of the model but its latent_dim."""

__all__ = [
    "FAMILIES",
    "OF_ANY_MODEL",
    "FamilyEntry",
    "bottom_up",
    "cholesky",
    "diagonal",
    "full",
    "householder",
    "iaf",
    "low_rank",
    "per_level",
    "real_nvp",
    "top_down",
]
