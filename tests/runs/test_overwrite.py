"""A run is removed for another one where its name was typed, and nothing else ever is."""

import fcntl
import os

import pytest
from rich.console import Console

from tests.support.configs import smoke_with
from vaelab.errors import ConfigError
from vaelab.runs.overwrite import WRITTEN, make_room
from vaelab.runtime.directory import in_use, open_directory

QUIET = Console(quiet=True)


def run_in(directory, **settings):
    """What a launch of this config leaves first."""
    with in_use(open_directory(directory, smoke_with(settings)), QUIET):
        (directory / "metrics.jsonl").write_text("{}\n")
        (directory / "checkpoints" / "train").mkdir(parents=True)
    return directory


def room(directory, name=None, build=lambda: None, **settings):
    make_room(directory, name or directory.name, smoke_with({"seed": 7, **settings}), build, QUIET)


def refused(directory, says, **more):
    def everything():
        return sorted(str(path) for path in directory.parent.rglob("*"))

    before = everything()
    with pytest.raises(ConfigError) as caught:
        room(directory, **more)
    assert "\n" not in str(caught.value)
    assert says in str(caught.value)
    assert everything() == before


def test_a_run_of_another_config_is_removed_whole(tmp_path):
    directory = run_in(tmp_path / "one")
    room(directory)
    assert not list(tmp_path.iterdir())
    room(directory)  # as is nothing
    directory.mkdir()
    room(directory)


def test_a_run_of_the_same_config_goes_on(tmp_path):
    directory = run_in(tmp_path / "one", seed=7)
    before = sorted(directory.rglob("*"))
    room(directory, build=lambda: 1 / 0)
    assert sorted(directory.rglob("*")) == before


def test_another_name_is_refused_also_for_what_is_not_there(tmp_path):
    refused(run_in(tmp_path / "one"), "the name of --workdir is 'one'", name="on")
    refused(tmp_path / "two", "the name of --workdir is 'two'", name="one")


def test_a_sweep_goes_with_its_runs_and_what_stands_beside_one_keeps_it(tmp_path):
    directory = run_in(tmp_path / "one")
    point = run_in(directory / "rate=1,b=x" / "seed=0").parent
    run_in(point / "seed=1")
    notes = point / "seed=1" / "notes.txt"
    notes.write_text("mine")
    refused(directory, "holds what no run has written (rate=1,b=x/seed=1/notes.txt)")
    notes.unlink()
    (point / "seed=2").mkdir()
    refused(directory, f"{point / 'seed=2'} holds no run")
    (point / "seed=2").rmdir()
    room(directory)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["notes.txt", "gap.json.bak", "figures", "my gaps.png", ".git"])
def test_a_file_of_the_users_keeps_the_run(name, tmp_path):
    directory = run_in(tmp_path / "one")
    (directory / name).mkdir()
    refused(directory, f"holds what no run has written ({name})")


def test_what_is_no_run_is_left_alone(tmp_path):
    directory = tmp_path / "one"
    directory.mkdir()
    (directory / "config.json").write_text('{"data": {}}')  # of another program
    refused(directory, "holds no run with a config.json")
    run_in(tmp_path / "two")
    (tmp_path / "two" / "config.json").write_text("{")
    refused(tmp_path / "two", "holds no run with a config.json")
    (tmp_path / "two" / "config.json").write_text('{"given": {}, "data": {}}')  # of an audit
    refused(tmp_path / "two", "holds no run with a config.json")
    run_in(tmp_path / "three")
    (tmp_path / "link").symlink_to(tmp_path / "three")
    refused(tmp_path / "link", "is a link", name="three")


def test_the_folder_that_one_is_in_is_left_alone(tmp_path, monkeypatch):
    directory = run_in(tmp_path / "one")
    monkeypatch.chdir(directory / "stages")
    refused(directory, "is the folder that you are in, or above it")


@pytest.mark.parametrize("at", [".", "rate=1/seed=0"])
def test_a_run_that_is_at_work_is_left_alone(at, tmp_path):
    directory = run_in(tmp_path / "one")
    run_in(directory / "rate=1" / "seed=0")
    with (directory / at / "lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused(directory, "is in use")


def test_what_is_wrong_with_the_new_config_is_said_before(tmp_path):
    def build():
        raise ConfigError("wrong")

    refused(run_in(tmp_path / "one"), "wrong", build=build)


def test_what_cannot_be_removed_is_whole(tmp_path, monkeypatch):
    directory = run_in(tmp_path / "one")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(type(directory), "rename", lambda *_: os.rmdir("/proc/1"))
    with pytest.raises(OSError, match="/proc/1"):
        room(directory)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_names_that_runs_write_are_no_others():
    assert all(map(WRITTEN.fullmatch, ("gap.json", "gap.json.partial", "damaged-gap.json", "stages", "lock")))
    assert not any(map(WRITTEN.fullmatch, ("gap.json~", "a-gap.json", "report.html.old", "Gap.json")))
