"""Ways to log p(x), each as one function of a datapoint: what a run chooses among.

Each starts from the q* of one or several families, phis = (phi of the first, phi of the second, ...). Where
one of them is not finite the prior stands in for it, so that it spoils nothing but itself.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from vaelab.evidence import annealing, importance, smc
from vaelab.evidence.annealing import Annealing, annealed_importance_sampling
from vaelab.evidence.importance import importance_sampling
from vaelab.evidence.quadrature import MAX_DIM, quadrature
from vaelab.evidence.quadrature import evaluations as nodes
from vaelab.evidence.smc import Tempering, sequential_monte_carlo
from vaelab.evidence.weights import Evidence
from vaelab.types import Array, Key, LogJoint, PosteriorFamily

Families = tuple[PosteriorFamily, ...]
EXPECTED_TEMPERATURES = 10.0  # of sequential Monte Carlo from a q* near the posterior


class Estimator(NamedTuple):
    """A way to log p(x) for one datapoint.

    estimate(log_joint, phis, key) -> Evidence
    bias: of the estimate in expectation, "lower" or "none"
    evaluations: of the decoder, for one datapoint; an expected number where it is random
    reach: of quadrature, the standard deviations of q* to which it integrates; beyond, mass is an error
    """

    name: str
    estimate: Callable[[LogJoint, tuple[Array, ...], Key], Evidence]
    bias: str
    evaluations: float
    reach: float | None = None


def _sound(families: Families, phis: tuple[Array, ...]) -> list[Array]:
    return [jnp.where(jnp.all(jnp.isfinite(p)), p, f.init()) for f, p in zip(families, phis, strict=True)]


def by_importance(
    families: Families, *, num_samples: int, chunk_size: int, degrees_of_freedom: int | None = None
) -> Estimator:
    """Importance sampling from the mixture of all q*, Student-t for Gaussian ones with degrees_of_freedom."""

    def estimate(log_joint: LogJoint, phis: tuple[Array, ...], key: Key) -> Evidence:
        proposals = tuple(
            importance.member(family, phi_P)
            if degrees_of_freedom is None or family.gaussian is None
            else importance.student_t(family, phi_P, degrees_of_freedom=degrees_of_freedom)
            for family, phi_P in zip(families, _sound(families, phis), strict=True)
        )
        return importance_sampling(log_joint, proposals, key, num_samples=num_samples, chunk_size=chunk_size)

    cost = importance.evaluations(len(families), num_samples=num_samples, chunk_size=chunk_size)
    kind = "importance sampling" if degrees_of_freedom is None else "importance sampling, Student-t"
    return Estimator(kind, estimate, "lower", cost)


def by_annealing(families: Families, settings: Annealing, *, start: str) -> Estimator:
    """AIS from one q* or the prior. start: the family whose q* the path begins at, or "prior"."""

    def estimate(log_joint: LogJoint, phis: tuple[Array, ...], key: Key) -> Evidence:
        family, phi_P = _start(families, phis, start)
        annealed = annealed_importance_sampling(log_joint, family, phi_P, key, settings=settings)
        return annealed.evidence._replace(acceptance=annealed.acceptance)

    return Estimator(f"annealing from {start}", estimate, "lower", annealing.evaluations(settings))


def by_smc(families: Families, settings: Tempering, *, start: str, expected_temperatures: float) -> Estimator:
    """SMC from one q* or the prior; expected_temperatures (see `Tempered`) is for the cost alone."""

    def estimate(log_joint: LogJoint, phis: tuple[Array, ...], key: Key) -> Evidence:
        family, phi_P = _start(families, phis, start)
        tempered = sequential_monte_carlo(log_joint, family, phi_P, key, settings=settings)
        return tempered.evidence._replace(acceptance=tempered.acceptance)

    cost = smc.evaluations(settings, expected_temperatures)
    return Estimator(f"sequential Monte Carlo from {start}", estimate, "lower", cost)


def by_quadrature(families: Families, *, start: str, num_nodes: int, half_width: float) -> Estimator:
    """Quadrature about the q* of the family `start`. Raises ValueError for more than two dimensions of z."""
    latent_dim = families[0].latent_dim
    if latent_dim > MAX_DIM:
        raise ValueError(
            f"quadrature is for at most {MAX_DIM} latent dimensions and the model has {latent_dim}"
        )

    def estimate(log_joint: LogJoint, phis: tuple[Array, ...], key: Key) -> Evidence:
        family, phi_P = _start(families, phis, start)
        integral = quadrature(log_joint, family, phi_P, num_nodes=num_nodes, half_width=half_width)
        none = jnp.array(jnp.nan)
        return Evidence(integral.log_evidence, integral.error, none, none, none)

    return Estimator("quadrature", estimate, "none", nodes(latent_dim, num_nodes=num_nodes), half_width)


def _start(families: Families, phis: tuple[Array, ...], name: str) -> tuple[PosteriorFamily, Array]:
    if name == "prior":
        return families[0], families[0].init()
    number = [family.name for family in families].index(name)
    return families[number], _sound(families, phis)[number]
