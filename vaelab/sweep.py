"""A sweep: runs that differ in some settings and in their seed, and what they say together.

    DIR/POINT/seed=S/      an ordinary run, as its own command would leave it
    DIR/sweep.json, .csv   a row for each point, split and family: mean and standard error over the seeds
    DIR/sweep.png

The seeds of a point are trained as one program, and measured by one. The error over seeds says how much a
figure moves when everything is done again with other weights, batches and draws, on the same data.
"""

import csv
import io
import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from vaelab import report, sweep_report
from vaelab.build import Experiment, build, with_seed
from vaelab.build.sweep import Point, points, text
from vaelab.gap import mean_and_stderr
from vaelab.run import complete, run
from vaelab.rundir import finished, in_use, open_directory
from vaelab.train_loop import NonFiniteError
from vaelab.train_stage import Member, train

QUANTITIES = (*report.QUANTITIES.values(), "generalization_gap")


def run_sweep(config: ConfigDict, workdir: str, console: Console) -> list[dict[str, Any]]:
    """Every run of the sweep that `workdir` does not hold yet; returns the rows of its `sweep.json`.

    What is wrong with any point is said before the first begins.
    """
    directory = Path(workdir).expanduser()
    done = finished(directory / "sweep.json", config, console)
    if done is not None:
        _show(done["rows"], console)
        return done["rows"]
    places = points(config)
    for point in places:
        build(point.configs[0])
    rows = []
    with in_use(open_directory(directory, config), console):
        for number, point in enumerate(places, 1):
            console.print(f"{number} of {len(places)}: {point.name}", style="bold", highlight=False)
            rows += _rows(point, _runs(point, directory / point.name, console))
        report.write_whole(directory / "sweep.csv", _csv(rows))
        sweep_report.plot(directory / "sweep.png", rows)
        report.write_whole(directory / "sweep.json", report.to_json(rows))
    _show(rows, console)
    console.print(f"results are in {directory}", highlight=False)
    return rows


def _runs(point: Point, directory: Path, console: Console) -> list[list[dict[str, Any]] | str]:
    """The rows of each seed's `gap.json`, or the line that says where its training came to its end."""
    places = [directory / f"seed={config.seed}" for config in point.configs]
    if all((place / "gap.json").exists() for place in places):
        quiet = Console(quiet=True)
        return [run(c, str(p), quiet) for c, p in zip(point.configs, places, strict=True)]
    first = build(point.configs[0])
    experiments = [first, *(_again(first, config) for config in point.configs[1:])]
    with ExitStack() as held:
        for config, place in zip(point.configs, places, strict=True):
            held.enter_context(in_use(open_directory(place, config), console))
        return _complete(point, experiments, places, console)


def _complete(
    point: Point, experiments: list[Experiment], places: list[Path], console: Console
) -> list[list[dict[str, Any]] | str]:
    """Trains all seeds of the point together, then measures each."""
    failed = _train(experiments, places, console)
    found: list[list[dict[str, Any]] | str] = []
    for number, (config, place) in enumerate(zip(point.configs, places, strict=True)):
        if number in failed:
            console.print(f"seed {config.seed}: {failed[number]}", style="red", highlight=False)
            found.append(failed[number])
            continue
        console.print(f"seed {config.seed}", highlight=False)
        try:
            found.append(complete(experiments[number], place, console, show=False))
        except NonFiniteError as error:  # trained alone, as another seed was elsewhere or its data differ
            console.print(f"seed {config.seed}: {error}", style="red", highlight=False)
            found.append(str(error))
    return found


def _again(experiment: Experiment, config: ConfigDict) -> Experiment:
    """The experiment of a config that differs in its seed: the same functions, so that nothing is compiled
    anew, where the data do not come from the seed."""
    return build(config) if config.data.name == "simulated" else with_seed(experiment, config.seed)


def _train(experiments: list[Experiment], places: list[Path], console: Console) -> dict[int, str]:
    """Trains all seeds through all stages together; {number: line} of those that came to their end."""
    if any(experiment.train_split is not experiments[0].train_split for experiment in experiments):
        return {}  # their data differ: each is trained alone, by `complete`
    failed: dict[int, str] = {}
    thetas = {number: experiment.theta for number, experiment in enumerate(experiments)}
    for stage in range(len(experiments[0].stages)):
        numbers = list(thetas)
        members = [Member(experiments[n], thetas[n], places[n]) for n in numbers]
        for n, state in zip(numbers, train(members, stage, console) if members else [], strict=True):
            if isinstance(state, str):
                failed[n] = state
                del thetas[n]
            else:
                thetas[n] = state.theta
    return failed


def _rows(point: Point, runs: list[list[dict[str, Any]] | str]) -> list[dict[str, Any]]:
    """A row for each split and family: every quantity's mean over the seeds with its standard error."""
    good = [rows for rows in runs if not isinstance(rows, str)]
    settings = {name: text(value) for name, value in point.settings.items()}
    failed = [line for line in runs if isinstance(line, str)]
    if not good:
        nothing = {"split": None, "family": None, "num_seeds": 0, "broken_orders": []}
        return [{"settings": settings, "failed": failed, **nothing}]
    found = []
    for same in zip(*good, strict=True):
        row: dict[str, Any] = {
            "settings": settings,
            "split": same[0]["split"],
            "family": same[0]["family"],
            "amortized_by": same[0]["amortized_by"],
            "num_seeds": len(same),
            "num_points": same[0]["num_points"],
            "failed": failed,
            "broken_orders": list(dict.fromkeys(problem for r in same for problem in r["broken_orders"])),
        }
        for quantity in report.QUANTITIES.values():
            values = [r[quantity]["mean"] if r[quantity] else None for r in same]
            missing = any(value is None for value in values)
            row[quantity] = None if missing else _over_seeds(np.float64(values), same, quantity)
        row["generalization_gap"] = None
        if row["split"] == "test":
            row["generalization_gap"] = _generalization(good, row["family"])
        for count in ("num_unconverged", "num_broken_orders"):
            row[count] = sum(_count(r[count]) for r in same)
        found.append(row)
    return found


def _generalization(runs: list[list[dict[str, Any]]], family: str) -> dict[str, float] | None:
    """What L[q_phi] is lower by on test data than on training data; both are of each seed's own run.

    None where phi comes from elsewhere on the one than on the other, as a table's does.
    """
    found = []
    for rows in runs:
        mine = [row for row in rows if row["family"] == family]
        of = {row["split"]: row["elbo_amortized"] for row in mine}
        sources = {row["amortized_by"] for row in mine if row["split"] in ("train", "test")}
        if not of.get("train") or not of.get("test") or len(sources) > 1:
            return None
        difference = of["train"]["mean"] - of["test"]["mean"]
        found.append((difference, math.hypot(of["train"]["stderr"], of["test"]["stderr"])))
    differences = np.array([difference for difference, _ in found])
    if len(found) > 1:
        return mean_and_stderr(differences)
    return {"mean": float(differences[0]), "stderr": found[0][1]}


def _over_seeds(values_R: np.ndarray, same: tuple[dict[str, Any], ...], quantity: str) -> dict[str, float]:
    """mean and stderr over seeds; of a single seed the error is that over its datapoints."""
    if len(values_R) > 1:
        return mean_and_stderr(values_R)
    return {"mean": float(values_R[0]), "stderr": same[0][quantity]["stderr"]}


def _count(value: int | dict[str, int]) -> int:
    return sum(value.values()) if isinstance(value, dict) else value


def _csv(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row["settings"]))
    errors = [f"{quantity}{part}" for quantity in QUANTITIES for part in ("", "_stderr")]
    writer = csv.writer(buffer)
    writer.writerow([*names, "split", "family", "num_seeds", *errors])
    for row in rows:
        statistics = [row.get(quantity) or {"mean": "", "stderr": ""} for quantity in QUANTITIES]
        cells = [cell for s in statistics for cell in (s["mean"], s["stderr"])]
        about = [row["settings"].get(name, "") for name in names]
        writer.writerow([*about, row["split"], row["family"], row["num_seeds"], *cells])
    return buffer.getvalue().encode()


def _show(rows: list[dict[str, Any]], console: Console) -> None:
    console.print(sweep_report.table(rows))
    for row in rows:
        where = ", ".join(f"{name}={value}" for name, value in row["settings"].items())
        problems = [f"order broken on {row['split']}: {order}" for order in row["broken_orders"]]
        for line in [*row["failed"], *problems]:
            console.print(f"{where}: {line}", style="red", highlight=False, markup=False)
