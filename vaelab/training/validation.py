"""The validation ELBO of a model in training."""

import math

import jax
import numpy as np

from vaelab.data.rows import Examples, Rows, blocks
from vaelab.model.latent import bind
from vaelab.objective.draws import estimate_elbo
from vaelab.runtime.chunks import map_datapoints
from vaelab.runtime.memory import Memory
from vaelab.training.step import REFINE, System
from vaelab.types import Array, Key, Params


def evaluate(
    system: System,
    theta: Params,
    psi: Params,
    x_NxD: Examples,
    index_N: np.ndarray,
    key: Key,
    *,
    num_samples: int,
    chunk_size: int | Memory,
) -> np.ndarray:
    """L[q(x)] of every row given, [N], nats.

    A datapoint's draws are the same at each call, so that two evaluations differ by their parameters alone.
    """
    count = len(index_N)
    portions = blocks(count, x_NxD.nbytes // count) if isinstance(x_NxD, Rows) else [slice(count)]
    parts = [
        map_datapoints(
            _bound,
            (theta, psi, key),
            (x_NxD[rows], index_N[rows]),
            static=(system, num_samples),
            chunk_size=chunk_size,
        )
        for rows in portions
    ]
    return np.concatenate(parts)


def mean_and_stderr(elbo_N: np.ndarray) -> tuple[float, float]:
    """(mean, standard error over datapoints)."""
    return float(np.mean(elbo_N)), float(np.std(elbo_N, ddof=1) / math.sqrt(elbo_N.size))


def _bound(
    system: System, num_samples: int, shared: tuple[Params, Params, Key], row: tuple[Array, Array]
) -> Array:
    (theta, psi, key), (x_D, index) = shared, row
    log_joint, key = bind(system.model, theta, x_D), jax.random.fold_in(key, index)
    phi_P = system.regime.recognise(theta, psi, x_D, jax.random.fold_in(key, REFINE))
    draws = {"num_samples": num_samples, "chunk_size": num_samples}
    return estimate_elbo(log_joint, system.family, phi_P, key, **draws).value
