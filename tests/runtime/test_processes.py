"""Several processes of one run: the results of one process, and one set of files."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.support.launches import (
    ROOT,
    TINY,
    begin,
    begin_together,
    end,
    finish,
    finish_together,
    one_device,
    outcome,
)
from vaelab.runtime import processes
from vaelab.runtime.processes import greatest, of_first

# So many steps that the fits converge: short of that a rounding grows with each step.
CONVERGED = (
    *TINY,
    "--config.train.num_steps=400",
    "--config.train.chunk_size=100",
    "--config.train.evaluate_every=400",
    "--config.train.checkpoint_every=400",
    "--config.inference.families=('diagonal',)",
    "--config.inference.modes.num_starts=0",
    "--config.inference.diagonal.num_steps=100",
    "--config.evaluate.elbo_samples=200",
    "--config.evaluate.points_per_save=10",
)
# Without the search for modes: which datapoints it looks at once more can hang on a rounding.
SWEEP = (
    "--config=experiments/kl_warmup.py:smoke",
    "--config.sweep.num_seeds=3",
    "--config.inference.modes.num_starts=0",
)


def arrays(workdir):
    with np.load(workdir / "per_datapoint.npz") as stored:
        return dict(stored)


def assert_same(one, other):
    """To 1e-5 nats, datapoint by datapoint."""
    assert one.keys() == other.keys()
    bounds = [name for name in one if name.endswith(("elbo_amortized", "elbo_optimal", "log_evidence"))]
    assert len(bounds) == 3
    for name in bounds:
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(one["test/index"], other["test/index"])


def files(workdir):
    """All of them, but for what Orbax names by a hash."""
    names = [str(path.relative_to(workdir)) for path in workdir.rglob("*")]
    return sorted(name for name in names if "/state/" not in name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process with one device."""
    workdir = tmp_path_factory.mktemp("processes") / "one"
    finish(workdir, *CONVERGED, **one_device())
    return workdir


@pytest.mark.slow
def test_two_processes_end_with_the_results_of_one(alone, tmp_path):
    finish_together(2, tmp_path / "two", *CONVERGED)
    assert_same(arrays(tmp_path / "two"), arrays(alone))
    assert_same_steps(tmp_path / "two", alone)
    assert files(tmp_path / "two") == files(alone)


@pytest.mark.slow
def test_the_disk_of_the_first_process_is_enough(tmp_path):
    """The others write nothing, and take from the first what they go on from."""
    first, second = (tmp_path / name for name in ("first", "second"))
    finish_together(2, (first, second), *TINY)
    expected = outcome(first)
    (first / "gap.json").unlink()
    for name in ("stages", "checkpoints/refit_full", "checkpoints/train/40"):
        shutil.rmtree(first / name)
    finish_together(2, (first, second), *TINY)  # from the checkpoint at step 20
    assert outcome(first) == expected
    assert not second.exists()


@pytest.mark.slow
def test_eight_devices_end_with_the_results_of_one(alone, tmp_path):
    finish(tmp_path / "eight", *CONVERGED)
    assert_same(arrays(tmp_path / "eight"), arrays(alone))
    assert_same_steps(tmp_path / "eight", alone)


@pytest.mark.slow
def test_four_processes_end_with_the_results_of_one(alone, tmp_path):
    finish_together(4, tmp_path / "four", *CONVERGED)
    assert_same(arrays(tmp_path / "four"), arrays(alone))
    assert_same_steps(tmp_path / "four", alone)


def steps(workdir):
    """The lines of a run's training, without its seconds."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) | {"seconds": 0} for line in lines]


def assert_same_steps(one, other):
    for mine, theirs in zip(steps(one), steps(other), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-4)


@pytest.mark.slow
def test_a_batch_that_processes_share_is_one_batch(tmp_path):
    finish_together(2, tmp_path / "two", *TINY, "--config.train.devices=2")
    finish(tmp_path / "one", *TINY)
    assert_same_steps(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
def test_the_runs_of_a_sweep_are_divided_over_processes(tmp_path):
    finish_together(2, tmp_path / "two", *SWEEP)
    finish(tmp_path / "one", *SWEEP)
    runs = sorted(path.parent.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("gap.json"))
    assert len(runs) == 6
    for run in runs:
        assert_same_steps(tmp_path / "two" / run, tmp_path / "one" / run)
    assert files(tmp_path / "two") == files(tmp_path / "one")


def test_what_is_wrong_with_a_config_ends_every_process(tmp_path):
    processes = begin_together(2, tmp_path / "two", *TINY, "--config.train.batch_size=0")
    messages = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 2]
    for message in messages:
        assert message == "launch.py: --config.train.batch_size=0: must be an integer of 1 or more\n"
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.slow
def test_a_process_that_does_not_come_is_missed(missing, tmp_path):
    processes = begin_together(2, tmp_path / "two", *TINY, "--wait_seconds=6")
    absent = processes.pop(missing)
    absent.kill()
    absent.communicate()
    _, message = processes[0].communicate(timeout=60)
    assert processes[0].returncode == 1
    assert message.startswith("the processes of this run were not together at 127.0.0.1:")
    assert message.endswith(" after 6 s: start all of them within --wait_seconds\n")


@pytest.mark.parametrize(
    "flags", [("--coordinator=127.0.0.1:1",), ("--num_processes=2", "--process_id=0"), ("--process_id=1",)]
)
def test_the_flags_of_several_processes_go_together(flags, tmp_path):
    process = begin(tmp_path / "run", *TINY, *flags)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 2
    assert message == "launch.py: --coordinator, --num_processes and --process_id go together\n"


@pytest.mark.slow
def test_slurm_says_what_the_flags_would(tmp_path):
    """The variables of two tasks on one node."""
    processes = [
        begin(
            tmp_path / "two",
            *TINY,
            "--config.inference.families=('diagonal',)",
            "--config.inference.modes.num_starts=0",
            **one_device(),
            SLURM_JOB_ID=str(os.getpid()),
            SLURM_STEP_NODELIST="localhost",
            SLURM_STEP_NUM_TASKS="2",
            SLURM_NTASKS="2",
            SLURM_PROCID=str(number),
            SLURM_LOCALID=str(number),
        )
        for number in range(2)
    ]
    end(*processes)
    assert json.loads((tmp_path / "two" / "gap.json").read_text())["rows"][0]["num_points"] == 16


def test_a_single_process_is_told_so_without_its_devices(tmp_path):
    """vaelab.compare writes files, and should not take a GPU for it."""
    names = "is_first, of_first"
    code = f"from vaelab.runtime.processes import {names}; assert is_first() and of_first(lambda: 1) == 1"
    env = {**os.environ, "JAX_PLATFORMS": "none_such"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, check=True)


def test_what_is_sent_in_pieces_comes_whole(monkeypatch):
    monkeypatch.setattr(processes, "PIECE_BYTES", 7)
    for size in (0, 1, 7, 8, 21, 100):
        content = bytes(range(size))
        assert processes._broadcast(content) == content


def test_one_process_is_the_first_of_one():
    assert of_first(lambda: {"a": 1}) == {"a": 1}
    assert greatest(3) == 3
    with pytest.raises(ValueError, match="said once"):
        of_first(lambda: int("said once"))
