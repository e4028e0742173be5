"""A launch: flags that do not go together, the status it ends with, where compiled programs are kept."""

import os
from pathlib import Path

import jax
import pytest
from absl import flags

from tests.support.lines import assert_one_line
from vaelab.command import launching
from vaelab.command.parsing import parse
from vaelab.data.sources import DataError
from vaelab.errors import ConfigError
from vaelab.runtime.directory import DirectoryError, open_directory
from vaelab.runtime.packing import CheckpointError
from vaelab.runtime.processes import ProcessLost
from vaelab.runtime.signals import Stopped
from vaelab.training.skipped import NonFiniteError


def values(*arguments):
    made = flags.FlagValues()
    parse(["vaelab run", *arguments], made)
    return made


SWEPT = ("--config=encoder_capacity", "--workdir=a")


@pytest.mark.parametrize(
    ("arguments", "only_sweeps", "says"),
    [
        ((), False, "--workdir=DIR is needed"),
        (("--workdir=a", "--process_id=0"), False, "--num_processes and --process_id go together"),
        (("--workdir=a",), True, "the experiment has no sweep: take `vaelab run`"),
        ((*SWEPT, "--config.encoder.hidden=(3,)"), False, "the sweep varies it: change --config.sweep.axes"),
        ((*SWEPT, "--from=b"), False, "--from goes with one run, and the experiment is a sweep"),
        (("--workdir=gs://bucket/run",), False, "is the address of a bucket"),
        (("--workdir=a", "--overwrite=a", "--from=b"), False, "--overwrite goes without --from"),
    ],
)
def test_flags_that_do_not_go_together_are_one_error(arguments, only_sweeps, says):
    with pytest.raises(ConfigError, match=says):
        launching._checked(values(*arguments), only_sweeps)


def test_flags_that_go_together_give_the_directory(tmp_path):
    one = values(f"--workdir={tmp_path}", "--coordinator=a:1", "--num_processes=2", "--process_id=0")
    assert launching._checked(one, False) == tmp_path
    swept = values(*SWEPT[:1], f"--workdir={tmp_path}", "--config.seed=3")  # which no axis varies
    assert launching._checked(swept, True) == tmp_path


def test_devices_of_the_cpu_that_the_environment_names_too_are_refused(monkeypatch):
    launching._take_devices(1)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
    with pytest.raises(ConfigError, match="give one of them"):
        launching._take_devices(2)


def test_a_refused_directory_names_what_was_given_here_first_and_how_to_have_it(tmp_path):
    theirs = values("--config=digits_gap:smoke", "--config.data.seed=5", "--config.evaluate.max_points=9")
    open_directory(tmp_path / "one", theirs.config)
    given = values("--config=digits_gap:smoke", "--config.train.num_steps=7", "--config.data.seed=5")
    with pytest.raises(DirectoryError) as caught:
        open_directory(tmp_path / "one", given.config)
    line = launching._of_another_config(caught.value, given)
    assert "(config.train.num_steps is 40 there and 7 here; config.evaluate.max_points is 9" in line
    assert line.endswith("take another --workdir, or remove that run by --overwrite=one")
    elsewhere = DirectoryError.of(tmp_path, "is a file", fix="take another {directory}")
    assert launching._of_another_config(elsewhere, given) == str(elsewhere)


def test_a_message_of_several_lines_is_one_line(capsys):
    assert launching.fail("vaelab run", "a b\n   c\td", 7) == 7
    assert capsys.readouterr().err == "vaelab run: a b c d\n"


def damaged():
    return OSError(28, "No space left on device", "/disk/file")


ENDS = {
    "config": (ConfigError("no such\nsetting"), 2, "vaelab run: no such setting"),
    "data": (DataError("no such data"), 2, "no such data"),
    "checkpoint": (CheckpointError("another regime"), 1, "another regime"),
    "not finite": (NonFiniteError("not finite at step 3"), 1, "not finite at step 3"),
    "a process": (ProcessLost("process 1 is gone"), 1, "process 1 is gone"),
    "a full disk": (damaged(), 1, "No space left on device: /disk/file"),
    "SIGTERM": (Stopped(15), 143, "the same command goes on with a"),
    "SIGINT": (Stopped(2), 130, "the same command goes on with a"),
}


@pytest.fixture
def launched(monkeypatch):
    """(exception or None) -> the status of a launch whose run raises it."""
    monkeypatch.setattr(launching, "listen", lambda: None)
    monkeypatch.setattr(launching, "end_at_once", lambda: None)

    def launch(exception, calls=None):
        def run(config, workdir, console, **settings):
            if exception is not None:
                raise exception
            calls.append((workdir, settings))

        monkeypatch.setattr(launching, "run", run)
        given = values("--workdir=a", "--across_versions", "--from=b")
        return launching._run("vaelab run", given, Path("a"))

    return launch


@pytest.mark.parametrize("case", ENDS)
def test_what_ends_a_run_is_one_line_and_a_status(case, launched, capsys):
    exception, status, says = ENDS[case]
    assert launched(exception) == status
    assert_one_line(capsys.readouterr(), says=says)


def test_a_run_that_ends_well_is_given_its_flags_and_a_mistake_of_ours_is_not_hidden(launched, capsys):
    calls = []
    assert launched(None, calls) == 0
    assert calls == [("a", {"across_versions": True, "start": "b", "overwrite": None})]
    assert capsys.readouterr().err == ""
    with pytest.raises(ZeroDivisionError):
        launched(ZeroDivisionError("ours"))


@pytest.fixture
def cache_settings():
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_where_compiled_programs_are_kept(cache_settings, monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert launching.keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "vaelab" / "compiled")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert launching.keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / ".cache" / "vaelab" / "compiled")


def test_without_a_home_nothing_is_kept_and_nothing_fails(cache_settings, monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does where there is no home
    before = jax.config.jax_compilation_cache_dir
    assert not launching.keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir == before
