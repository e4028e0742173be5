"""The trackers of runs and of sweeps, open as long as these are at work; on the first process alone."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from vaelab.report.log import statistics
from vaelab.report.tracked import About, Results
from vaelab.report.trackers import Trackers
from vaelab.runs.store import Run
from vaelab.runtime.processes import is_first


@contextmanager
def tracked(runs: Sequence[Run], console: Console) -> Iterator[list[Run]]:
    """The runs with trackers, which are closed at the end, however it comes."""
    told: list[Run] = []
    try:
        for one in runs:
            trackers = _opened(one.directory, "run", one.experiment.log_to, console, one.sweep)
            told.append(one._replace(trackers=trackers))
        yield told
    finally:
        for one in told:
            if one.trackers is not None:
                one.trackers.close()


@contextmanager
def tracked_sweep(directory: Path, names: tuple[str, ...], console: Console) -> Iterator[Trackers | None]:
    """The trackers of a sweep itself, the group of its runs."""
    trackers = _opened(directory, "sweep", names, console, None)
    try:
        yield trackers
    finally:
        if trackers is not None:
            trackers.close()


def sweep_results(directory: Path, rows: list[dict[str, Any]]) -> Results:
    """What a sweep says to its trackers: the numbers of each point by its name, pictures and page."""
    numbers = {}
    for row in rows:
        if row["num_seeds"]:
            point = Path(row["runs"][0]).parent.as_posix()
            numbers |= {f"{point}/{name}": value for name, value in statistics([row]).items()}
    return Results(numbers, 0, sorted(directory.glob("*.png")), directory / "report.html")


def _opened(
    directory: Path, kind: str, names: tuple[str, ...], console: Console, sweep: Trackers | None
) -> Trackers | None:
    if not is_first():
        return None

    def say(line: str) -> None:
        console.print(line, style="red", highlight=False, markup=False)

    config = json.loads((directory / "config.json").read_text())
    parts = directory.resolve().parts
    about = About(directory, "/".join(parts[-2:]), kind, config, None if sweep is None else sweep.directory)
    return Trackers(about, names, say, sweep=sweep)
