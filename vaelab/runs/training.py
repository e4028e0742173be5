"""The training stage of a run, or of several at once: its log, its validation, its checkpoints."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from vaelab.config.experiment import Experiment, Stage
from vaelab.report.log import MetricsLog
from vaelab.runtime.checkpoint import Checkpointer
from vaelab.runtime.processes import greatest
from vaelab.runtime.progress import progress_bar
from vaelab.runtime.signals import Stopped, deferred
from vaelab.training.loop import NonFiniteError, Progress, bytes_per_run, evaluator, fit, fit_together
from vaelab.training.step import TrainState, init_state
from vaelab.types import Params


class Member(NamedTuple):
    """One run of those that are trained together: they differ in their seed, and in numbers of the config.

    numbers: those of its objective and optimizer in which they differ, by name.
    """

    experiment: Experiment
    theta: Params
    directory: Path
    numbers: Mapping[str, float] = {}


def bytes_of_run(member: Member) -> int:
    """About what one run more takes in a training of several: the most of its stages."""
    split = member.experiment.train_split
    return max(
        bytes_per_run(
            jax.eval_shape(lambda s=stage.system: init_state(s, jax.random.key(0), member.theta)),
            split.pixels_NxD,
            split.index_N,
            system=stage.trained,
            batch_size=member.experiment.train.batch_size,
        )
        for stage in member.experiment.stages
    )


def train(members: Sequence[Member], number: int, console: Console) -> list[TrainState | str]:
    """The state of each run after its stage of this number, from its newest checkpoint or from the start.

    Those that are at the same step go on as one compiled program. Of several runs one that meets a value that
    is not finite does not stop the others: in the place of its state comes the line that says where.
    """
    stage = members[0].experiment.stages[number]
    with ExitStack() as stack:
        stores = [_Store(member, number, stack) for member in members]
        steps = [store.start for store in stores]
        if set(steps) == {stage.num_steps}:
            return [store.state for store in stores]
        if len(set(steps)) == 1:
            return _train(stage, stores, console)
    # They were killed between their checkpoints, or one of them has failed: those at one step go on together.
    found: dict[int, TrainState | str] = {}
    for start in sorted(set(steps)):
        same = [run for run, step in enumerate(steps) if step == start]
        try:
            states = train([members[run] for run in same], number, console)
        except NonFiniteError as error:
            states = [str(error)]  # a run that is alone at its step
        found |= dict(zip(same, states, strict=True))
    return [found[run] for run in range(len(members))]


class _Store:
    """What one run keeps of its training: where it is, its log and its checkpoints."""

    def __init__(self, member: Member, number: int, stack: ExitStack):
        experiment, stage = member.experiment, member.experiment.stages[number]
        self.experiment, self.stage, self.numbers = experiment, stage, member.numbers
        self.key = jax.random.fold_in(experiment.keys.train, number)
        self.checkpoints = stack.enter_context(
            Checkpointer(
                member.directory / "checkpoints" / stage.name,
                max_to_keep=experiment.train.keep_checkpoints,
            )
        )
        template = init_state(stage.system, jax.random.fold_in(experiment.keys.encoder, number), member.theta)
        self.start, self.state = self.checkpoints.restore_latest(template) or (0, template)
        self.log = MetricsLog(member.directory, stage.name, self.start)

    def keep(
        self, progress: Progress, validation: dict[str, float], seconds: float, *, last: bool
    ) -> dict[str, float]:
        """Writes a chunk's line, and a checkpoint where one is due or it is the last; returns the values."""
        settings, step = self.experiment.train, int(progress.state.step)
        values = _means(settings.bound_name, progress) | validation
        if progress.skipped:
            values["num_skipped"] = len(progress.skipped)
        self.log.write(step, **values, seconds=seconds)
        if last or step % settings.checkpoint_every == 0:
            self.checkpoints.save(step, progress.state)
        self.state = progress.state
        return values


def _train(stage: Stage, stores: list[_Store], console: Console) -> list[TrainState | str]:
    experiment, start = stores[0].experiment, stores[0].start
    settings, names = experiment.train, (experiment.train.bound_name, "validation_elbo")
    evaluate = evaluator(stage.system, num_samples=settings.validation_samples, chunk_size=1000)
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
            furthest = max(chunk, key=lambda progress: int(progress.state.step))  # one that has not failed
            step = int(furthest.state.step)
            stopping, ends = greatest(signalled() or 0), step == stage.num_steps
            due = step % settings.evaluate_every == 0 or ends
            lines = []
            for number, (store, progress) in enumerate(zip(stores, chunk, strict=True)):
                if number in failed or progress.failed:
                    failed.setdefault(number, progress.failed)
                    continue
                for line in progress.skipped:
                    console.print(f"left out {line}", style="red", highlight=False)
                validation = _validation(store, evaluate, progress) if due else {}
                lines.append(store.keep(progress, validation, seconds, last=ends or stopping > 0))
            shown = {
                n: float(np.mean([line[n] for line in lines if n in line])) for n in names if _any(lines, n)
            }
            advance(len(furthest.metrics.bound), **shown)
            if stopping:
                for store in stores:
                    store.checkpoints.wait()
                greatest(0)  # nobody leaves before the first process has saved
                raise Stopped(stopping)
            began = time.perf_counter()
    return [failed.get(number, store.state) for number, store in enumerate(stores)]


def _any(lines: list[dict[str, float]], name: str) -> bool:
    return any(name in line for line in lines)


def _chunks(stage: Stage, stores: list[_Store]) -> Iterator[Sequence[Progress]]:
    experiment = stores[0].experiment
    data = experiment.train_split.pixels_NxD, experiment.train_split.index_N
    settings = {
        "num_steps": stage.num_steps,
        "batch_size": experiment.train.batch_size,
        "chunk_size": experiment.train.chunk_size,
        "max_skipped": experiment.train.max_skipped,
        "devices": experiment.train.devices,
    }
    if len(stores) == 1:
        (store,) = stores
        order_seed = store.experiment.order_seed
        for progress in fit(
            store.state, *data, store.key, system=stage.trained, order_seed=order_seed, **settings
        ):
            yield (progress,)
        return
    yield from fit_together(
        [store.state for store in stores],
        *data,
        [store.key for store in stores],
        [store.numbers for store in stores],
        system_of=stage.system_of,
        order_seeds=[store.experiment.order_seed for store in stores],
        **settings,
    )


def _validation(store: _Store, evaluate: Any, progress: Progress) -> dict[str, float]:
    elbo, stderr = evaluate(
        progress.state.theta,
        progress.state.psi,
        *store.experiment.validation,
        store.experiment.keys.evaluate,
    )
    return {"validation_elbo": elbo, "validation_stderr": stderr}


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
