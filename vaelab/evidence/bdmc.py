"""Bidirectional Monte Carlo: log p(x) of *simulated* x between two stochastic bounds (Grosse et al. 2015).

A simulated pair z ~ p(z), x ~ p(x given z) makes z an exact sample from the posterior of that x. Annealing
from q to the posterior bounds log p(x) from below, annealing back from z bounds it from above. On real data
there is no such z, and only the lower bound stands; what the width says of the settings carries over as far
as the model's x resemble the data.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.evidence.annealing import Annealing, backward, chain_evaluations, fly, forward, lay_path
from vaelab.evidence.annealing import evaluations as annealing_evaluations
from vaelab.evidence.weights import Evidence, from_log_weights
from vaelab.linalg import inverse_and_log_abs_det
from vaelab.objective.draws import log_weight
from vaelab.types import Array, Key, LogJoint, PosteriorFamily


class Bidirectional(NamedTuple):
    """Two stochastic bounds on log p(x) of one simulated datapoint, nats.

    lower, upper: `Evidence` with its standard error, of the lower and of the upper bound
    acceptance: mean over moves and chains of both directions
    """

    lower: Evidence
    upper: Evidence
    acceptance: Array

    @property
    def width(self) -> Array:
        """upper - lower, nats; its expectation is at least 0, a single one may be below."""
        return self.upper.log_evidence - self.lower.log_evidence


def bidirectional(
    log_joint: LogJoint, family: PosteriorFamily, phi_P: Array, z_K: Array, key: Key, *, settings: Annealing
) -> Bidirectional:
    """Both bounds for one simulated (z, x), on one path between q_phi and the posterior of x.

    lower = log 1/C sum_c W_c of forward chains, upper = -log 1/C sum_c 1 / W'_c of chains back from z, with
    E[W] = p(x) and, over z given x, E[1 / W'] = 1 / p(x); by Jensen E[lower] <= log p(x) <= E[upper]. All
    backward chains begin at the same z: the standard error of `upper` is that given z, and only a mean
    over many simulated datapoints has all of its spread. q_phi may depend on x but not on z. For
    Gaussian families.
    """
    log_w = log_weight(log_joint, family, phi_P, phi_P)
    key_pilot, key_start, key_forward, key_backward = jax.random.split(key, 4)
    path = lay_path(fly(log_w, key_pilot, latent_dim=family.latent_dim, settings=settings), settings)
    eps_CxK = jax.random.normal(key_start, (settings.num_chains, family.latent_dim))
    up_C, up_acceptance_C, _ = forward(
        log_w, path, eps_CxK, key_forward, num_leapfrogs=settings.num_leapfrogs
    )
    mu_K, scale_KxK = family.gaussian.location_scale(phi_P)
    eps_K = inverse_and_log_abs_det(scale_KxK)[0] @ (z_K - mu_K)
    down_C, down_acceptance_C, _ = backward(
        log_w,
        path,
        jnp.tile(eps_K, (settings.num_chains, 1)),
        key_backward,
        num_leapfrogs=settings.num_leapfrogs,
    )
    inverse = from_log_weights(-down_C)
    upper = inverse._replace(log_evidence=-inverse.log_evidence)
    acceptance = 0.5 * (jnp.mean(up_acceptance_C) + jnp.mean(down_acceptance_C))
    return Bidirectional(from_log_weights(up_C), upper, acceptance)


def temperatures_for(width: float, *, num_temperatures: int, wanted: float) -> int:
    """T for a mean width of `wanted` nats, from the mean `width` that num_temperatures gave.

    With perfect mixing the expected width of one chain each way is J / T, J = KL(q || posterior) +
    KL(posterior || q) on a linear schedule, so T = num_temperatures * width / wanted. Chains averaged inside
    the logarithm make both smaller in about the same ratio. With slow mixing
    the width falls otherwise: measure again at T. Raises ValueError for a width that is not above 0.
    """
    if not (width > 0.0 and wanted > 0.0):
        raise ValueError(
            f"widths must be above 0 nats, and they are {width:g} (measured) and {wanted:g} (wanted)"
        )
    return math.ceil(num_temperatures * width / wanted)


def evaluations(settings: Annealing) -> int:
    """Gradient evaluations per datapoint: a pilot, and the path both ways."""
    return annealing_evaluations(settings) + chain_evaluations(settings)
