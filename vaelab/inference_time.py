"""How good q(z) of a new datapoint is against the time spent on it.

The encoder alone, and steps of the inner loop from there or from the prior. Each number of steps is a loop of
its own, whose schedule ends with its last step. The bounds are on draws that no solver saw, the same for all.
"""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from rich.console import Console

from vaelab.build import Experiment
from vaelab.gap import mean_and_stderr
from vaelab.inference import Loop, ascend, same_law
from vaelab.memory import Memory
from vaelab.model import bind
from vaelab.objective import estimate_elbo
from vaelab.parallel import map_datapoints
from vaelab.processes import is_first
from vaelab.report import figure
from vaelab.rundir import stored_json
from vaelab.trained import Trained
from vaelab.types import Key, Params

REPEATS, MAX_POINTS = 3, 500
STARTS = ("encoder", "prior")


def measure_inference_time(
    experiment: Experiment, trained: Trained, directory: Path, console: Console
) -> list[dict[str, Any]]:
    """A row for each start and number of steps, 0 steps of the encoder first; [] where none is asked for.

    milliseconds: of one datapoint, among many at a time, the least of three. elbo: mean with its standard
    error over the datapoints; gained: over the encoder alone, paired.
    """
    if not experiment.evaluate.inference_times or not trained.psis:
        return []
    compute = functools.partial(_measure, experiment, trained)
    rows = stored_json(directory / "stages" / "inference_time.json", compute, console)
    if is_first():
        plot(directory / "inference_time.png", rows)
    return rows


def _measure(experiment: Experiment, trained: Trained) -> list[dict[str, Any]]:
    name = next(iter(trained.psis))
    # The last stage of a family is the one that has its encoder.
    system = next(s.system for s in reversed(experiment.stages) if s.family == name)
    family, model, settings = system.family, experiment.latent_model, experiment.evaluate.inference[name]
    split = [name for name in experiment.evaluate.splits if name in experiment.inputs][-1]
    inputs = tuple(a[:MAX_POINTS] for a in experiment.inputs[split])

    def encode(psi: Params, row: tuple[jax.Array, ...]) -> jax.Array:
        return ravel_pytree(system.regime.encode(psi, row[0]))[0]

    def fit(loop: Loop, shared: tuple[Params, Key], row: tuple[jax.Array, ...]) -> jax.Array:
        (theta, key), (x_D, index, phi_P) = shared, row
        phi_P = same_law(phi_P, family, loop.family)
        state = loop.solver.init(phi_P)
        key = jax.random.fold_in(key, index)
        return same_law(ascend(loop, bind(model, theta, x_D), phi_P, state, key)[0], loop.family, family)

    def score(shared: tuple[Params, Key], row: tuple[jax.Array, ...]) -> jax.Array:
        (theta, key), (x_D, index, phi_P) = shared, row
        draws = {"num_samples": settings.elbo_samples, "chunk_size": settings.elbo_chunk_size}
        key = jax.random.fold_in(key, index)
        return estimate_elbo(bind(model, theta, x_D), family, phi_P, key, **draws).value

    def elbo(phi_NxP: np.ndarray) -> np.ndarray:
        rows = (*inputs, phi_NxP)
        return map_datapoints(
            score, (trained.theta, experiment.keys.evaluate), rows, chunk_size=experiment.evaluate.memory
        )

    encoded_NxP, encoder_ms = _timed(encode, trained.psis[name], inputs, experiment.evaluate.memory)
    prior_NxP = np.tile(np.asarray(family.init()), (len(encoded_NxP), 1))
    encoded_N = elbo(encoded_NxP)
    rows = [_row("encoder", 0, encoder_ms, encoded_N, encoded_N)]
    for start, phi_NxP in zip(STARTS, (encoded_NxP, prior_NxP), strict=True):
        for loop in experiment.evaluate.inference_times:
            found_NxP, ms = _timed(
                functools.partial(fit, loop),
                (trained.theta, experiment.keys.inference),
                (*inputs, phi_NxP),
                experiment.evaluate.memory,
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


def flat(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows as a table takes them."""
    return [
        {
            "start": row["start"],
            "steps": row["num_steps"],
            "ms a datapoint": row["milliseconds"],
            **{f"{name}{part}": row[name][key] for name in ("elbo", "gained") for part, key in PARTS.items()},
        }
        for row in rows
    ]


PARTS = {"": "mean", " ±": "stderr"}


def plot(path: Path, rows: list[dict[str, Any]]) -> None:
    drawn, (axis,) = figure(1, 7.0, 4.2)
    for start, colour in zip(STARTS, ("#4477aa", "#ee8866"), strict=True):
        mine = [row for row in rows if row["start"] == start]
        axis.errorbar(
            [row["milliseconds"] for row in mine],
            [row["gained"]["mean"] for row in mine],
            [row["gained"]["stderr"] for row in mine],
            fmt="o-",
            capsize=3,
            color=colour,
            label=f"steps from the {start}",
        )
    axis.axhline(0.0, color="#777777", linewidth=1.0)
    (encoder,) = [row for row in rows if row["start"] == "encoder" and row["num_steps"] == 0]
    axis.plot(encoder["milliseconds"], 0.0, "D", color="black", label="the encoder alone", zorder=5)
    axis.set_xscale("log")
    axis.set_yscale("symlog", linthresh=1.0, subs=(2, 5))
    axis.set_ylim(bottom=1.3 * min(row["gained"]["mean"] - row["gained"]["stderr"] for row in rows))
    for ticks in (axis.xaxis, axis.yaxis):
        ticks.set_major_formatter("{x:g}")
    axis.set_xlabel("milliseconds a datapoint")
    axis.set_ylabel("ELBO less the encoder's, nats")
    axis.legend(frameon=False)
    drawn.savefig(path, dpi=120)
