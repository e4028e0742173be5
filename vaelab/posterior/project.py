"""One distribution in the coordinates of another family, or the nearest that this family has."""

from collections.abc import Callable

from vaelab.types import Array, PosteriorFamily


def searched_as(family: PosteriorFamily) -> PosteriorFamily:
    """The family in whose coordinates the inner loop searches the same distributions, often itself."""
    geometry = family.gaussian
    return family if geometry is None or geometry.searched_as is None else geometry.searched_as


def has_projection(family: PosteriorFamily) -> bool:
    """Whether the member nearest to a Gaussian distribution has a closed form."""
    return family.gaussian is not None and family.gaussian.project is not None


def near(family: PosteriorFamily) -> Callable[[Array, Array], Array] | None:
    """(mu_K, S_KxK) -> phi_P of a member near N(mu, S S'): the nearest where that has a closed form.

    None for a family that has neither `gaussian.project` nor `near`.
    """
    return family.gaussian.project if has_projection(family) else family.near


def same_distribution(phi_P: Array, source: PosteriorFamily, target: PosteriorFamily) -> Array:
    """phi of the same Gaussian distribution in another family that has it; phi itself in the same family."""
    return phi_P if target is source else target.gaussian.project(*source.gaussian.location_scale(phi_P))


def project(phi_P: Array, source: PosteriorFamily, target: PosteriorFamily) -> Array:
    """phi of argmin over target of KL(q || q_phi), q_phi in source; the prior without a closed form."""
    if target is source:
        return phi_P
    if source.gaussian is None or not has_projection(target):
        return target.init()
    return target.gaussian.project(*source.gaussian.location_scale(phi_P))
