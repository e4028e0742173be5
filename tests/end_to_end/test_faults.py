"""Kills, signals, two launches on one directory: what goes on ends as if nothing had been.

The long ones are `make faults`.
"""

import errno
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from rich.console import Console

from tests.support.launches import LONG, begin, begin_together, finish, finish_together, outcome, wait_for
from vaelab.errors import ConfigError
from vaelab.runtime import directory as rundir


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What a LONG run leaves."""
    workdir = tmp_path_factory.mktemp("faults") / "run"
    finish(workdir, *LONG)
    return outcome(workdir)


@pytest.fixture(scope="module")
def seconds(uninterrupted, tmp_path_factory):
    """What a run takes where everything is compiled."""
    began = time.perf_counter()
    finish(tmp_path_factory.mktemp("faults") / "run", *LONG)
    return time.perf_counter() - began


def terminated(workdir, delay, process=None):
    """The launch after a SIGTERM so many seconds into its training."""
    process = process or begin(workdir, *LONG)
    wait_for(workdir / "metrics.jsonl", process)
    time.sleep(delay)
    process.send_signal(signal.SIGTERM)
    _, message = process.communicate(timeout=60)
    return process.returncode, message


@pytest.mark.slow
def test_sigterm_saves_where_training_is_and_the_same_command_goes_on(uninterrupted, tmp_path):
    workdir = tmp_path / "run"
    status, message = terminated(workdir, 0.0)
    assert status == 143
    assert message == f"launch.py: stopped by SIGTERM; the same command goes on with {workdir}\n"
    (saved,) = (int(path.name) for path in (workdir / "checkpoints" / "train").iterdir())
    assert 0 < saved < 4000
    last = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == saved
    finish(workdir, *LONG)
    assert outcome(workdir) == uninterrupted


@pytest.mark.slow
def test_a_second_launch_on_a_directory_in_use_is_refused(tmp_path):
    workdir = tmp_path / "run"
    first = begin(workdir, *LONG)
    wait_for(workdir / "metrics.jsonl", first)
    second = begin(workdir, *LONG)
    _, message = second.communicate(timeout=60)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert second.returncode == 2
    here = f"{workdir} is in use by process {first.pid} on {socket.gethostname()} since "
    assert message.startswith(f"launch.py: {here}")
    assert message.endswith(": wait for it, or take another --workdir\n")
    # The lock went with its process.
    assert "process" in (workdir / "lock").read_text()
    with rundir.in_use(workdir, Console(quiet=True)):
        pass


def test_the_holder_of_a_lock_is_named_and_a_left_over_name_is_nobodys(tmp_path):
    (tmp_path / "lock").write_text("process 1 on elsewhere since 1999-12-31 23:59:59\n")
    with rundir.in_use(tmp_path, Console(quiet=True)):
        assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on ")
        with pytest.raises(ConfigError, match=f"in use by process {os.getpid()} on .*: wait for it"):
            rundir.in_use(tmp_path, Console(quiet=True)).__enter__()
    assert (tmp_path / "lock").read_text() == ""


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    console = Console(width=300)
    with console.capture() as captured, rundir.in_use(tmp_path, console):
        pass
    assert "cannot be locked (No locks available): launch on it once at a time" in captured.get()


@pytest.mark.faults
@pytest.mark.parametrize("trial", range(10))
def test_sigterm_under_load(trial, uninterrupted, tmp_path):
    """Twice in one run, at random moments of its training, beside a process that computes."""
    draw, workdir = random.Random(trial), tmp_path / "run"
    load = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        for _ in range(2):
            status, message = terminated(workdir, draw.uniform(0.0, 1.0))
            # -15: Python itself was not there yet; to a shell that is 143 too.
            assert status in (143, -signal.SIGTERM), message
        finish(workdir, *LONG)
    finally:
        load.kill()
        load.wait()
    assert outcome(workdir) == uninterrupted


@pytest.mark.faults
@pytest.mark.parametrize("trial", range(30))
def test_kill_at_a_random_moment(trial, uninterrupted, seconds, tmp_path):
    process = begin(tmp_path / "run", *LONG)
    time.sleep(random.Random(trial).uniform(0.0, seconds))
    process.kill()
    process.communicate()
    finish(tmp_path / "run", *LONG)
    assert outcome(tmp_path / "run") == uninterrupted


@pytest.mark.faults
@pytest.mark.parametrize("stage", ["train", "measure"])
@pytest.mark.parametrize("killed", [0, 1])
def test_one_of_two_processes_is_killed(killed, stage, uninterrupted, tmp_path):
    """The other ends with a line of its own well before 60 seconds; then both go on."""
    workdir = tmp_path / "run"
    processes = begin_together(2, workdir, *LONG)
    wait_for(workdir / "metrics.jsonl" if stage == "train" else workdir / "stages", processes[0])
    gone = processes.pop(killed)
    gone.kill()
    began = time.perf_counter()
    gone.communicate()
    _, message = processes[0].communicate(timeout=60)
    assert time.perf_counter() - began < 60
    assert processes[0].returncode != 0
    assert "another process of this run is gone, or this one was killed: the same command" in message
    finish_together(2, workdir, *LONG)
    assert_same_outcome(outcome(workdir), uninterrupted)


@pytest.mark.faults
@pytest.mark.parametrize("signalled", [0, 1])
def test_a_sigterm_to_one_of_two_processes_stops_both(signalled, uninterrupted, tmp_path):
    workdir = tmp_path / "run"
    processes = begin_together(2, workdir, *LONG)
    wait_for(workdir / "metrics.jsonl", processes[0])
    processes[signalled].send_signal(signal.SIGTERM)
    messages = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [143, 143], messages
    (saved,) = (int(path.name) for path in (workdir / "checkpoints" / "train").iterdir())
    assert 0 < saved < 4000
    finish_together(2, workdir, *LONG)
    assert_same_outcome(outcome(workdir), uninterrupted)


def assert_same_outcome(one, other):
    """Of two processes and of one: the same steps, but for the rounding of other programs."""
    assert len(one) == len(other)
    for mine, theirs in zip(one, other, strict=True):
        if "elbo" in mine:
            assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-4)


CHECKPOINTED = (
    *LONG,
    "--config.train.chunk_size=500",
    "--config.train.checkpoint_every=1000",
    "--config.train.evaluate_every=1000",
)


@pytest.fixture(scope="module")
def checkpointed(tmp_path_factory):
    """A run that was killed in its measuring, with two checkpoints, and what it would have come to."""
    workdir = tmp_path_factory.mktemp("faults") / "run"
    finish(workdir, *CHECKPOINTED)
    expected = outcome(workdir)
    (workdir / "gap.json").unlink()
    shutil.rmtree(workdir / "stages")
    return workdir, expected


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def files_of(step):
    return sorted((path for path in step.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize(
    "harm",
    [
        *(pytest.param(harm, marks=pytest.mark.faults) for harm in ("truncated", "flipped")),
        pytest.param("half deleted", marks=pytest.mark.slow),
    ],
)
def test_a_damaged_checkpoint_is_said_and_the_one_before_goes_on(harm, checkpointed, tmp_path):
    original, expected = checkpointed
    workdir = tmp_path / "run"
    shutil.copytree(original, workdir)
    steps = workdir / "checkpoints" / "train"
    assert {path.name for path in steps.iterdir()} == {"3000", "4000"}
    files = files_of(steps / "4000")
    if harm == "half deleted":
        for path in files[::2]:
            path.unlink()
    else:
        (cut if harm == "truncated" else flip)(files[-1])
    process = begin(workdir, *CHECKPOINTED)
    _, message = process.communicate(timeout=300)
    assert process.returncode == 0, message
    assert f"checkpoint 4000 in {steps} is damaged" in message
    assert "resuming from step 3000" in message
    assert (steps / "damaged-4000-1").exists()
    assert outcome(workdir) == expected


def small_disk(place, size):
    """A file system of so many bytes; skips where this process may not mount one."""
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=False)
    if done.returncode:
        pytest.skip("a file system can be mounted by root only")


@pytest.mark.faults
def test_a_full_disk_at_a_save_leaves_the_last_good_state(checkpointed, tmp_path):
    _, expected = checkpointed
    disk = tmp_path / "disk"
    small_disk(disk, "2m")
    try:
        workdir, filler = disk / "run", disk / "filler"
        process = begin(workdir, *CHECKPOINTED)
        wait_for(workdir / "metrics.jsonl", process)
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4096"], capture_output=True, check=False)
        _, message = process.communicate(timeout=300)
        assert process.returncode == 1
        assert message.count("launch.py: ") == 1
        assert message.splitlines()[-1].startswith("launch.py: ")
        assert "No space left" in message
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        finish(workdir, *CHECKPOINTED)
        assert outcome(workdir) == expected
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.slow
def test_a_save_that_has_no_room_is_one_line_and_the_last_state_stays(checkpointed, tmp_path):
    """By a limit on the size of a file, which every user can set."""
    original, expected = checkpointed
    workdir = tmp_path / "run"
    shutil.copytree(original, workdir)
    shutil.rmtree(workdir / "checkpoints" / "train" / "4000")
    # The parameters in a checkpoint are the only file of a run that is larger.
    limit = files_of(workdir / "checkpoints" / "train" / "3000")[-1].stat().st_size // 2
    process = begin(workdir, *CHECKPOINTED, limit=limit)
    _, message = process.communicate(timeout=300)
    assert process.returncode == 1
    assert message.splitlines()[-1].startswith(f"launch.py: cannot write checkpoints to {workdir}")
    assert "free space or make it writable; the same command then resumes" in message
    assert {path.name for path in (workdir / "checkpoints" / "train").iterdir()} >= {"3000"}
    finish(workdir, *CHECKPOINTED)
    assert outcome(workdir) == expected
