"""The training stages of a list of runs: their logs, their validation, their checkpoints."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from vaelab.config.experiment import Experiment
from vaelab.config.train import Stage
from vaelab.data.rows import Rows
from vaelab.report.log import MetricsLog
from vaelab.runs.trained import Trained
from vaelab.runtime.processes import greatest
from vaelab.runtime.progress import progress_bar
from vaelab.runtime.signals import Stopped, deferred
from vaelab.training.loop import Progress, Start, bytes_per_run, fit
from vaelab.training.recipe import NUMBERS
from vaelab.training.step import TrainState, init_state
from vaelab.training.validation import evaluate
from vaelab.types import Params


class Run(NamedTuple):
    """One run: its name for a person, its directory, its config and the experiment that this asks for.

    numbers: those of its objective and optimizer in which the runs of a program differ, by dotted name.
    """

    name: str
    directory: Path
    config: ConfigDict
    experiment: Experiment
    numbers: Mapping[str, float] = {}


def bytes_of_run(run: Run) -> int:
    """Bytes that one run more takes in a training of several, about: the most of its stages."""
    experiment = run.experiment
    split = experiment.train_split

    return max(
        bytes_per_run(
            # Of a program with compiler options there is no trace inside of another.
            init_state.jitted.eval_shape(stage.system, jax.random.key(0), experiment.theta),
            split.pixels_NxD,
            split.index_N,
            system=stage.recipe({}),
            batch_size=experiment.train.batch_size,
        )
        for stage in experiment.stages
    )


def train(runs: Sequence[Run], console: Console) -> list[Trained | str]:
    """What each run has after all its stages, or the line that says where its training came to its end."""
    results: list[Trained | str] = [Trained(run.experiment.theta, {}) for run in runs]
    for number, stage in enumerate(runs[0].experiment.stages):
        going_on = [run for run, trained in enumerate(results) if not isinstance(trained, str)]
        thetas = [results[run].theta for run in going_on]
        states = train_stage([runs[run] for run in going_on], thetas, number, console) if going_on else []
        for run, state in zip(going_on, states, strict=True):
            results[run] = state if isinstance(state, str) else results[run].after(stage, state)
    return results


def train_stage(
    runs: Sequence[Run], thetas: Sequence[Params], number: int, console: Console
) -> list[TrainState | str]:
    """The state of each run after its stage of this number, from its newest checkpoint or from the start.

    Those that are at the same step go on as one compiled program. A run that meets a value that is not finite
    does not stop the others: in the place of its state comes the line that says where.
    """
    stage = runs[0].experiment.stages[number]
    with ExitStack() as stack:
        stores = [_Store(run, theta, number, stack) for run, theta in zip(runs, thetas, strict=True)]
        results: list[TrainState | str] = [store.state for store in stores]
        # Killed between their checkpoints, or as one of them has failed, they may be at several steps.
        for start in sorted({store.start for store in stores} - {stage.num_steps}):
            same = [run for run, store in enumerate(stores) if store.start == start]
            states = _train(stage, [stores[run] for run in same], console)
            for run, state in zip(same, states, strict=True):
                results[run] = state
    return results


class _Store:
    """What one run keeps of its training: where it is, its log and its checkpoints."""

    def __init__(self, run: Run, theta: Params, number: int, stack: ExitStack):
        from vaelab.runtime.checkpoint import Checkpointer  # half a second of Orbax, once a run is trained

        experiment, stage = run.experiment, run.experiment.stages[number]
        self.experiment, self.numbers = experiment, run.numbers
        self.key = jax.random.fold_in(experiment.keys.train, number)
        self.checkpoints = stack.enter_context(
            Checkpointer(
                run.directory / "checkpoints" / stage.name,
                max_to_keep=experiment.train.keep_checkpoints,
            )
        )
        template = init_state(stage.system, jax.random.fold_in(experiment.keys.encoder, number), theta)
        self.start, self.state = self.checkpoints.restore_latest(template) or (0, template)
        self.log = MetricsLog(run.directory, stage.name, self.start)

    def as_start(self) -> Start:
        numbers = {name: number for name, number in self.numbers.items() if name in NUMBERS}
        return Start(self.state, self.key, self.experiment.order_seed, numbers)

    def keep(
        self, progress: Progress, validation: dict[str, float], seconds: float, *, last: bool
    ) -> dict[str, float]:
        """Writes a chunk's line, and a checkpoint where one is due or it is the last; returns the values."""
        settings, step = self.experiment.train, progress.step
        values = _means(settings.bound_name, progress) | validation
        if progress.skipped:
            values["num_skipped"] = len(progress.skipped)
        self.log.write(step, **values, seconds=seconds)
        if last or step % settings.checkpoint_every == 0:
            self.checkpoints.save(step, progress.state)
        self.state = progress.state
        return values

    def validation(self, stage: Stage, progress: Progress) -> dict[str, float]:
        x_NxD, index_N = self.experiment.validation
        # What does not fit into memory does not a thousand at a time either.
        chunk_size = self.experiment.evaluate.memory if isinstance(x_NxD, Rows) else 1000
        elbo, stderr = evaluate(
            stage.system,
            progress.state.theta,
            progress.state.psi,
            x_NxD,
            index_N,
            self.experiment.keys.evaluate,
            num_samples=self.experiment.train.validation_samples,
            chunk_size=chunk_size,
        )
        return {"validation_elbo": elbo, "validation_stderr": stderr}


def _train(stage: Stage, stores: list[_Store], console: Console) -> list[TrainState | str]:
    experiment, start = stores[0].experiment, stores[0].start
    settings, names = experiment.train, (experiment.train.bound_name, "validation_elbo")
    name = stage.name.replace("_", " ")
    title = name if len(stores) == 1 else f"{name}, {len(stores)} runs"
    if start:
        console.print(f"{stage.name} goes on from step {start}", highlight=False)
    failed: dict[int, str] = {}
    bar = progress_bar(console, title, stage.num_steps, "steps", done=start)
    with deferred() as signalled, bar as advance:
        seconds, began = 0.0, time.perf_counter()  # of the steps, without validation
        for chunk in _chunks(stage, stores):
            seconds += time.perf_counter() - began
            failed |= {n: progress.failed for n, progress in enumerate(chunk) if progress.failed}
            furthest = max(chunk, key=lambda progress: progress.step)
            stopping, ends = greatest(signalled() or 0), furthest.step == stage.num_steps
            due = furthest.step % settings.evaluate_every == 0 or ends
            lines = []
            for number, (store, progress) in enumerate(zip(stores, chunk, strict=True)):
                if number in failed:
                    continue
                for line in progress.skipped:
                    console.print(f"left out {line}", style="red", highlight=False)
                validation = store.validation(stage, progress) if due else {}
                lines.append(store.keep(progress, validation, seconds, last=ends or stopping > 0))
            values = {name: [line[name] for line in lines if name in line] for name in names}
            shown = {name: float(np.mean(numbers)) for name, numbers in values.items() if numbers}
            advance(len(furthest.metrics.bound), **shown)
            if stopping:
                _leave(stores, stopping)
            began = time.perf_counter()
    return [failed.get(number, store.state) for number, store in enumerate(stores)]


def _chunks(stage: Stage, stores: list[_Store]):
    experiment = stores[0].experiment
    return fit(
        [store.as_start() for store in stores],
        experiment.train_split.pixels_NxD,
        experiment.train_split.index_N,
        system_of=stage.recipe,
        num_steps=stage.num_steps,
        batch_size=experiment.train.batch_size,
        chunk_size=experiment.train.chunk_size,
        max_skipped=experiment.train.max_skipped,
        devices=experiment.train.devices,
    )


def _leave(stores: list[_Store], signal: int) -> None:
    """Raises Stopped, once every save is on the disk."""
    for store in stores:
        store.checkpoints.wait()
    greatest(0)  # nobody leaves before the first process has saved
    raise Stopped(signal)


def _means(bound_name: str, progress: Progress) -> dict[str, float]:
    """Means over the chunk's steps that were taken."""
    metrics = progress.metrics
    taken = np.isfinite(metrics.bound) & np.isfinite(metrics.grad_norm)
    if not taken.any():
        return {}
    return {
        bound_name: float(np.mean(metrics.bound[taken])),
        "grad_norm": float(np.mean(metrics.grad_norm[taken])),
    }
