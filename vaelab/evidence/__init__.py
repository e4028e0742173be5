"""log p(x), for one datapoint; each estimator names the direction of its bias.

    importance sampling       a stochastic lower bound                        `importance`
    annealing with HMC        a stochastic lower bound                        `annealing`
    bidirectional             a lower and an upper one, on simulated data     `bdmc`
    tempered SMC              low in expectation, consistent                  `smc`
    quadrature                exact, for K <= 2                               `quadrature`

`measure.evidence` picks one of them for a split.
"""

from collections.abc import Callable
from typing import NamedTuple

from vaelab.evidence.estimator import (
    EXPECTED_TEMPERATURES,
    Estimator,
    by_annealing,
    by_importance,
    by_quadrature,
    by_smc,
)
from vaelab.evidence.importance import Proposal, importance_sampling, member, student_t
from vaelab.evidence.quadrature import MAX_DIM
from vaelab.evidence.weights import Evidence


class EstimatorEntry(NamedTuple):
    """An estimator of log p(x) by its name.

    make(families, start, **settings) -> Estimator; start: the name of the family whose q* it begins at, or
        "prior", for those that begin at one.
    settings: what make takes beside them, by the keywords of its function and the names of its records.
    max_latent_dim: where latent_dim is not above it the estimate is exact and the only candidate of a pilot;
        above it there is none. None of a sampler, which is for any.
    """

    make: Callable[..., Estimator]
    settings: tuple[str, ...]
    max_latent_dim: int | None = None


ESTIMATORS: dict[str, EstimatorEntry] = {
    "importance": EstimatorEntry(
        lambda families, start, **numbers: by_importance(families, **numbers), ("num_samples", "chunk_size")
    ),
    "student_t": EstimatorEntry(
        lambda families, start, **numbers: by_importance(families, **numbers),
        ("num_samples", "chunk_size", "degrees_of_freedom"),
    ),
    "annealing": EstimatorEntry(
        lambda families, start, annealing: by_annealing(families, annealing, start=start), ("annealing",)
    ),
    "smc": EstimatorEntry(
        lambda families, start, tempering: by_smc(
            families, tempering, start=start, expected_temperatures=EXPECTED_TEMPERATURES
        ),
        ("tempering",),
    ),
    "quadrature": EstimatorEntry(
        lambda families, start, **nodes: by_quadrature(families, start=start, **nodes),
        ("num_nodes", "half_width"),
        max_latent_dim=MAX_DIM,
    ),
}

__all__ = [
    "ESTIMATORS",
    "Estimator",
    "EstimatorEntry",
    "Evidence",
    "Proposal",
    "by_annealing",
    "by_importance",
    "by_quadrature",
    "by_smc",
    "importance_sampling",
    "member",
    "student_t",
]
