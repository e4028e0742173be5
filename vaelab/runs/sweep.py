"""A sweep: runs that differ in some settings and in their seed, and what they say together.

    DIR/POINT/seed=S/      an ordinary run, as its own command would leave it
    DIR/sweep.json, .csv   a row for each point, split and family: mean and standard error over the seeds
    DIR/sweep.png

The seeds of a point are trained as one program, with those of all points that differ from it only in numbers
that such a program takes, and measured by one. The error over seeds says how much a figure moves when
everything is done again with other weights, batches and draws, on the same data.
"""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict
from rich.console import Console

from vaelab import report
from vaelab.config.experiment import Experiment, build, renumbered
from vaelab.config.sweep import Point, Sweep, read_sweep
from vaelab.measure.together import Run, fit_runs, weigh_runs
from vaelab.report import sweep as sweep_report
from vaelab.runs.run import complete, run
from vaelab.runs.sweep_rows import rows_of, to_csv
from vaelab.runs.trained import Trained, points_of, subject_of
from vaelab.runs.training import Member, bytes_of_run, train
from vaelab.runtime.devices import training_mesh
from vaelab.runtime.directory import finished, in_use, open_directory, write_whole
from vaelab.runtime.memory import release_programs
from vaelab.runtime.processes import is_first, of_first
from vaelab.training.loop import NonFiniteError
from vaelab.types import ConfigError

Rows = list[dict[str, Any]]


class _Run(NamedTuple):
    """One run of the sweep: its name for a person, its place and its point."""

    name: str
    directory: Path
    config: ConfigDict
    point: Point


def run_sweep(config: ConfigDict, workdir: str, console: Console) -> Rows:
    """Every run of the sweep that `workdir` does not hold yet; returns the rows of its `sweep.json`.

    What is wrong with any point is said before the first begins.
    """
    directory = Path(workdir).expanduser()
    done = finished(directory / "sweep.json", config, console)
    if done is not None:
        _show(done["rows"], console, smoke=done.get("smoke", False))
        return done["rows"]
    sweep, smoke = read_sweep(config), config.get("smoke", False)
    for point in sweep.points:
        build(point.configs[0])
    found: dict[str, list[Rows | str]] = {}
    with in_use(open_directory(directory, config), console):
        for number, runs in enumerate(_runs(sweep, directory), 1):
            release_programs()
            names = "; ".join(dict.fromkeys(one.point.name for one in runs))
            console.print(
                f"program {number} of {len(sweep.programs)}: {names}", style="bold", highlight=False
            )
            for one, rows in zip(runs, _rows_of_runs(runs, sweep.memory_bytes, console), strict=True):
                found.setdefault(one.point.name, []).append(rows)
        rows = [row for point in sweep.points for row in rows_of(point, found[point.name])]
        write_whole(directory / "sweep.csv", to_csv(rows))
        if is_first():
            sweep_report.plot(directory / "sweep.png", rows)
        write_whole(directory / "sweep.json", report.to_json(rows, smoke=smoke))
    _show(rows, console, smoke=smoke)
    console.print(f"results are in {directory}", highlight=False)
    return rows


def _runs(sweep: Sweep, directory: Path) -> list[list[_Run]]:
    """The runs of each program, numbered in the order in which they are made."""
    total, numbers = sum(len(point.configs) for point in sweep.points), count(1)
    return [
        [
            _Run(
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


def _rows_of_runs(runs: list[_Run], memory_bytes: int, console: Console) -> list[Rows | str]:
    """The rows of each run's `gap.json`, or the line that says where its training came to its end."""
    if of_first(lambda: all((one.directory / "gap.json").exists() for one in runs)):
        quiet = Console(quiet=True)
        return [run(one.config, str(one.directory), quiet) for one in runs]
    first = build(runs[0].config)
    experiments = [_experiment(first, one) for one in runs]
    with ExitStack() as held:
        for one in runs:
            held.enter_context(in_use(open_directory(one.directory, one.config), console))
        failed: dict[int, str] = {}
        # Where the data differ, as simulated ones of several seeds do, each is trained alone, by `complete`.
        if all(experiment.train_split is first.train_split for experiment in experiments):
            members = [
                Member(experiment, experiment.theta, one.directory, one.point.numbers)
                for experiment, one in zip(experiments, runs, strict=True)
            ]
            mesh = training_mesh(first.train.devices, first.train.batch_size)
            parts = 1 if mesh is None else mesh.shape["runs"]
            size = parts * max(1, memory_bytes // bytes_of_run(members[0]))
            for start in range(0, len(members), size):
                part = members[start : start + size]
                lines, trained = _train(part, console)
                failed |= {start + number: line for number, line in lines.items()}
                _measure(part, trained, console)
        return [
            _complete(experiment, one, failed.get(number), console)
            for number, (experiment, one) in enumerate(zip(experiments, runs, strict=True))
        ]


def _experiment(first: Experiment, one: _Run) -> Experiment:
    """The experiment of a run that differs from the first in its seed and numbers."""
    if one.config.data.name == "simulated":  # drawn from the model of its seed
        return build(one.config)
    return renumbered(first, one.config.seed, one.point.numbers)


def _train(members: Sequence[Member], console: Console) -> tuple[dict[int, str], dict[int, Trained]]:
    """Trains all of them through all stages together.

    Returns the line of each that came to its end, and what training left of each other one, by number.
    """
    failed: dict[int, str] = {}
    left = dict(enumerate(members))
    trained = {number: Trained(member.theta, {}) for number, member in left.items()}
    for stage, of_stage in enumerate(members[0].experiment.stages):
        numbers = list(left)
        for n, state in zip(numbers, train(list(left.values()), stage, console) if left else [], strict=True):
            if isinstance(state, str):
                failed[n] = state
                del left[n], trained[n]
            else:
                left[n] = left[n]._replace(theta=state.theta)
                trained[n] = trained[n].after(of_stage.family, state)
    return failed, trained


def _measure(members: Sequence[Member], trained: dict[int, Trained], console: Console) -> None:
    """Fits and evidence of the trained runs together, as far as their memory goes."""
    if len(trained) < 2:
        return
    for split in members[0].experiment.evaluate.splits:
        runs = [
            Run(
                subject_of(members[n].experiment, split, found),
                points_of(members[n].experiment, split, found.theta),
                members[n].directory,
            )
            for n, found in trained.items()
        ]
        for stage in (fit_runs, weigh_runs):
            with suppress(ConfigError):  # one datapoint of all runs is more than the memory: each by itself
                stage(runs, split, console)


def _complete(experiment: Experiment, one: _Run, failed: str | None, console: Console) -> Rows | str:
    """Measures a trained run; what is left to be trained, as its data are its own, is trained first."""
    if failed is None:
        console.print(one.name, highlight=False)
        try:
            return complete(experiment, one.directory, console, show=False)
        except NonFiniteError as error:
            failed = str(error)
    console.print(f"{one.name}: {failed}", style="red", highlight=False)
    return failed


def _show(rows: list[dict[str, Any]], console: Console, *, smoke: bool) -> None:
    console.print(sweep_report.table(rows, smoke=smoke))
    for row in rows:
        where = ", ".join(f"{name}={value}" for name, value in row["settings"].items())
        problems = [f"order broken on {row['split']}: {order}" for order in row["broken_orders"]]
        for line in [*row["failed"], *problems]:
            console.print(f"{where}: {line}", style="red", highlight=False, markup=False)
