"""A computation for each datapoint, in blocks that are kept: what a killed run goes on from.

Several runs differ in their seeds and in numbers alone; the blocks that they lack are one program.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from vaelab.measure.subject import Measured, Subject
from vaelab.runtime.chunks import DoesNotFit, Progress
from vaelab.runtime.directory import read_arrays, write_arrays
from vaelab.runtime.progress import progress_bar


class Measurement(NamedTuple):
    """A run as it is measured on one split: several differ in their seeds and in numbers alone."""

    subject: Subject
    points: Measured
    directory: Path


class Stage(NamedTuple):
    """One computation for each datapoint of a split.

    label: for a person; its files are named by it.
    template: the structure of a result.
    compute: (numbers of runs, rows, progress) -> the result of each of these runs on these rows.
    count, size: datapoints of a run, and of a block.
    times: how often progress counts a datapoint.
    """

    label: str
    template: Any
    compute: Callable[[Sequence[int], slice, Progress], Sequence[Any]]
    count: int
    size: int
    times: int = 1

    def path(self, directory: Path, rows: slice) -> Path:
        """Where the result of a block is kept."""
        return directory / "stages" / f"{self.label.replace(' ', '_')}_{rows.start}.npz"


def run_stage(
    stage: Stage, directories: Sequence[Path], console: Console, *, numbers: Sequence[int] | None = None
) -> list[Any]:
    """The results of each run, whole: the blocks that its directory holds, the others computed and stored.

    numbers: which of the directories' runs take part, all of them where it is not given. Raises ConfigError
    where one datapoint takes more memory than there may be.
    """
    numbers = list(range(len(directories))) if numbers is None else list(numbers)
    starts = range(0, stage.count, stage.size)
    blocks = [slice(start, min(start + stage.size, stage.count)) for start in starts]
    parts = {
        run: [read_arrays(stage.path(directories[run], rows), stage.template, console) for rows in blocks]
        for run in numbers
    }
    lacking = [[run for run in numbers if parts[run][at] is None] for at in range(len(blocks))]
    if any(lacking):
        sizes = [rows.stop - rows.start for rows in blocks]
        done = sum(size * (len(numbers) - len(runs)) for size, runs in zip(sizes, lacking, strict=True))
        total, unit = stage.count * len(numbers), "points" if stage.times == 1 else "fits"
        title = stage.label if len(numbers) == 1 else f"{stage.label}, {len(numbers)} runs"
        bar = progress_bar(console, title, stage.times * total, unit, done=stage.times * done)
        with bar as advance:
            for at, (rows, runs) in enumerate(zip(blocks, lacking, strict=True)):
                for run, result in zip(runs, _as_fits(stage, runs, rows, advance), strict=True):
                    write_arrays(stage.path(directories[run], rows), result)
                    parts[run][at] = result
    return [
        jax.tree.map(lambda *arrays: np.concatenate([np.atleast_1d(a) for a in arrays]), *parts[run])
        for run in numbers
    ]


def _as_fits(stage: Stage, runs: Sequence[int], rows: slice, progress: Progress) -> list[Any]:
    """The results of these runs as one program, or in halves where one datapoint of all is too much."""
    if not runs:
        return []
    try:
        return list(stage.compute(runs, rows, progress))
    except DoesNotFit:
        if len(runs) == 1:
            raise
    half = len(runs) // 2
    return [result for part in (runs[:half], runs[half:]) for result in _as_fits(stage, part, rows, progress)]


def stage_of(runs: Sequence[Measurement], label: str, template: Any, compute: Any, times: int = 1) -> Stage:
    """A stage over all datapoints of the runs, in the blocks of their settings."""
    first = runs[0]
    count, size = len(first.points.inputs.index_N), first.subject.settings.points_per_save
    return Stage(label, template, compute, count, size, times)
