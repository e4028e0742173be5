"""launch.py in processes of its own, as users start it."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
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


LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


LIMIT = 300  # seconds; a launch takes far less where nothing is beside it


def begin(workdir, *settings, limit=None, **env):
    """limit: the bytes of the largest file that the launch may write."""
    limited = [] if limit is None else ["-c", LIMITED, str(limit)]
    return subprocess.Popen(
        [sys.executable, *limited, "launch.py", *settings, f"--workdir={workdir}"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": os.environ["VAELAB_TEST_CACHE"], **env},
    )


def finish(workdir, *settings, **env):
    end(begin(workdir, *settings, **env))


def end(*processes):
    """Waits until all have ended, each with 0; what takes longer is killed, lest it disturb other tests."""
    try:
        messages = [process.communicate(timeout=LIMIT)[1] for process in processes]
    except subprocess.TimeoutExpired:
        for process in processes:
            process.kill()
            process.communicate()
        raise
    assert [process.returncode for process in processes] == [0] * len(processes), messages


def one_device():
    """Where the tests themselves have eight."""
    flags = [flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag]
    return {"XLA_FLAGS": " ".join(flags)}


def begin_together(count, workdir, *settings):
    """So many processes of one run, each with a single device; workdir: of all, or one for each."""
    workdirs = workdir if isinstance(workdir, tuple) else (workdir,) * count
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    several = (f"--coordinator={address}", f"--num_processes={count}")
    return [
        begin(place, *settings, *several, f"--process_id={number}", **one_device())
        for number, place in enumerate(workdirs)
    ]


def finish_together(count, workdir, *settings):
    end(*begin_together(count, workdir, *settings))


def wait_for(path, process):
    while not (path.exists() and path.stat().st_size):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def outcome(workdir):
    """All that a run leaves, but for the seconds that it took, and for which stage it did last."""
    rows = json.loads((workdir / "gap.json").read_text())["rows"]
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    lines.sort(key=lambda line: (line["stage"], line["step"]))
    return [{**entry, "seconds": 0} for entry in (*rows, *lines)]
