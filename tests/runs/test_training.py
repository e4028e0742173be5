"""The training stages of several runs: which go on, from where, and what is kept of them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from vaelab.runs import training
from vaelab.runs.trained import Ended, Trained
from vaelab.runs.training import Run
from vaelab.runtime.signals import Stopped
from vaelab.training.loop import Progress
from vaelab.training.recipe import NUMBERS
from vaelab.training.step import StepMetrics, TrainState

QUIET = Console(quiet=True)


def stage(name, num_steps=60):
    return SimpleNamespace(
        name=name, family=name, num_steps=num_steps, system=SimpleNamespace(family=name, regime=None)
    )


def some_runs(count, *stages):
    experiments = [SimpleNamespace(theta=10.0 * n, stages=stages) for n in range(count)]
    return [Run(f"run {n}", Path("a"), None, experiment) for n, experiment in enumerate(experiments)]


def test_a_run_that_fails_keeps_its_line_and_the_others_go_on_from_their_theta(monkeypatch):
    calls = []

    def train_stage(runs, thetas, number, console):
        calls.append(([run.name for run in runs], thetas, number))
        states = [TrainState(60, theta + 1.0, f"psi {number}", None) for theta in thetas]
        ends = [Ended(state, 60, 60, "num_steps") for state in states]
        return ["not finite" if run.name == "run 1" else e for run, e in zip(runs, ends, strict=True)]

    monkeypatch.setattr(training, "train_stage", train_stage)
    first, failed, last = training.train(some_runs(3, stage("full"), stage("diagonal")), QUIET)
    assert calls == [
        (["run 0", "run 1", "run 2"], [0.0, 10.0, 20.0], 0),
        (["run 0", "run 2"], [1.0, 21.0], 1),
    ]
    assert failed == "not finite"
    assert (first.theta, last.theta) == (2.0, 22.0)
    assert {name: encoder.psi for name, encoder in last.encoders.items()} == {
        "full": "psi 0",
        "diagonal": "psi 1",
    }


def test_where_all_have_failed_no_stage_is_begun(monkeypatch):
    calls = []
    monkeypatch.setattr(training, "train_stage", lambda *arguments: calls.append(1) or ["not finite"])
    assert training.train(some_runs(1, stage("full"), stage("diagonal")), QUIET) == ["not finite"]
    assert calls == [1]


def test_runs_at_the_same_step_go_on_together_and_finished_ones_are_left(monkeypatch):
    """One is at its last step, one ended without gain where two others are, and of these one fails."""
    starts = [20, 60, 0, 20, 20]

    def store(run, theta, number, stack):
        number = int(run.name[-1])
        done = number in (1, 4)
        ended = f"{theta} at {starts[number]}" if done else f"{run.name} trained"
        about = {"done": done, "stopped": number == 4, "ended": lambda: ended}
        return SimpleNamespace(name=run.name, start=starts[number], **about)

    def train(of_stage, stores, console):
        programs.append([one.name for one in stores])
        return {1: "not finite"} if len(stores) == 3 else {}

    programs = []
    monkeypatch.setattr(training, "Store", store)
    monkeypatch.setattr(training, "_train", train)
    ends = training.train_stage(some_runs(5, stage("full")), [1.0, 2.0, 3.0, 4.0, 5.0], 0, QUIET)
    assert programs == [["run 2", "run 4"], ["run 0", "run 3", "run 4"]]
    assert ends == ["run 0 trained", "2.0 at 60", "run 2 trained", "not finite", "5.0 at 20"]


def progress(step, bound, grad_norm, skipped=()):
    metrics = StepMetrics(np.array(bound), np.array(grad_norm), np.full(len(bound), -1))
    return Progress(step, f"state {step}", metrics, skipped)


class Kept:
    """A store without files: the lines that would be written, and the steps that would be saved."""

    def __init__(self, checkpoint_every):
        settings = SimpleNamespace(bound_name="elbo", checkpoint_every=checkpoint_every)
        self.experiment = SimpleNamespace(train=settings)
        self.lines, self.saved = [], []
        self.log = self.checkpoints = self

    def whole(self):
        return self.state

    def write(self, step, **values):
        self.lines.append((step, values))

    def save(self, step, state):
        self.saved.append((step, state))

    def wait(self):
        self.saved.append("wait")


def test_a_chunk_is_a_line_and_a_checkpoint_where_one_is_due_or_it_is_the_last():
    store = Kept(checkpoint_every=20)
    for step, last in ((10, False), (20, False), (30, True)):
        training.Store.keep(store, progress(step, [-3.0, -1.0], [1.0, 2.0]), {}, 0.5, last=last)
    assert store.saved == [(20, "state 20"), (30, "state 30")]
    assert store.lines[0] == (10, {"elbo": -2.0, "grad_norm": 1.5, "seconds": 0.5})
    assert store.state == "state 30"


def test_means_are_over_the_steps_that_were_taken():
    store = Kept(checkpoint_every=20)
    part = progress(10, [-3.0, np.nan, -5.0, -1.0], [1.0, 1.0, np.inf, 3.0], skipped=("step 2", "step 3"))
    values = training.Store.keep(store, part, {"validation_elbo": -4.0}, 0.5, last=False)
    assert values == {"elbo": -2.0, "grad_norm": 2.0, "validation_elbo": -4.0, "num_skipped": 2}
    nothing = progress(20, [np.nan], [1.0], skipped=("step 11",))
    assert training.Store.keep(store, nothing, {}, 1.0, last=False) == {"num_skipped": 1}
    assert store.lines[1] == (20, {"num_skipped": 1, "seconds": 1.0})  # no bound that is no number


def test_a_run_starts_with_the_numbers_that_are_arguments_of_its_program():
    name = NUMBERS[0]
    store = SimpleNamespace(
        state="state",
        key="key",
        experiment=SimpleNamespace(order_seed=7),
        numbers={name: 0.5, "inference.tolerance": 0.1},
    )
    start = training.Store.as_start(store)
    assert (start.state, start.key, start.order_seed, dict(start.numbers)) == ("state", "key", 7, {name: 0.5})


def test_a_run_that_is_stopped_waits_for_every_save():
    stores = [Kept(20), Kept(20)]
    with pytest.raises(Stopped) as stopped:
        training._leave(stores, 15)
    assert stopped.value.number == 15
    assert [store.saved for store in stores] == [["wait"], ["wait"]]


def test_what_training_leaves_begins_with_the_models_own_theta():
    assert training.train(some_runs(2), QUIET) == [Trained(0.0, {}), Trained(10.0, {})]
