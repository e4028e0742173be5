"""How good q(z) of a new datapoint is against the time spent on it.

The encoder alone, and steps of the inner loop from there or from the prior. Each number of steps is a loop of
its own, whose schedule ends with its last step. The bounds are on draws that no solver saw, the same for all.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from vaelab.inference.loop import Loop, ascend
from vaelab.keys import Keys
from vaelab.measure.fit import InferenceSettings
from vaelab.measure.gap import mean_and_stderr
from vaelab.measure.subject import Inputs
from vaelab.model.latent import bind
from vaelab.objective.draws import estimate_elbo
from vaelab.posterior.project import same_distribution
from vaelab.runtime.devices import map_datapoints
from vaelab.runtime.memory import Memory
from vaelab.types import Array, Key, LatentModel, Params, PosteriorFamily

REPEATS, MAX_POINTS = 3, 500
STARTS = ("encoder", "prior")


def inference_time(
    model: LatentModel,
    family: PosteriorFamily,
    encode: Callable[[Params, Array], Array],
    theta: Params,
    psi: Params,
    inputs: Inputs,
    loops: Sequence[Loop],
    *,
    settings: InferenceSettings,
    memory: Memory,
    keys: Keys,
) -> list[dict[str, Any]]:
    """A row for each start and number of steps, 0 steps of the encoder first.

    milliseconds: of one datapoint, among many at a time, the least of three. elbo: mean with its standard
    error over the datapoints; gained: over the encoder alone, paired.
    """
    rows_N = tuple(a[:MAX_POINTS] for a in inputs)

    def encoded(psi: Params, row: tuple[Array, ...]) -> Array:
        return ravel_pytree(encode(psi, row[0]))[0]

    def fit(loop: Loop, shared: tuple[Params, Key], row: tuple[Array, ...]) -> Array:
        (theta, key), (x_D, index, phi_P) = shared, row
        phi_P = same_distribution(phi_P, family, loop.family)
        state = loop.solver.init(phi_P)
        key = jax.random.fold_in(key, index)
        return same_distribution(
            ascend(loop, bind(model, theta, x_D), phi_P, state, key)[0], loop.family, family
        )

    def score(shared: tuple[Params, Key], row: tuple[Array, ...]) -> Array:
        (theta, key), (x_D, index, phi_P) = shared, row
        draws = {"num_samples": settings.elbo_samples, "chunk_size": settings.elbo_chunk_size}
        key = jax.random.fold_in(key, index)
        return estimate_elbo(bind(model, theta, x_D), family, phi_P, key, **draws).value

    def elbo(phi_NxP: np.ndarray) -> np.ndarray:
        return map_datapoints(score, (theta, keys.evaluate), (*rows_N, phi_NxP), chunk_size=memory)

    encoded_NxP, encoder_ms = _timed(encoded, psi, rows_N, memory)
    prior_NxP = np.tile(np.asarray(family.init()), (len(encoded_NxP), 1))
    encoded_N = elbo(encoded_NxP)
    rows = [_row("encoder", 0, encoder_ms, encoded_N, encoded_N)]
    for start, phi_NxP in zip(STARTS, (encoded_NxP, prior_NxP), strict=True):
        for loop in loops:
            found_NxP, ms = _timed(
                functools.partial(fit, loop), (theta, keys.inference), (*rows_N, phi_NxP), memory
            )
            total = ms + (encoder_ms if start == "encoder" else 0.0)
            rows.append(_row(start, loop.num_steps, total, elbo(found_NxP), encoded_N))
    return rows


def _timed(
    function: Callable[..., Any], shared: Any, rows: Any, chunk_size: Memory
) -> tuple[np.ndarray, float]:
    """(the results, milliseconds a datapoint): the least of some calls after one that compiles."""
    seconds = []
    for _ in range(1 + REPEATS):
        began = time.perf_counter()
        found = map_datapoints(function, shared, rows, chunk_size=chunk_size)
        seconds.append(time.perf_counter() - began)
    return found, 1e3 * min(seconds[1:]) / len(found)


def _row(
    start: str, num_steps: int, milliseconds: float, elbo_N: np.ndarray, encoded_N: np.ndarray
) -> dict[str, Any]:
    return {
        "start": start,
        "num_steps": num_steps,
        "milliseconds": milliseconds,
        "elbo": mean_and_stderr(elbo_N),
        "gained": mean_and_stderr(elbo_N - encoded_N),
    }
