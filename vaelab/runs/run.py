"""One run: train, refit, infer, weigh the evidence, report; and the directory that remembers it.

The same command on the same directory goes on where the last one stopped, and does nothing twice: training
from its newest checkpoint, every later stage from the arrays it left in `stages/`. A run is a list of one.
"""

import io
import json
import shlex
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from vaelab import report
from vaelab.config.experiment import Experiment, build
from vaelab.config.study import build_study
from vaelab.errors import ConfigError
from vaelab.measure.pictures import Pictures, drawable, held_out, pictures, said_of
from vaelab.measure.rows import arrays, rows
from vaelab.measure.stages import Measurement, measure
from vaelab.measure.subject import Outcome, Subject
from vaelab.measure.time import inference_time
from vaelab.report import weights
from vaelab.report.log import log_results, statistics
from vaelab.report.page import measured
from vaelab.report.page.run import write_page
from vaelab.report.time import flat, plot
from vaelab.report.tracked import Results as Told
from vaelab.runs.closing import closing_line
from vaelab.runs.data import check_finished, keep, show_notes, with_data, with_reading
from vaelab.runs.origin import read_origin
from vaelab.runs.overwrite import make_room
from vaelab.runs.tracking import tracked
from vaelab.runs.trained import Trained, points_of, subject_of
from vaelab.runs.training import Run, train
from vaelab.runtime.directory import as_directory, finished, in_use, open_directory, stored_json, write_whole
from vaelab.runtime.processes import is_first
from vaelab.runtime.versions import Versions, keep_versions
from vaelab.training.skipped import NonFiniteError

Rows = list[dict[str, Any]]


class Results(NamedTuple):
    """What a run has measured: the rows of `gap.json`, the arrays behind them, and what of, by split."""

    rows: Rows
    per_datapoint: dict[str, np.ndarray]
    measured: dict[str, tuple[Subject, Outcome]]


def run(
    config: ConfigDict,
    workdir: str | Path,
    console: Console | None = None,
    *,
    data: Any = None,
    start: str | Path | None = None,
    across_versions: bool = False,
    overwrite: str | None = None,
) -> Rows:
    """Runs all stages that `workdir` does not hold yet; returns the rows of its `gap.json`.

    A config with a `study` in it is computed whole, and leaves `study.json` and `study.png`; it has no rows.

    config: as `get_config()` of an experiment file returns it. workdir: made if need be; the same call on it
    goes on where the last one stopped. console: where progress and tables are printed; the terminal if not
    given, `Console(quiet=True)` for none. data: in the place of those that the config names: of
    `vaelab.data.from_arrays`, or a sequence of examples, an array or a torch Dataset say, which config.data
    divides. start: the directory of a finished run, whose training goes on here from its last checkpoint; the
    config may differ from its own in the schedule and in what is measured. across_versions: goes on with a
    run that was begun under other versions of JAX and the like, or on another kind of device; `gap.json` then
    says so. overwrite: the name of the directory, for a run of another config in it to be removed first; see
    `vaelab.runs.overwrite`. Rows are in nats per datapoint, means with standard errors.

    Raises ConfigError, DataError, CheckpointError or NonFiniteError, each with one line that says what to do.
    """
    began = time.perf_counter()
    console, directory, config = console or Console(), as_directory(workdir), with_data(config, data)
    if overwrite is not None:
        checked = partial(build_study, config) if "study" in config else partial(build, config, data)
        make_room(directory, overwrite, config, checked, console)
    if "study" in config:
        if start is not None:
            raise ConfigError(f"--from={start}: a study trains nothing")
        _study(config, directory, console)
        console.print(closing_line(directory, began, page="study.png"), highlight=False, markup=False)
        return []
    asked, origin = config, None
    if start is not None:
        origin = read_origin(start, directory, config)
        config = origin.written_into(config)
    try:
        same = partial(check_finished, directory, config, data, console)
        done = finished(directory / "gap.json", config, console, same)
    except ConfigError:
        build(asked, data)  # what is wrong with the config itself is the better thing to say
        raise
    if done is not None:
        _show(done["rows"], console, smoke=done.get("smoke", False))
        return done["rows"]
    one = Run(directory.name, directory, config, build(asked, data), origin=origin)
    if origin is not None:
        origin.check_data(one.experiment.described)
    show_notes(one.experiment.described, console)
    if said := said_of(one.experiment.image_shape):
        console.print(said, highlight=False, markup=False)
    with in_use(open_directory(directory, config), console):
        (results,) = complete([one], console, across_versions=across_versions)
    if isinstance(results, str):
        raise NonFiniteError(results)
    _show(results, console, smoke=one.experiment.smoke)
    console.print(closing_line(directory, began), highlight=False, markup=False)
    return results


def complete(runs: Sequence[Run], console: Console, *, across_versions: bool = False) -> list[Rows | str]:
    """Trains, measures and writes all of these runs, whose directories are open; the rows of each.

    They differ in their seeds and in numbers alone, and have the same data, so that every stage of several is
    one program. A run whose training came to its end has the line that says where in the place of its rows.
    """
    made_with = {}
    for one in runs:
        keep(one.directory, one.experiment.described, console)
        begun = None if one.origin is None else one.origin.versions
        made_with[one.directory] = keep_versions(one.directory, console, across=across_versions, begun=begun)
    with tracked(runs, console) as told:
        return _complete(told, console, made_with)


def _complete(
    runs: Sequence[Run], console: Console, made_with: dict[Path, list[Versions]]
) -> list[Rows | str]:
    trained = train(runs, console)
    going_on = [number for number, each in enumerate(trained) if not isinstance(each, str)]
    results: list[Rows | str] = [each if isinstance(each, str) else [] for each in trained]
    if not going_on:
        return results
    measured = _measured([runs[n] for n in going_on], [trained[n] for n in going_on], console)
    for number, outcome in zip(going_on, measured, strict=True):
        one = runs[number]
        if len(runs) > 1:
            console.print(one.name, highlight=False)
        timed = _time(one.experiment, trained[number], one.directory, console)
        if timed:
            table = report.plain_table("ELBO against time", flat(timed), smoke=one.experiment.smoke)
            console.print(table)
        _write_results(one, trained[number], outcome, made_with[one.directory])
        results[number] = outcome.rows
    return results


def _measured(runs: Sequence[Run], trained: Sequence[Trained], console: Console) -> list[Results]:
    """Every split of every run, all runs together."""
    results = [Results([], {}, {}) for _ in runs]
    for split in runs[0].experiment.evaluate.splits:
        measurements = [
            Measurement(
                subject_of(one.experiment, split, each),
                points_of(one.experiment, split, each.theta),
                one.directory,
            )
            for one, each in zip(runs, trained, strict=True)
        ]
        outcomes = measure(measurements, split, console)
        for result, measurement, outcome in zip(results, measurements, outcomes, strict=True):
            result.rows.extend(rows(measurement.subject, split, outcome))
            result.per_datapoint.update(arrays(measurement.subject, split, outcome))
            result.measured[split] = measurement.subject, outcome
    return results


def _time(
    experiment: Experiment, trained: Trained, directory: Path, console: Console
) -> list[dict[str, Any]]:
    """The rows of `inference_time`, or what is stored of them; [] where none is asked for."""
    settings = experiment.evaluate
    if not settings.inference_times or not trained.encoders:
        return []
    name, encoder = next(iter(trained.encoders.items()))
    split = [name for name in settings.splits if name in experiment.inputs][-1]
    compute = partial(
        inference_time,
        experiment.latent_model,
        encoder.family,
        encoder.regime.encode,
        trained.theta,
        encoder.psi,
        experiment.inputs[split],
        settings.inference_times,
        settings=settings.inference[name],
        memory=settings.memory,
        keys=experiment.keys,
    )
    rows = stored_json(directory / "stages" / "inference_time.json", compute, console)
    if is_first():
        plot(directory / "inference_time.png", rows)
    return rows


def _show(rows: list[dict[str, Any]], console: Console, *, smoke: bool) -> None:
    console.print(report.gap_table(rows, smoke=smoke))
    for line in report.remarks(rows):
        console.print(line, style="red", highlight=False, markup=False)


def _study(config: ConfigDict, directory: Path, console: Console) -> None:
    results = directory / "study.json"
    tables = finished(results, config, console)
    if tables is None:
        compute = build_study(config)
        with in_use(open_directory(directory, config), console):
            finding = compute()
            tables = finding.tables
            if is_first():
                finding.plot(directory / "study.png")
            write_whole(results, (json.dumps(tables, indent=2) + "\n").encode())
    for title, entries in tables.items():
        console.print(report.plain_table(title, entries, smoke=config.get("smoke", False)))


def _write_results(one: Run, trained: Trained, results: Results, made_with: list[Versions]) -> None:
    """The plots, the arrays, the weights, and `gap.json` last, as it marks the run as finished."""
    if not is_first():
        return
    experiment, directory = one.experiment, one.directory
    report.plot_gaps(directory / "gaps.png", results.rows, results.per_datapoint)
    drawn = _drawn(experiment, results)
    if drawn is not None:
        report.plot_pictures(directory, drawn)
    if "tensorboard" in experiment.log_to:
        log_results(directory, results.rows, step=experiment.stages[0].num_steps)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **results.per_datapoint)
    write_whole(directory / "per_datapoint.npz", buffer.getvalue())
    psis = {f"encoder/{name}": encoder.psi for name, encoder in trained.encoders.items()}
    config = json.loads((directory / "config.json").read_text())
    weights.write_weights(directory / weights.FILE, {"theta": trained.theta, **psis}, config)
    _write_page(experiment, directory, results, drawn)
    if one.trackers is not None:
        total = sum(stage.num_steps for stage in experiment.stages)
        pictures = sorted(directory.glob("*.png"))
        one.trackers.finish(Told(statistics(results.rows), total, pictures, directory / "report.html"))
    about = {"smoke": experiment.smoke, "versions": made_with, "training": trained.stages}
    write_whole(directory / "gap.json", report.to_json(results.rows, **about))


def _drawn(experiment: Experiment, results: Results) -> Pictures | None:
    """What the model makes of z, on data that it was not trained on; None where x is no image, or has a y."""
    if not drawable(experiment.image_shape) or experiment.latent_model.given is not None:
        return None
    split = held_out(results.measured)
    subject, outcome = results.measured[split]
    name = next(iter(subject.families))
    row = next(row for row in results.rows if (row["split"], row["family"]) == (split, name))
    shown = row.get("diagnostics")
    return pictures(subject, split, outcome, experiment.keys.pictures, experiment.image_shape, shown)


def _write_page(experiment: Experiment, directory: Path, results: Results, drawn: Pictures | None) -> None:
    metrics, latents, worst = directory / "metrics.jsonl", {}, {}
    for split, (subject, outcome) in results.measured.items():
        latents |= measured.latents(subject, split, outcome)
        if drawn is not None:
            shape = experiment.image_shape
            worst |= measured.pictures(subject, split, outcome, results.rows, results.per_datapoint, shape)
    write_page(
        directory / "report.html",
        title="/".join(directory.resolve().parts[-2:]),
        rows=results.rows,
        per_datapoint=results.per_datapoint,
        metrics=[json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else (),
        config=with_reading(json.loads((directory / "config.json").read_text()), directory),
        command=shlex.join(["python", *sys.argv]),
        versions=measured.versions(),
        pictures=worst,
        latents=latents,
        drawn=drawn,
    )
