"""log p(x) from the prior's side: sequential Monte Carlo that knows nothing of any fit."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.evidence.smc import Tempering, sequential_monte_carlo
from vaelab.evidence.weights import Evidence
from vaelab.inference.climb import Climb
from vaelab.measure.subject import Inputs, Subject
from vaelab.model.latent import bind
from vaelab.model.prior import has_known_prior
from vaelab.posterior.gaussian import diagonal
from vaelab.runtime.chunks import map_datapoints
from vaelab.types import Array, Key, LatentModel, Params, PosteriorFamily

WIDE = 3.0  # the least scale of the sampler's start, of z whose prior is not known


def nothing(count: int) -> Evidence:
    """The evidence of datapoints that the sampler has not seen: its numbers are NaN."""
    return Evidence(*(np.full(count, np.nan, np.float32) for _ in Evidence._fields))


def from_prior(
    subject: Subject, inputs: Inputs, ends: Climb, key: Key, tempering: Tempering, *, wider: float = 1.0
) -> tuple[Evidence, np.ndarray | None]:
    """(log p(x) of each datapoint, particles_NxSxK near its posterior) of a sampler that knows of no fit.

    wider: times the scale of its start, where that is not the prior's.
    """
    if not tempering.num_runs:
        return nothing(len(inputs.index_N)), None
    scale_N = np.ones(len(inputs.index_N), np.float32)
    if not has_known_prior(subject.model):
        # Wide enough to reach what ascents have reached, and a little more.
        high_NxS = ends.value >= ends.value.max(axis=1, keepdims=True) - 20.0
        size_NxS = np.where(high_NxS, np.abs(ends.z_K).max(axis=2), 0.0)
        scale_N = np.clip(1.5 * wider * size_NxS.max(axis=1), WIDE, 1e6).astype(np.float32)
    return tempered(subject, inputs, scale_N, key, tempering)


def tempered(
    subject: Subject, inputs: Inputs, scale_N: np.ndarray, key: Key, tempering: Tempering
) -> tuple[Evidence, np.ndarray]:
    """Sequential Monte Carlo of each datapoint from N(0, scale^2 I): evidence and particles."""
    static = subject.model, diagonal(subject.model.latent_dim), tempering
    shared, rows = (subject.theta, key), (*inputs, scale_N)
    return map_datapoints(_temper, shared, rows, static=static, chunk_size=subject.settings.memory)


def _temper(
    model: LatentModel,
    family: PosteriorFamily,
    tempering: Tempering,
    shared: tuple[Params, Key],
    row: tuple[Any, Array, Array],
) -> tuple[Evidence, Array]:
    (theta, key), (x_D, index, scale) = shared, row
    K = family.latent_dim
    phi_P = jnp.concatenate([jnp.zeros(K), jnp.full(K, jnp.log(scale))])
    key = jax.random.fold_in(key, index)
    result = sequential_monte_carlo(bind(model, theta, x_D), family, phi_P, key, settings=tempering)
    return result.evidence, result.particle_SxK
