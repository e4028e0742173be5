"""One run: train, refit, infer, weigh the evidence, report; and the directory that remembers it.

The same command on the same directory goes on where the last one stopped, and does nothing twice: training
from its newest checkpoint, every later stage from the arrays it left in `stages/`.
"""

import io
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from vaelab import report
from vaelab.build import Experiment, build, build_study
from vaelab.checkpoint import Checkpointer
from vaelab.measure import Outcome, measure
from vaelab.rows import arrays, rows
from vaelab.rundir import finished, open_directory
from vaelab.train import TrainState, evaluator, fit, init_state
from vaelab.types import Params

NUM_PICTURES = 12


def run(config: ConfigDict, workdir: str, console: Console) -> list[dict[str, Any]]:
    """Runs all stages that `workdir` does not hold yet; returns the rows of its `gap.json`.

    A config with a `study` in it is computed whole, and leaves `study.json` and `study.png`; it has no rows.

    Raises ConfigError, DataError, CheckpointError or NonFiniteError, each with one line that says what to do.
    """
    directory = Path(workdir).expanduser()
    if "study" in config:
        _study(config, directory, console)
        return []
    done = finished(directory / "gap.json", config, console)
    if done is not None:
        _show(done["rows"], console)
        return done["rows"]
    experiment = build(config)
    open_directory(directory, config)
    psis, theta = {}, experiment.theta
    for number, name in enumerate(experiment.systems):
        if experiment.num_steps(name):
            state = _train(experiment, name, number, theta, directory, console)
            theta, psis[name] = state.theta, state.psi

    found, per_datapoint, outcomes = [], {}, {}
    for split in experiment.evaluate.splits:
        outcomes[split] = measure(experiment, split, theta, psis, directory, console)
        found += rows(experiment, split, theta, outcomes[split], set(psis))
        per_datapoint |= arrays(split, outcomes[split], set(psis))
    _write_results(experiment, directory, found, per_datapoint, outcomes, theta)
    _show(found, console)
    console.print(f"results are in {directory}", highlight=False)
    return found


def _show(rows: list[dict[str, Any]], console: Console) -> None:
    console.print(report.gap_table(rows))
    for row in rows:
        for problem in row["broken_orders"]:
            console.print(f"order broken on {row['split']}: {problem}", style="red", markup=False)


def _study(config: ConfigDict, directory: Path, console: Console) -> None:
    results = directory / "study.json"
    tables = finished(results, config, console)
    if tables is None:
        compute = build_study(config)
        open_directory(directory, config)
        found = compute()
        tables = found.tables
        found.plot(directory / "study.png")
        report.write_whole(results, (json.dumps(tables, indent=2) + "\n").encode())
    for title, entries in tables.items():
        console.print(report.plain_table(title, entries))
    console.print(f"results are in {directory}", highlight=False)


def _train(
    experiment: Experiment, name: str, number: int, theta: Params, directory: Path, console: Console
) -> TrainState:
    """Trains one family's system from its newest checkpoint, or from the start, to its last step."""
    settings, keys = experiment.train, experiment.keys
    system, num_steps = experiment.systems[name], experiment.num_steps(name)
    stage = f"refit_{name}" if number else "train"
    key = jax.random.fold_in(keys.train, number)
    log = report.MetricsLog(directory / "metrics.jsonl")
    template = init_state(system, jax.random.fold_in(keys.encoder, number), theta)
    evaluate = evaluator(system, num_samples=settings.validation_samples, chunk_size=1000)
    with Checkpointer(
        directory / "checkpoints" / stage, max_to_keep=settings.keep_checkpoints
    ) as checkpoints:
        restored = checkpoints.restore_latest(template)
        start, state = restored or (0, template)
        log.forget_after(stage, start)
        if start >= num_steps:
            return state
        if start:
            console.print(f"{stage} goes on from step {start}", highlight=False)
        with report.progress_bar(console, stage.replace("_", " "), num_steps, "steps") as advance:
            advance(start)
            began = time.perf_counter()
            for progress in fit(
                state,
                experiment.train_split.pixels_NxD,
                experiment.train_split.index_N,
                key,
                system=system,
                order_seed=experiment.order_seed,
                num_steps=num_steps,
                batch_size=settings.batch_size,
                chunk_size=settings.chunk_size,
                max_skipped=settings.max_skipped,
            ):
                state, metrics = progress.state, progress.metrics
                step, values = int(state.step), _chunk_values(settings.bound_name, metrics)
                for line in progress.skipped:
                    console.print(f"left out {line}", style="red", highlight=False)
                if progress.skipped:
                    values["num_skipped"] = len(progress.skipped)
                if step % settings.evaluate_every == 0 or step == num_steps:
                    values["validation_elbo"], values["validation_stderr"] = evaluate(
                        state.theta, state.psi, *experiment.validation, keys.evaluate
                    )
                log.write(stage, step, **values, seconds=time.perf_counter() - began)
                shown = (settings.bound_name, "validation_elbo")
                advance(len(metrics.bound), **{name: values[name] for name in shown if name in values})
                if step % settings.checkpoint_every == 0 or step == num_steps:
                    checkpoints.save(step, state)
    return state


def _chunk_values(bound_name: str, metrics: Any) -> dict[str, float]:
    """Means over the chunk's steps that were taken."""
    taken = np.isfinite(metrics.bound) & np.isfinite(metrics.grad_norm)
    if not taken.any():
        return {}
    return {
        bound_name: float(np.mean(metrics.bound[taken])),
        "grad_norm": float(np.mean(metrics.grad_norm[taken])),
    }


def _write_results(
    experiment: Experiment,
    directory: Path,
    rows: list[dict[str, Any]],
    per_datapoint: dict[str, np.ndarray],
    outcomes: dict[str, Outcome],
    theta: Params,
) -> None:
    """The plots, the arrays, and `gap.json` last, as it marks the run as finished."""
    report.plot_gaps(directory / "gaps.png", rows, per_datapoint)
    if len(experiment.image_shape) == 2:
        report.plot_images(
            directory / "images.png", _pictures(experiment, outcomes, theta), experiment.image_shape
        )
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **per_datapoint)
    report.write_whole(directory / "per_datapoint.npz", buffer.getvalue())
    report.write_whole(directory / "gap.json", report.to_json(rows))


def _pictures(experiment: Experiment, outcomes: dict[str, Outcome], theta: Params) -> dict[str, np.ndarray]:
    """Data, reconstructions at the centre (eps = 0) of the encoder's q and of q*, draws from the model."""
    latent_model, family = experiment.latent_model, experiment.systems[next(iter(experiment.systems))].family
    split, outcome = next(iter(outcomes.items()))
    fitted, x_NxD = outcome.fits[family.name], outcome.points.inputs.x_NxD
    decode = jax.jit(jax.vmap(latent_model.mean, (None, 0)))

    def at_mean(phi_NxP: np.ndarray) -> np.ndarray:
        centre = jax.jit(jax.vmap(family.reparameterize, (0, None)))
        z_NxK = centre(phi_NxP[:NUM_PICTURES], jnp.zeros(latent_model.latent_dim))
        return np.asarray(decode(theta, z_NxK))

    count = min(NUM_PICTURES, len(x_NxD))
    z_NxK = jax.random.normal(experiment.keys.pictures, (count, latent_model.latent_dim))
    return {
        split: x_NxD[:NUM_PICTURES],
        "encoder": at_mean(fitted.phi_start),
        "optimum": at_mean(fitted.inference.phi_P),
        "model": np.asarray(decode(theta, z_NxK)),
    }
