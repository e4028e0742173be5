"""The training stages of a list of runs: their logs, their validation, their checkpoints."""

import time
from collections.abc import Sequence
from contextlib import ExitStack

import jax
import numpy as np
from rich.console import Console

from vaelab.config.train import Stage
from vaelab.runs.store import Run, Store
from vaelab.runs.trained import Ended, Trained
from vaelab.runtime.processes import greatest
from vaelab.runtime.progress import progress_bar
from vaelab.runtime.signals import Stopped, deferred
from vaelab.training.loop import bytes_per_run, fit
from vaelab.training.step import init_state
from vaelab.types import Params


def bytes_of_run(run: Run) -> int:
    """Bytes that one run more takes in a training of several, about: the most of its stages."""
    experiment = run.experiment
    split = experiment.train_split

    return max(
        bytes_per_run(
            init_state.eval_shape(stage.system, jax.random.key(0), experiment.theta),
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
        ends = train_stage([runs[run] for run in going_on], thetas, number, console) if going_on else []
        for run, ended in zip(going_on, ends, strict=True):
            results[run] = ended if isinstance(ended, str) else results[run].after(stage, ended)
    return results


def train_stage(
    runs: Sequence[Run], thetas: Sequence[Params], number: int, console: Console
) -> list[Ended | str]:
    """How each run is after its stage of this number, from its newest checkpoint or from the start.

    Those that are at the same step go on as one compiled program. A run that meets a value that is not finite
    does not stop the others: in the place of its state comes the line that says where.
    """
    stage = runs[0].experiment.stages[number]
    with ExitStack() as stack:
        stores = [Store(run, theta, number, stack) for run, theta in zip(runs, thetas, strict=True)]
        failed: dict[int, str] = {}
        # Killed between their checkpoints, or as one of them has failed, they may be at several steps.
        for start in sorted({store.start for store in stores if not store.done}):
            # Those that ended without gain had their places in the program, and keep them.
            same = [run for run, store in enumerate(stores) if store.stopped or store.start == start]
            lines = _train(stage, [stores[run] for run in same], console)
            failed |= {same[number]: line for number, line in lines.items()}
    return [failed.get(run) or store.ended() for run, store in enumerate(stores)]


def _train(stage: Stage, stores: list[Store], console: Console) -> dict[int, str]:
    """Trains each that is not done, from one step, to its end; by number the line of those that failed."""
    done = [store.done for store in stores]
    experiment, start = stores[0].experiment, stores[done.index(False)].start
    settings, names = experiment.train, (experiment.train.bound_name, "validation_elbo")
    name = stage.name.replace("_", " ")
    title = name if len(stores) == 1 else f"{name}, {done.count(False)} runs"
    if start:
        console.print(f"{stage.name} goes on from step {start}", highlight=False)
    failed: dict[int, str] = {}
    reached = start
    bar = progress_bar(console, title, stage.num_steps, "steps", done=start, reached=lambda: reached)
    with deferred() as signalled, bar as advance:
        seconds, began = 0.0, time.perf_counter()  # of the steps, without validation
        for chunk in _chunks(stage, stores):
            seconds += time.perf_counter() - began
            failed |= {n: progress.failed for n, progress in enumerate(chunk) if progress.failed}
            furthest = max(chunk, key=lambda progress: progress.step)
            reached = furthest.step
            stopping, ends = greatest(signalled() or 0), reached == stage.num_steps
            due = reached % settings.evaluate_every == 0 or ends
            lines = []
            for number, (store, progress) in enumerate(zip(stores, chunk, strict=True)):
                if number in failed or store.done:
                    continue
                for line in progress.skipped:
                    console.print(f"left out {line}", style="red", highlight=False)
                validation = store.validate(progress.state) if due else {}
                last = ends or store.stopped or stopping > 0
                lines.append(store.keep(progress, validation, seconds, last=last))
            values = {name: [line[name] for line in lines if name in line] for name in names}
            shown = {name: float(np.mean(numbers)) for name, numbers in values.items() if numbers}
            advance(len(furthest.metrics.bound), **shown)
            if stopping:
                _leave(stores, stopping)
            began = time.perf_counter()
    for number, store in enumerate(stores):
        if number not in failed and store.best is not None and not done[number]:
            of_several = f"{store.name}: " if len(stores) > 1 else ""
            console.print(f"{of_several}{store.end_line()}", highlight=False)
    return failed


def _chunks(stage: Stage, stores: list[Store]):
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
        finished=lambda run: stores[run].done,
        before={run: store.step for run, store in enumerate(stores) if store.done},
    )


def _leave(stores: list[Store], signal: int) -> None:
    """Raises Stopped, once every save is on the disk."""
    for store in stores:
        store.checkpoints.wait()
    greatest(0)  # nobody leaves before the first process has saved
    raise Stopped(signal)
