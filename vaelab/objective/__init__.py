"""Bounds on log p(x) that training and the inner loop maximise, for one datapoint."""

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

__all__ = [
    "Estimate",
    "beta_elbo",
    "elbo",
    "elbo_from_draws",
    "elbo_pairs",
    "estimate_elbo",
    "estimate_mean",
    "free_bits",
    "log_density_of_draw",
    "log_weight",
    "log_weights",
    "mean_over_draws",
    "standard_draws",
    "stick_the_landing",
]
