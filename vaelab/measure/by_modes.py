"""log p(x) of datapoints with several modes, from all of them; and against what the prior's side says."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.evidence.importance import Components, importance_sampling, mixture
from vaelab.evidence.quadrature import MAX_DIM, quadrature_over_modes
from vaelab.evidence.weights import Evidence
from vaelab.inference.modes import Modes, mode_at
from vaelab.measure.subject import Sizes
from vaelab.model.latent import bind
from vaelab.types import Array, Key, LatentModel, Params

DEGREES = 8  # of freedom of the Student distributions about the modes


def components_at(log_joint: Any, modes: Modes) -> Components:
    """The Gaussian distributions of the curvature at the modes of one datapoint."""
    some_M = jnp.isfinite(modes.log_weight_M)
    at = jax.vmap(lambda z_K, axis_K: mode_at(log_joint, z_K, axis_K))(modes.z_MxK, modes.axis_MxK)
    weight_M = at.value + at.log_det + 0.5 * modes.z_MxK.shape[1] * math.log(2.0 * math.pi)
    return Components(at.z_K, at.scale_KxK, at.inverse_KxK, at.log_det, jnp.where(some_M, weight_M, -jnp.inf))


def evidence_by_modes(
    model: LatentModel, sizes: Sizes, shared: tuple[Params, Key], row: tuple[Any, Array, Modes]
) -> Evidence:
    """log p(x) of one datapoint with all its modes as proposals, by quadrature about each for K <= 2."""
    (theta, key), (x_D, index, modes) = shared, row
    log_joint = bind(model, theta, x_D)
    components = components_at(log_joint, modes)
    if model.latent_dim <= MAX_DIM:
        integral = quadrature_over_modes(
            log_joint, components, num_nodes=sizes.num_nodes, half_width=sizes.half_width
        )
        none = jnp.array(jnp.nan)
        return Evidence(integral.log_evidence, integral.error, none, none, none)
    return importance_sampling(
        log_joint,
        (mixture(components, degrees_of_freedom=DEGREES),),
        jax.random.fold_in(key, index),
        num_samples=sizes.num_samples,
        chunk_size=sizes.chunk_size,
    )


NUM_STDERRS = 5.0
BESIDES = 0.05  # nats, beyond the errors, in which no difference is told


class Missed(NamedTuple):
    """Where log p(x) from the prior's side is above the local estimate by more than the errors of both.

    missed_N: at which datapoints
    shortfall_N: by how much, nats; NaN where it was not looked at
    """

    missed_N: np.ndarray
    shortfall_N: np.ndarray


def compare_sides(evidence: Evidence, prior_side: Evidence) -> Missed:
    """Compares the two estimates; both are low in expectation, so that only the higher one tells anything.

    An estimate that is not finite is missed wherever the prior's side is finite, by an infinite lead.
    """
    first_N, second_N = (np.float64(side.log_evidence) for side in (evidence, prior_side))
    error_N = np.hypot(np.float64(evidence.stderr), np.float64(prior_side.stderr))
    with np.errstate(invalid="ignore"):
        lead_N = second_N - first_N
        beyond_N = lead_N > NUM_STDERRS * error_N + BESIDES
    sound_N, nothing_N = prior_side.finite, ~np.isfinite(first_N)
    lead_N = np.where(nothing_N & sound_N, np.inf, lead_N)
    return Missed(np.asarray(sound_N & (beyond_N | nothing_N)), lead_N)
