"""How good q(z) of a new datapoint is against the time spent on it.

The encoder alone, and steps of the inner loop from there or from the prior. Each number of steps is a loop of
its own, whose schedule ends with its last step. The bounds are on draws that no solver saw, the same for all.
"""

import functools
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
from vaelab.runtime.chunks import map_datapoints
from vaelab.runtime.memory import Memory
from vaelab.runtime.timing import quickest
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
    inputs = tuple(a[:MAX_POINTS] for a in inputs)
    timed = functools.partial(_timed, chunk_size=memory)

    def elbo(phi_NxP: np.ndarray) -> np.ndarray:
        shared, static = (theta, keys.evaluate), (model, family, settings)
        return map_datapoints(_score, shared, (*inputs, phi_NxP), static=static, chunk_size=memory)

    encoded_NxP, encoder_ms = timed(_encode, (encode,), psi, inputs)
    prior_NxP = np.tile(np.asarray(family.init()), (len(encoded_NxP), 1))
    encoded_N = elbo(encoded_NxP)
    rows = [_row("encoder", 0, encoder_ms, encoded_N, encoded_N)]
    for start, phi_NxP in zip(STARTS, (encoded_NxP, prior_NxP), strict=True):
        for loop in loops:
            fitted_NxP, ms = timed(_fit, (model, family, loop), (theta, keys.inference), (*inputs, phi_NxP))
            total = ms + (encoder_ms if start == "encoder" else 0.0)
            rows.append(_row(start, loop.num_steps, total, elbo(fitted_NxP), encoded_N))
    return rows


def _encode(encode: Callable[[Params, Array], Any], psi: Params, row: tuple[Array, ...]) -> Array:
    return ravel_pytree(encode(psi, row[0]))[0]


def _fit(
    model: LatentModel, family: PosteriorFamily, loop: Loop, shared: tuple[Params, Key], row: Any
) -> Array:
    (theta, key), (x_D, index, phi_P) = shared, row
    phi_P = same_distribution(phi_P, family, loop.family)
    state = loop.solver.init(phi_P)
    key = jax.random.fold_in(key, index)
    phi_P, _ = ascend(loop, bind(model, theta, x_D), phi_P, state, key)
    return same_distribution(phi_P, loop.family, family)


def _score(
    model: LatentModel,
    family: PosteriorFamily,
    settings: InferenceSettings,
    shared: tuple[Params, Key],
    row: Any,
) -> Array:
    (theta, key), (x_D, index, phi_P) = shared, row
    draws = {"num_samples": settings.elbo_samples, "chunk_size": settings.elbo_chunk_size}
    key = jax.random.fold_in(key, index)
    return estimate_elbo(bind(model, theta, x_D), family, phi_P, key, **draws).value


def _timed(
    function: Callable[..., Any], static: tuple[Any, ...], shared: Any, rows: Any, *, chunk_size: Memory
) -> tuple[np.ndarray, float]:
    """(the results, milliseconds a datapoint)."""
    run = functools.partial(map_datapoints, function, shared, rows, static=static, chunk_size=chunk_size)
    results, milliseconds = quickest(run, repeats=REPEATS)
    return results, milliseconds / len(results)


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
