"""A sweep: runs that differ in some settings and in their seed, and what they say together.

    DIR/POINT/seed=S/      an ordinary run, as its own command would leave it
    DIR/sweep.json, .csv   a row for each point, split and family: mean and standard error over the seeds
    DIR/sweep.png, DIR/report.html
    DIR/rate_distortion.png    where the weight of the KL is varied

The seeds of a point are trained as one program, with those of all points that differ from it only in numbers
that such a program takes, and measured by one. The error over seeds says how much a figure moves when
everything is done again with other weights, batches and draws, on the same data.
"""

import shlex
import sys
import time
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict
from rich.console import Console

from vaelab import report
from vaelab.config.experiment import Experiment, build, renumbered
from vaelab.config.sweep import Point, Sweep, read_sweep
from vaelab.report import rate_distortion
from vaelab.report import sweep as sweep_report
from vaelab.report.page.sweep import write_sweep_page
from vaelab.report.trackers import Trackers
from vaelab.runs.closing import closing_line
from vaelab.runs.data import check_finished, keep, show_notes, with_data
from vaelab.runs.overwrite import make_room
from vaelab.runs.run import Rows, complete
from vaelab.runs.sweep_rows import rows_of, to_csv
from vaelab.runs.tracking import sweep_results, tracked_sweep
from vaelab.runs.training import Run, bytes_of_run
from vaelab.runtime.devices import training_mesh
from vaelab.runtime.directory import as_directory, finished, in_use, open_directory, write_whole
from vaelab.runtime.memory import release_programs
from vaelab.runtime.processes import is_first


def run_sweep(
    config: ConfigDict,
    workdir: str | Path,
    console: Console | None = None,
    *,
    data: Any = None,
    across_versions: bool = False,
    overwrite: str | None = None,
) -> Rows:
    """Every run of the sweep that `workdir` does not hold yet; returns the rows of its `sweep.json`.

    config: with a section `sweep`, as `get_config()` of an experiment file returns it. workdir, console,
    data, across_versions, overwrite: see `run`. What is wrong with any point is said before the first begins.

    Raises ConfigError, DataError or CheckpointError, each with one line that says what to do.
    """
    began = time.perf_counter()
    console, directory, config = console or Console(), as_directory(workdir), with_data(config, data)
    if overwrite is not None:
        points = (point.configs[0] for point in read_sweep(config).points)
        make_room(directory, overwrite, config, lambda: [build(each, data) for each in points], console)
    same = partial(_check_finished, directory, config, data, console)
    done = finished(directory / "sweep.json", config, console, same)
    if done is not None:
        _show(done["rows"], console, smoke=done.get("smoke", False))
        return done["rows"]
    sweep, smoke = read_sweep(config), config.get("smoke", False)
    # Notes and fingerprint are those of the first point: the others may have fewer examples to train on.
    built = (build(point.configs[0], data) for point in sweep.points)
    (first, log_to), *_ = [(each.described, each.log_to) for each in built]
    show_notes(first, console)
    results: dict[str, list[Rows | str]] = {}
    with (
        in_use(open_directory(directory, config), console),
        tracked_sweep(directory, log_to, console) as trackers,
    ):
        keep(directory, first, console)
        for number, program in enumerate(_programs(sweep, directory), 1):
            release_programs()
            names = "; ".join(dict.fromkeys(planned.point.name for planned in program))
            console.print(
                f"program {number} of {len(sweep.programs)}: {names}", style="bold", highlight=False
            )
            about = {"across_versions": across_versions, "trackers": trackers}
            done = _run_program(program, sweep, console, data, **about)
            for planned, rows in zip(program, done, strict=True):
                results.setdefault(planned.point.name, []).append(rows)
        rows = [row for point in sweep.points for row in rows_of(point, results[point.name])]
        if is_first():
            _write_results(directory, rows, smoke=smoke)
            trackers.finish(sweep_results(directory, rows))
        write_whole(directory / "sweep.json", report.to_json(rows, smoke=smoke))
    _show(rows, console, smoke=smoke)
    console.print(closing_line(directory, began), highlight=False, markup=False)
    return rows


def _write_results(directory: Path, rows: Rows, *, smoke: bool) -> None:
    """The table, the plots and the page; `sweep.json`, which marks the sweep as finished, comes after."""
    write_whole(directory / "sweep.csv", to_csv(rows))
    sweep_report.plot(directory / "sweep.png", rows, smoke=smoke)
    rate_distortion.plot(directory / rate_distortion.FILE, rows, smoke=smoke)
    title, command = "/".join(directory.resolve().parts[-2:]), shlex.join(["python", *sys.argv])
    write_sweep_page(directory / "report.html", rows=rows, title=title, command=command, smoke=smoke)


class _Planned(NamedTuple):
    """A run of the sweep before it is built: its name for a person, its directory, its config and point."""

    name: str
    directory: Path
    config: ConfigDict
    point: Point


def _programs(sweep: Sweep, directory: Path) -> list[list[_Planned]]:
    """The runs of each program, numbered in the order in which they are made."""
    total, numbers = sum(len(point.configs) for point in sweep.points), count(1)
    return [
        [
            _Planned(
                f"run {next(numbers)} of {total}: {point.name}, seed {config.seed}",
                directory / point.name / f"seed={config.seed}",
                config,
                point,
            )
            for point in (sweep.points[i] for i in program)
            for config in point.configs
        ]
        for program in sweep.programs
    ]


def _check_finished(directory: Path, config: ConfigDict, data: Any, console: Console) -> None:
    check_finished(directory, read_sweep(config).points[0].configs[0], data, console)


def _run_program(
    program: list[_Planned],
    sweep: Sweep,
    console: Console,
    data: Any,
    *,
    across_versions: bool,
    trackers: Trackers | None,
) -> list[Rows | str]:
    """The rows of each run's `gap.json`, or the line that says where its training came to its end."""
    quiet = Console(quiet=True)
    done = [finished(planned.directory / "gap.json", planned.config, quiet) for planned in program]
    results: list[Rows | str] = [content["rows"] if content else "" for content in done]
    missing = [number for number, content in enumerate(done) if content is None]
    if not missing:
        return results
    with ExitStack() as held:
        for number in missing:
            planned = program[number]
            held.enter_context(in_use(open_directory(planned.directory, planned.config), console))
        built = _built([program[number] for number in missing], data)
        runs = [one._replace(sweep=trackers) for one in built]
        completed = [
            rows
            for part in _parts(runs, sweep.memory_bytes)
            for rows in complete(part, console, across_versions=across_versions)
        ]
        for number, one, rows in zip(missing, runs, completed, strict=True):
            results[number] = rows
            if isinstance(rows, str):
                console.print(f"{one.name}: {rows}", style="red", highlight=False)
    return results


def _built(program: list[_Planned], data: Any = None) -> list[Run]:
    """The runs with their experiments: of one build, whose functions and data all of them have."""
    first = build(program[0].config, data)

    def experiment(planned: _Planned) -> Experiment:
        if planned.config.data.name == "simulated":  # drawn from the model of its seed
            return first if planned is program[0] else build(planned.config)
        return renumbered(first, planned.config.seed, planned.point.numbers)

    return [
        Run(planned.name, planned.directory, planned.config, experiment(planned), planned.point.numbers)
        for planned in program
    ]


def _parts(runs: list[Run], memory_bytes: int) -> list[list[Run]]:
    """The runs that are trained and measured together: as many as fit, if their data are the same."""
    first = runs[0].experiment
    if any(one.experiment.train_split is not first.train_split for one in runs):
        return [[one] for one in runs]
    mesh = training_mesh(first.train.devices, first.train.batch_size)
    devices = 1 if mesh is None else mesh.shape["runs"]
    size = devices * max(1, memory_bytes // bytes_of_run(runs[0]))
    return [runs[start : start + size] for start in range(0, len(runs), size)]


def _show(rows: list[dict[str, Any]], console: Console, *, smoke: bool) -> None:
    console.print(sweep_report.table(rows, smoke=smoke))
    traded = rate_distortion.table(rows, smoke=smoke)
    if traded is not None:
        console.print(traded)
    for row in rows:
        where = ", ".join(f"{name}={value}" for name, value in row["settings"].items())
        for line in [*row["failed"], *report.remarks([row])]:
            console.print(f"{where}: {line}", style="red", highlight=False, markup=False)
