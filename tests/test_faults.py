"""Kills, signals, two launches on one directory: what goes on ends as if nothing had been.

The long ones are `make faults`.
"""

import errno
import fcntl
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from vaelab import rundir, stop
from vaelab.types import ConfigError

ROOT = Path(__file__).parent.parent
TINY = (
    "--config=experiments/digits_gap.py:smoke",
    "--config.model.hidden=(10,)",
    "--config.encoder.hidden=(10,)",
)
LONG = (  # seconds of training, and its only checkpoint at the end of it
    *TINY,
    "--config.train.num_steps=4000",
    "--config.train.evaluate_every=4000",
    "--config.train.checkpoint_every=4000",
)


def begin(workdir, *settings):
    """A launch in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "launch.py", *settings, f"--workdir={workdir}"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": os.environ["VAELAB_TEST_CACHE"]},
    )


def finish(workdir, *settings):
    process = begin(workdir, *settings)
    _, message = process.communicate(timeout=300)
    assert process.returncode == 0, message


def wait_for(path, process):
    while not (path.exists() and path.stat().st_size):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def outcome(workdir):
    """All that a run leaves, but for the seconds that it took."""
    rows = json.loads((workdir / "gap.json").read_text())["rows"]
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{**entry, "seconds": 0} for entry in (*rows, *lines)]


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


@pytest.fixture
def listening():
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stop.listen()
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_at_once_or_where_nothing_is_lost(number, listening):
    with pytest.raises(stop.Stopped) as caught:
        signal.raise_signal(number)
    assert caught.value.number == number
    done = []

    def work():
        with stop.deferred() as signalled:
            done.append(signalled())
            signal.raise_signal(number)
            done.append(signalled())

    with pytest.raises(stop.Stopped, match=number.name):
        work()
    assert done == [None, number]


def test_a_second_signal_does_not_wait(listening):
    done = []

    def work():
        with stop.deferred():
            signal.raise_signal(signal.SIGTERM)
            done.append("first")
            signal.raise_signal(signal.SIGINT)
            done.append("second")

    with pytest.raises(stop.Stopped, match="SIGINT"):
        work()
    assert done == ["first"]
    with stop.deferred() as signalled:
        assert signalled() is None


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
