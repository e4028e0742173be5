"""A run that ends where its validation ELBO gains no more, and whose best state is what is measured."""

import io
import json
import re

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments import digits_gap
from tests.support.configs import refused
from vaelab import load
from vaelab.config.experiment import build
from vaelab.runs.run import run
from vaelab.runs.training import Run, train
from vaelab.training import loop as train_loop

QUIET = Console(quiet=True)
BEST, LAST = 20, 50  # of validations every ten steps, on thirty images that are soon learned by heart


def overfitting(**settings):
    config = digits_gap.get_config("smoke")
    config.data.update({"num_train": 30, "observe": "once"})
    config.model.hidden = config.encoder.hidden = (30,)
    config.inference.families = ("diagonal",)
    config.evaluate.max_points = 8
    config.train.optimizer.learning_rate = 0.03
    every = {"chunk_size": 10, "evaluate_every": 10, "checkpoint_every": 20}
    config.train.update({"num_steps": 200, "batch_size": 30, **every, **settings})
    return config


STOPPED = {"stop_after": 3, "keep_best": "validation_elbo"}


@pytest.fixture(scope="module")
def experiments():
    """Of some settings each, with the functions of one build: its programs serve all."""
    first = build(overfitting())

    def experiment(**settings):
        config = overfitting(**settings)
        stages = tuple(stage._replace(num_steps=config.train.num_steps) for stage in first.stages)
        keep = {"stop_after": config.train.stop_after, "keep_best": config.train.keep_best != ""}
        return first._replace(train=first.train._replace(**keep), stages=stages)

    return experiment


def trained(experiment, directory, console=QUIET):
    (result,) = train([Run("run", directory, None, experiment)], console)
    return result


def weights(result):
    return [np.asarray(leaf) for leaf in jax.tree.leaves((result.theta, result.encoders["diagonal"].psi))]


def assert_same_weights(one, other):
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)


def lines(directory):
    text = (directory / "metrics.jsonl").read_text().splitlines()
    return [{**json.loads(line), "seconds": 0} for line in text]


@pytest.fixture(scope="module")
def stopped(experiments, tmp_path_factory):
    """(directory, what its training leaves, what it printed) of an uninterrupted run."""
    directory, console = tmp_path_factory.mktemp("stopped"), Console(file=io.StringIO(), width=200)
    return directory, trained(experiments(**STOPPED), directory, console), console.file.getvalue()


def test_it_ends_three_validations_after_the_best_and_leaves_the_best(stopped, experiments, tmp_path):
    directory, result, said = stopped
    elbos = {line["step"]: line["validation_elbo"] for line in lines(directory)}
    assert list(elbos) == list(range(10, LAST + 1, 10))
    assert max(elbos, key=elbos.get) == BEST
    assert result.stages == (
        {"stage": "train", "last_step": LAST, "measured_step": BEST, "ended_by": "stop_after"},
    )
    # With its constant learning rate the run is that of a run which has the best step as its last.
    assert_same_weights(result, trained(experiments(num_steps=BEST), tmp_path))
    assert re.match(r"train +50 steps in ", said)
    assert f"ended at step 50 of 200 without gain in 3 validations; measured is step {BEST}" in said


def test_without_these_settings_the_last_of_all_steps_is_measured(stopped, experiments, tmp_path):
    _, result, _ = stopped
    plain = trained(experiments(num_steps=60), tmp_path)
    last = {"last_step": 60, "measured_step": 60, "ended_by": "num_steps"}
    assert plain.stages == ({"stage": "train", **last},)
    moved = [np.abs(a - b).max() for a, b in zip(weights(result), weights(plain), strict=True)]
    assert max(moved) > 1e-2


def test_the_one_setting_does_without_the_other(experiments, tmp_path):
    ended = trained(experiments(stop_after=3), tmp_path / "ended")
    assert_same_weights(ended, trained(experiments(num_steps=LAST), tmp_path / "plain"))
    kept = trained(experiments(num_steps=60, keep_best="validation_elbo"), tmp_path / "kept")
    assert_same_weights(kept, trained(experiments(num_steps=BEST), tmp_path / "best"))
    ends = [(r.stages[0]["last_step"], r.stages[0]["measured_step"]) for r in (ended, kept)]
    assert ends == [(LAST, LAST), (60, BEST)]


class Killed(Exception):
    pass


def killed_after(number, monkeypatch):
    """Makes the training end after this many chunks, with what its checkpoints hold."""
    original, calls = train_loop.train_chunk, []

    def chunk(*arguments, **settings):
        calls.append(1)
        if len(calls) > number:
            raise Killed
        return original(*arguments, **settings)

    monkeypatch.setattr(train_loop, "train_chunk", chunk)


@pytest.mark.parametrize("chunks", [1, 3, 4, 5])
def test_a_killed_run_goes_on_to_the_same_best(chunks, stopped, experiments, tmp_path, monkeypatch):
    """Killed before and after the best, with one and two validations without gain behind it, at its end."""
    directory, result, _ = stopped
    with monkeypatch.context() as patch:
        killed_after(chunks, patch)
        if chunks < 5:
            with pytest.raises(Killed):
                trained(experiments(**STOPPED), tmp_path)
        else:
            trained(experiments(**STOPPED), tmp_path)
            killed_after(0, patch)
            trained(experiments(**STOPPED), tmp_path)  # takes no step more
    again = trained(experiments(**STOPPED), tmp_path)
    assert again.stages == result.stages
    assert_same_weights(again, result)
    assert lines(tmp_path) == lines(directory)


def several(experiments, directory, **settings):
    """Two runs of one program: one that soon learns by heart, and one that learns slowly."""
    name = "train.optimizer.learning_rate"
    runs = [
        Run(f"run {n}", directory / str(n), None, experiments(**settings), {name: rate})
        for n, rate in enumerate((0.03, 0.001))
    ]
    return train(runs, QUIET)


def test_of_several_each_has_its_best_and_one_that_ends_stops_no_other(experiments, tmp_path, monkeypatch):
    settings = {"num_steps": 80, **STOPPED}
    fast, slow = several(experiments, tmp_path / "together", **settings)
    assert fast.stages[0]["last_step"] == LAST
    assert fast.stages[0]["measured_step"] == BEST
    assert slow.stages[0] == {
        "stage": "train",
        "last_step": 80,
        "measured_step": 80,
        "ended_by": "num_steps",
    }
    steps = [[line["step"] for line in lines(tmp_path / "together" / name)] for name in "01"]
    assert steps == [list(range(10, LAST + 1, 10)), list(range(10, 81, 10))]
    # Killed as the one has ended and the other goes on, at the checkpoint of step 60.
    killed_after(7, monkeypatch)
    with pytest.raises(Killed):
        several(experiments, tmp_path / "killed", **settings)
    monkeypatch.undo()
    again = several(experiments, tmp_path / "killed", **settings)
    for one, other in zip((fast, slow), again, strict=True):
        assert one.stages == other.stages
        assert_same_weights(one, other)


def test_a_runs_files_are_those_of_its_best_state(tmp_path):
    config = overfitting(**STOPPED)
    config.refit.num_steps = 0
    rows = run(config, tmp_path / "run", QUIET)
    finished = load(tmp_path / "run")
    said = json.loads((tmp_path / "run" / "gap.json").read_text())["training"]
    assert [(stage["last_step"], stage["measured_step"]) for stage in said] == [(LAST, BEST)]
    (tmp_path / "run" / "model.safetensors").rename(tmp_path / "aside")  # then from the checkpoints
    for one, other in zip(
        *(jax.tree.leaves((r.theta, r.encoders["diagonal"][1])) for r in (finished, load(tmp_path / "run"))),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    # The bound that was measured is that of these weights.
    assert rows[0]["elbo_amortized"]["mean"] == pytest.approx(
        finished.per_datapoint["test/diagonal/elbo_amortized"].mean(), abs=1e-5
    )


def test_what_cannot_be_is_one_line():
    refused(lambda: build(overfitting(keep_best="elbo")), "must be validation_elbo, or '' for the last state")
    refused(lambda: build(overfitting(stop_after=-1)), "must be an integer of 0 or more")
