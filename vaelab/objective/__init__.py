"""Bounds on log p(x) that training and the inner loop maximise, for one datapoint."""

from collections.abc import Callable
from typing import NamedTuple

from vaelab.objective.draws import (
    Estimate,
    elbo_pairs,
    estimate_elbo,
    estimate_mean,
    log_density_of_draw,
    log_weight,
    log_weights,
    mean_over_draws,
    standard_draws,
)
from vaelab.objective.elbo import beta_elbo, elbo, elbo_from_draws, free_bits, stick_the_landing
from vaelab.objective.multisample import dreg, iwae, renyi
from vaelab.types import Array


class ObjectiveEntry(NamedTuple):
    """An objective by its name, and what it can be used for.

    bound(log_joint, family, phi_P, key, *, num_samples, antithetic, **settings) -> [], nats
    settings: the numbers of config.objective that bound takes, by the same keywords.
    is_elbo: whether its optimum in phi is q*, so that the inner loop may maximise it.
    needs_closed_kl: whether it needs the family's `kl_to_prior`.
    needs_independent: whether it raises ValueError for antithetic samples.
    needs_known_prior: whether it needs the KL to the prior in closed form, which there is to N(0, I) alone.
    weighs_kl: whether it weighs that KL, and takes log_prior=z_K -> [] for a prior other than N(0, I).
    """

    bound: Callable[..., Array]
    settings: tuple[str, ...] = ()
    is_elbo: bool = False
    needs_closed_kl: bool = False
    needs_independent: bool = False
    needs_known_prior: bool = False
    weighs_kl: bool = False


OBJECTIVES: dict[str, ObjectiveEntry] = {
    "elbo": ObjectiveEntry(elbo, is_elbo=True, needs_closed_kl=True),
    "elbo_from_draws": ObjectiveEntry(elbo_from_draws, is_elbo=True),
    "stick_the_landing": ObjectiveEntry(stick_the_landing, is_elbo=True),
    "beta_elbo": ObjectiveEntry(beta_elbo, ("beta",), weighs_kl=True),
    "free_bits": ObjectiveEntry(free_bits, ("min_kl",), needs_closed_kl=True, needs_known_prior=True),
    "iwae": ObjectiveEntry(iwae),
    "dreg": ObjectiveEntry(dreg, needs_independent=True),
    "renyi": ObjectiveEntry(renyi, ("alpha",)),
}

__all__ = [
    "OBJECTIVES",
    "Estimate",
    "ObjectiveEntry",
    "beta_elbo",
    "dreg",
    "elbo",
    "elbo_from_draws",
    "elbo_pairs",
    "estimate_elbo",
    "estimate_mean",
    "free_bits",
    "iwae",
    "log_density_of_draw",
    "log_weight",
    "log_weights",
    "mean_over_draws",
    "renyi",
    "standard_draws",
    "stick_the_landing",
]
