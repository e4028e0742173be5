"""What one run keeps of a training stage: where it is, its best state, its log and its checkpoints."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from vaelab.config.experiment import Experiment
from vaelab.data.rows import Rows
from vaelab.report.log import MetricsLog
from vaelab.report.trackers import Trackers
from vaelab.runs.origin import Origin
from vaelab.runs.trained import Ended
from vaelab.training import best
from vaelab.training.loop import Progress, Start
from vaelab.training.recipe import NUMBERS
from vaelab.training.step import TrainState, init_state
from vaelab.training.validation import evaluate, mean_and_stderr
from vaelab.types import Array, Params


class Run(NamedTuple):
    """One run: its name for a person, its directory, its config and the experiment that this asks for.

    numbers: those of its objective and optimizer in which the runs of a program differ, by dotted name.
    origin: the finished run whose training it goes on with. trackers: those that are told of it, once it has
    begun, on the first process; sweep: those of its sweep.
    """

    name: str
    directory: Path
    config: ConfigDict
    experiment: Experiment
    numbers: Mapping[str, float] = {}
    origin: Origin | None = None
    trackers: Trackers | None = None
    sweep: Trackers | None = None


class _Watched(NamedTuple):
    """What a checkpoint holds of a run that looks for its best state, or for the end of its gains."""

    step: Array
    theta: Params
    psi: Params
    opt_state: optax.OptState
    best: best.Best


class Store:
    """Where one run is in its stage of this number: at its newest checkpoint, or at the start.

    step, state: where it is now, which `keep` moves. best: None where nobody asks for it.
    """

    def __init__(self, run: Run, theta: Params, number: int, stack: ExitStack):
        from vaelab.runtime.checkpoint import Checkpointer  # half a second of Orbax, once a run is trained

        experiment, stage = run.experiment, run.experiment.stages[number]
        self.experiment, self.numbers, self.stage, self.name = experiment, run.numbers, stage, run.name
        self.key = jax.random.fold_in(experiment.keys.train, number)
        self.checkpoints = stack.enter_context(
            Checkpointer(
                run.directory / "checkpoints" / stage.name,
                max_to_keep=experiment.train.keep_checkpoints,
            )
        )
        self.state = init_state(stage.system, jax.random.fold_in(experiment.keys.encoder, number), theta)
        self.start = 0
        if run.origin is not None and number == 0:
            self.start = run.origin.step
        self.best = None
        if experiment.train.stop_after or experiment.train.keep_best:
            num_points = len(experiment.validation.index_N)
            self.best = best.nothing_yet(self.state, num_points, keep=experiment.train.keep_best)
        restored = self.checkpoints.restore_latest(self.whole())
        if restored is not None:
            self.start, whole = restored
            self.state = TrainState(*whole[: len(TrainState._fields)])
            self.best = None if self.best is None else whole.best
        elif self.start:
            self.state = run.origin.state(self.state)
        self.step = self.start
        self.log = MetricsLog(
            run.directory,
            stage.name,
            self.start,
            tensorboard="tensorboard" in experiment.log_to,
            trackers=run.trackers,
            before=sum(each.num_steps for each in experiment.stages[:number]),
        )

    def whole(self) -> TrainState | _Watched:
        """What is stored of where it is."""
        return self.state if self.best is None else _Watched(*self.state, self.best)

    @property
    def stopped(self) -> bool:
        """Whether it ends as there was no gain."""
        stop_after = self.experiment.train.stop_after
        return stop_after > 0 and int(self.best.since) >= stop_after

    @property
    def done(self) -> bool:
        return self.stopped or self.step == self.stage.num_steps

    def ended(self) -> Ended:
        """How it is at its end, with the parameters that are measured."""
        state, step = self.state, self.step
        if self.experiment.train.keep_best:
            state, step = state._replace(theta=self.best.theta, psi=self.best.psi), int(self.best.step)
        return Ended(state, self.step, step, "stop_after" if self.stopped else "num_steps")

    def end_line(self) -> str:
        """Says where it ended, and which state is measured, where that is not the last of all."""
        ended, title = self.ended(), self.stage.name.replace("_", " ")
        line = f"{title} ended at step {ended.step:,} of {self.stage.num_steps:,}"
        if self.stopped:
            line += f" without gain in {self.experiment.train.stop_after} validations"
        if ended.measured_step != ended.step:
            line += f"; measured is step {ended.measured_step:,}, validation_elbo {float(self.best.elbo):.3f}"
        return line

    def as_start(self) -> Start:
        numbers = {name: number for name, number in self.numbers.items() if name in NUMBERS}
        return Start(self.state, self.key, self.experiment.order_seed, numbers)

    def keep(
        self, progress: Progress, validation: dict[str, float], seconds: float, *, last: bool
    ) -> dict[str, float]:
        """Writes a chunk's line, and a checkpoint where one is due or it is the last; returns the values."""
        settings, step = self.experiment.train, progress.step
        self.step, self.state = step, progress.state
        values = _means(settings.bound_name, progress) | validation
        if progress.skipped:
            values["num_skipped"] = len(progress.skipped)
        self.log.write(step, **values, seconds=seconds)
        if last or step % settings.checkpoint_every == 0:
            self.checkpoints.save(step, self.whole())
        return values

    def validate(self, state: TrainState) -> dict[str, float]:
        """The validation ELBO of this state, which may be the best so far."""
        x_NxD, index_N = self.experiment.validation
        # What does not fit into memory does not a thousand at a time either.
        chunk_size = self.experiment.evaluate.memory if isinstance(x_NxD, Rows) else 1000
        elbo_N = evaluate(
            self.stage.system,
            state.theta,
            state.psi,
            x_NxD,
            index_N,
            self.experiment.keys.evaluate,
            num_samples=self.experiment.train.validation_samples,
            chunk_size=chunk_size,
        )
        if self.best is not None:
            self.best = best.after(self.best, state, elbo_N, keep=self.experiment.train.keep_best)
        elbo, stderr = mean_and_stderr(elbo_N)
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
