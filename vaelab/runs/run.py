"""One run: train, refit, infer, weigh the evidence, report; and the directory that remembers it.

The same command on the same directory goes on where the last one stopped, and does nothing twice: training
from its newest checkpoint, every later stage from the arrays it left in `stages/`.
"""

import io
import json
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from vaelab import report
from vaelab.config.experiment import Experiment, build
from vaelab.config.study import build_study
from vaelab.measure.rows import arrays, rows
from vaelab.measure.stages import measure
from vaelab.measure.subject import Outcome, Subject
from vaelab.measure.time import inference_time
from vaelab.report import page
from vaelab.report.log import log_results
from vaelab.report.time import flat, plot
from vaelab.runs.trained import Trained, points_of, subject_of
from vaelab.runs.training import Member, train
from vaelab.runtime.directory import finished, in_use, open_directory, stored_json, write_whole
from vaelab.runtime.processes import is_first
from vaelab.types import ConfigError, Key

NUM_PICTURES = 12


class Results(NamedTuple):
    """What a run has measured: the rows of `gap.json`, the arrays behind them, and what of, by split."""

    rows: list[dict[str, Any]]
    per_datapoint: dict[str, np.ndarray]
    measured: dict[str, tuple[Subject, Outcome]]


def run(config: ConfigDict, workdir: str, console: Console) -> list[dict[str, Any]]:
    """Runs all stages that `workdir` does not hold yet; returns the rows of its `gap.json`.

    A config with a `study` in it is computed whole, and leaves `study.json` and `study.png`; it has no rows.

    Raises ConfigError, DataError, CheckpointError or NonFiniteError, each with one line that says what to do.
    """
    directory = Path(workdir).expanduser()
    if "study" in config:
        _study(config, directory, console)
        return []
    try:
        done = finished(directory / "gap.json", config, console)
    except ConfigError:
        build(config)  # what is wrong with the config itself is the better thing to say
        raise
    if done is not None:
        _show(done["rows"], console, smoke=done.get("smoke", False))
        return done["rows"]
    experiment = build(config)
    with in_use(open_directory(directory, config), console):
        return complete(experiment, directory, console)


def complete(
    experiment: Experiment, directory: Path, console: Console, *, show: bool = True
) -> list[dict[str, Any]]:
    """What `run` does in the directory that it has opened; show: whether it prints its table."""
    trained = Trained(experiment.theta, {})
    for number, stage in enumerate(experiment.stages):
        (state,) = train([Member(experiment, trained.theta, directory)], number, console)
        trained = trained.after(stage.family, state)

    found = Results([], {}, {})
    for split in experiment.evaluate.splits:
        subject = subject_of(experiment, split, trained)
        outcome = measure(subject, split, points_of(experiment, split, trained.theta), directory, console)
        found.rows.extend(rows(subject, split, outcome))
        found.per_datapoint.update(arrays(subject, split, outcome))
        found.measured[split] = subject, outcome
    timed = _time(experiment, trained, directory, console)
    if timed:
        console.print(report.plain_table("ELBO against time", flat(timed), smoke=experiment.smoke))
    _write_results(experiment, directory, found)
    if show:
        _show(found.rows, console, smoke=experiment.smoke)
        console.print(f"results are in {directory}", highlight=False)
    return found.rows


def _time(
    experiment: Experiment, trained: Trained, directory: Path, console: Console
) -> list[dict[str, Any]]:
    """The rows of `inference_time`, or what is stored of them; [] where none is asked for."""
    settings = experiment.evaluate
    if not settings.inference_times or not trained.psis:
        return []
    name = next(iter(trained.psis))
    # The last stage of a family is the one that has its encoder.
    system = next(s.system for s in reversed(experiment.stages) if s.family == name)
    split = [name for name in settings.splits if name in experiment.inputs][-1]
    compute = partial(
        inference_time,
        experiment.latent_model,
        system.family,
        system.regime.encode,
        trained.theta,
        trained.psis[name],
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
    for row in rows:
        for problem in row["broken_orders"]:
            console.print(f"order broken on {row['split']}: {problem}", style="red", markup=False)


def _study(config: ConfigDict, directory: Path, console: Console) -> None:
    results = directory / "study.json"
    tables = finished(results, config, console)
    if tables is None:
        compute = build_study(config)
        with in_use(open_directory(directory, config), console):
            found = compute()
            tables = found.tables
            if is_first():
                found.plot(directory / "study.png")
            write_whole(results, (json.dumps(tables, indent=2) + "\n").encode())
    for title, entries in tables.items():
        console.print(report.plain_table(title, entries, smoke=config.get("smoke", False)))
    console.print(f"results are in {directory}", highlight=False)


def _write_results(experiment: Experiment, directory: Path, found: Results) -> None:
    """The plots, the arrays, and `gap.json` last, as it marks the run as finished."""
    if not is_first():
        return
    report.plot_gaps(directory / "gaps.png", found.rows, found.per_datapoint)
    if len(experiment.image_shape) == 2:
        split, (subject, outcome) = next(iter(found.measured.items()))
        pictures = _pictures(subject, split, outcome, experiment.keys.pictures)
        report.plot_images(directory / "images.png", pictures, experiment.image_shape)
    log_results(directory, found.rows, step=experiment.stages[0].num_steps)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **found.per_datapoint)
    write_whole(directory / "per_datapoint.npz", buffer.getvalue())
    _write_page(experiment, directory, found)
    write_whole(directory / "gap.json", report.to_json(found.rows, smoke=experiment.smoke))


def _write_page(experiment: Experiment, directory: Path, found: Results) -> None:
    metrics, latents, pictures = directory / "metrics.jsonl", {}, {}
    for split, (subject, outcome) in found.measured.items():
        latents |= page.latents(subject, split, outcome)
        if len(experiment.image_shape) == 2:
            shape = experiment.image_shape
            pictures |= page.pictures(subject, split, outcome, found.rows, found.per_datapoint, shape)
    page.write_page(
        directory / "report.html",
        title="/".join(directory.resolve().parts[-2:]),
        rows=found.rows,
        per_datapoint=found.per_datapoint,
        metrics=[json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else (),
        config=json.loads((directory / "config.json").read_text()),
        command=shlex.join(["python", *sys.argv]),
        versions=page.versions(),
        pictures=pictures,
        latents=latents,
    )


def _pictures(subject: Subject, split: str, outcome: Outcome, key: Key) -> dict[str, np.ndarray]:
    """Data, decodings of the centre (eps = 0) of the amortized q and of q*, draws from the model."""
    model, theta, family = subject.model, subject.theta, next(iter(subject.families.values()))
    fitted, x_NxD = outcome.fits[family.name], outcome.points.inputs.x_NxD
    decoded = page.decoded_centre(model, family)
    count = min(NUM_PICTURES, len(x_NxD))
    z_NxK = jax.random.normal(key, (count, model.latent_dim))
    return {
        f"{split} data": x_NxD[:NUM_PICTURES],
        f"by the {subject.amortized.get(family.name, 'start')}": decoded(
            theta, fitted.phi_start[:NUM_PICTURES]
        ),
        "by q*": decoded(theta, fitted.inference.phi_P[:NUM_PICTURES]),
        "from the prior": np.asarray(jax.jit(jax.vmap(model.mean, (None, 0)))(theta, z_NxK)),
    }
