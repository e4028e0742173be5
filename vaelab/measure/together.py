"""Fits and evidence of several runs as one program, stored where `measure` of each run finds them.

On an accelerator a small test set leaves the device idle, and everywhere the few datapoints that need further
rounds do not fill a chunk: those of all runs do.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from vaelab.evidence import Evidence
from vaelab.measure.evidence import estimate_log_evidence
from vaelab.measure.fit import fit_locally
from vaelab.measure.stages import FIT, block_paths, chosen_estimator, fit_families, proposals
from vaelab.measure.subject import Measured, Subject
from vaelab.runtime.devices import Progress, take
from vaelab.runtime.directory import stored
from vaelab.runtime.processes import of_first
from vaelab.runtime.progress import progress_bar


class Run(NamedTuple):
    """One of several that differ in their seeds and in numbers alone."""

    subject: Subject
    points: Measured
    directory: Path


def fit_runs(runs: Sequence[Run], split: str, console: Console) -> None:
    """Fits every family to the datapoints of the runs.

    Raises ConfigError where a single datapoint of all of them takes more than the memory.
    """
    settings = runs[0].subject.settings
    for name in settings.families:

        def fit(those: Sequence[Run], rows: slice, progress: Progress, name: str = name) -> Any:
            began = time.perf_counter()
            inputs = [take(run.points.inputs, rows) for run in those]
            starts = [run.subject.start(name, x) for run, x in zip(those, inputs, strict=True)]
            fitted = fit_locally(
                those[0].subject.model,
                those[0].subject.families[name],
                settings.inference[name],
                _stacked(run.subject.theta for run in those),
                jax.tree.map(lambda *a: np.stack(a), *inputs),
                np.stack(starts),
                jnp.stack([run.subject.keys.inference for run in those]),
                starts=settings.starts,
                chunk_size=settings.memory,
                progress=progress,
                tolerance_R=np.array([run.subject.settings.inference[name].tolerance for run in those]),
            )
            return fitted, np.full(len(those), (time.perf_counter() - began) / len(those))

        _in_blocks(runs, f"inference {split} {name}", FIT, fit, len(settings.starts), console)


def weigh_runs(runs: Sequence[Run], split: str, console: Console) -> None:
    """Estimates log p(x) of the datapoints of the runs, together for those that chose the same estimator.

    Raises ConfigError where a single datapoint of all of them takes more than the memory.
    """
    same: dict[int, list[Run]] = {}
    phis: dict[Path, tuple[np.ndarray, ...]] = {}
    estimators = runs[0].subject.settings.evidence.estimators
    for run in runs:
        fits, _ = fit_families(run.subject, split, run.points, run.directory, console)
        phis[run.directory] = proposals(run.subject, fits)
        _, choice = chosen_estimator(
            run.subject, split, run.points, phis[run.directory], run.directory, console
        )
        same.setdefault(choice["winner"] if choice else 0, []).append(run)

    for winner, group in same.items():

        def weigh(those: Sequence[Run], rows: slice, progress: Progress, winner: int = winner) -> Evidence:
            data = [take((run.points.inputs, phis[run.directory]), rows) for run in those]
            return estimate_log_evidence(
                those[0].subject.model,
                estimators[winner],
                _stacked(run.subject.theta for run in those),
                *jax.tree.map(lambda *a: np.stack(a), *data),
                jnp.stack([run.subject.keys.evidence for run in those]),
                chunk_size=those[0].subject.settings.memory,
                progress=progress,
                runs=len(those),
            )

        _in_blocks(group, f"evidence {split}", Evidence.template(), weigh, 1, console)


def _stacked(trees: Any) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _in_blocks(
    runs: Sequence[Run],
    stage: str,
    template: Any,
    compute: Callable[[Sequence[Run], slice, Progress], Any],
    times: int,
    console: Console,
) -> None:
    """compute(runs, rows, progress), with a leading size of so many runs, of each block that several lack.

    A block that one run at most lacks is left to its own `measure`. times: how often progress counts a
    datapoint.
    """
    count, size = len(runs[0].points.inputs.index_N), runs[0].subject.settings.points_per_save
    found = [block_paths(run.directory / "stages", stage, count=count, size=size) for run in runs]
    blocks = found[0][0]
    paths_of = list(zip(*(paths for _, paths in found), strict=True))
    lacking = of_first(lambda: [[not path.exists() for path in paths] for paths in paths_of])
    left = [(number, np.flatnonzero(lacks)) for number, lacks in enumerate(lacking) if sum(lacks) > 1]
    if not left:
        return
    total = times * sum((blocks[number].stop - blocks[number].start) * len(those) for number, those in left)
    unit = "points" if times == 1 else "fits"
    with progress_bar(console, f"{stage}, {len(runs)} runs", total, unit) as advance:
        for number, those in left:
            result = compute([runs[run] for run in those], blocks[number], advance)
            for at, run in enumerate(those):
                own = take(result, at)
                stored(paths_of[number][run], template, lambda own=own: own, console)
