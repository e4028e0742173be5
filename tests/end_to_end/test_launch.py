"""The command line as a user meets it: bad input is one line and a non-zero exit, nothing is written."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.launches import TINY
from vaelab.command.flags import FLAGS

ROOT = Path(__file__).parents[2]


def launch(*arguments, cwd=ROOT, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def assert_one_line(result, *, says, status=2):
    assert result.returncode == status, result.stderr
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("launch.py: ")
    assert says in lines[0]


@pytest.mark.parametrize(  # the others are in tests/command/test_parsing.py, which starts no process
    ("arguments", "says"),
    [
        (["--confg=x"], "--confg is not a flag; did you mean '--config'?"),
        (["--config.train.num_steps=many"], "--config.train.num_steps=many: must be an integer, not 'many'"),
    ],
)
def test_a_mistyped_flag(arguments, says, tmp_path):
    result = launch(*arguments, f"--workdir={tmp_path / 'run'}")
    assert_one_line(result, says=says)
    assert not (tmp_path / "run").exists()


def test_an_experiment_file_that_does_not_work(tmp_path):
    (tmp_path / "mine.py").write_text("def get_config():\n    return undefined\n")
    result = launch(f"--config={tmp_path / 'mine.py'}", f"--workdir={tmp_path / 'run'}")
    assert_one_line(result, says="mine.py:2: NameError: name 'undefined' is not defined")
    assert not (tmp_path / "run").exists()


def test_it_runs_from_any_folder_and_an_interrupt_at_the_start_is_one_line(tmp_path):
    arguments = [sys.executable, str(ROOT / "launch.py"), "--config.train.num_steps=3", "--workdir=run"]
    process = subprocess.Popen(arguments, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    time.sleep(1.0)  # while JAX is imported, or the config is built
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130, message
    assert message.startswith("launch.py: stopped")
    assert len(message.strip().splitlines()) == 1


def test_no_workdir():
    assert_one_line(launch("--config=experiments/digits_gap.py"), says="--workdir=DIR is needed")


@pytest.mark.parametrize(
    ("workdir", "says"),
    [
        ("checkout", "checkout is a git checkout: take another --workdir"),
        ("gs://bucket/run", "gs://bucket/run is the address of a bucket"),
    ],
)
def test_a_workdir_that_cannot_be(workdir, says, tmp_path):
    (tmp_path / "checkout" / ".git").mkdir(parents=True)
    arguments = ["--config=digits_gap:smoke", f"--workdir={workdir}"]
    assert_one_line(launch(*arguments, cwd=tmp_path), says=says)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["checkout", "checkout/.git"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--config.train.num_steps=0"], "--config.train.num_steps=0: must be an integer of 1 or more"),
        (["--config.data.name=minst"], "did you mean 'mnist'"),
        (["--config.data.name=mnist", "--config.data.data_dir=/none"], "python -m vaelab.prepare mnist"),
    ],
)
def test_a_setting_that_cannot_be(arguments, says, tmp_path):
    result = launch("--config=experiments/digits_gap.py:smoke", *arguments, f"--workdir={tmp_path / 'run'}")
    assert_one_line(result, says=says)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_cpu_as_several_devices(tmp_path):
    (tmp_path / "mine.py").write_text(f"""
import atexit, jax
from pathlib import Path
from experiments import digits_gap
atexit.register(lambda: Path({str(tmp_path / "devices")!r}).write_text(str(jax.device_count())))
get_config = lambda: digits_gap.get_config("smoke")
""")
    arguments = [f"--config={tmp_path / 'mine.py'}", *TINY[1:], "--cpu_devices=2"]
    result = launch(*arguments, f"--workdir={tmp_path / 'run'}", PYTHONPATH=str(ROOT), XLA_FLAGS="")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "devices").read_text() == "2"


def test_devices_of_the_cpu_told_twice(tmp_path):
    flags = "--xla_force_host_platform_device_count=2"
    result = launch("--cpu_devices=2", f"--workdir={tmp_path / 'run'}", XLA_FLAGS=flags)
    assert_one_line(result, says="give one of them")


def test_a_flag_for_what_a_sweep_varies(tmp_path):
    config = "--config=experiments/encoder_capacity.py:smoke"
    result = launch(config, "--config.encoder.hidden=(10,)", f"--workdir={tmp_path / 'run'}")
    assert_one_line(result, says="--config.encoder.hidden=(10,): the sweep varies it: change")
    assert not (tmp_path / "run").exists()


def test_a_workdir_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    workdir = tmp_path / "file" / "run"
    result = launch("--config=experiments/digits_gap.py:smoke", f"--workdir={workdir}")
    assert_one_line(result, says=f"--workdir={workdir} cannot be written: Not a directory")
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_workdir_of_another_run(tmp_path):
    (tmp_path / "config.json").write_text('{"seed": 3}\n')
    result = launch("--config=experiments/digits_gap.py:smoke", f"--workdir={tmp_path}")
    assert_one_line(result, says="belongs to a run of another config")
    assert (tmp_path / "config.json").read_text() == '{"seed": 3}\n'


@pytest.mark.slow
def test_a_quiet_run_prints_nothing(tmp_path):
    cache = os.environ["VAELAB_TEST_CACHE"]
    result = launch("--quiet", *TINY, f"--workdir={tmp_path}", JAX_COMPILATION_CACHE_DIR=cache)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert (tmp_path / "gap.json").exists()


def test_help_is_quick_and_complete():
    """It takes 0.1 s on an idle core; importing JAX takes seconds, of processor time too."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = launch("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
    assert (result.returncode, result.stderr) == (0, "")
    assert "experiments/NAME.py" in result.stdout
    assert all(f"--{flag.name}: " in result.stdout for flag in FLAGS)
    assert "settings with their defaults: " in result.stdout
    assert Path(result.stdout.split("defaults: ")[-1].strip()) == ROOT / "vaelab" / "config" / "defaults.py"
