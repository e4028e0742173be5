"""Trackers: each step once over kills and failures, and no run that ends by one."""

import json
import sys
from pathlib import Path

import pytest

from vaelab.report import trackers
from vaelab.report.log import MetricsLog
from vaelab.report.tracked import About, Results, Sink
from vaelab.report.trackers import Tracker, Trackers

RESULTS = Results({"test/full/amortization_gap": 0.25}, 60, [Path("gaps.png")], Path("report.html"))


class Package:
    """What a package of the outside would hold: by run what it was told; `broken` what it raises at."""

    def __init__(self, broken=(), delay=0.0):
        self.runs, self.parents, self.broken, self.delay = {}, {}, set(broken), delay

    def _reach(self, what):
        if what in self.broken:
            raise RuntimeError(f"no {what}\nhere")

    def begin(self, about, known, parent):
        self._reach("begin")
        run = known or f"id{len(self.runs)}"
        told = self.runs.setdefault(run, [])
        self.parents[run] = parent

        def act(what, *rest):
            self._reach(what)
            told.append((what, *rest))

        return Sink(
            run,
            lambda stage, step, total, values: act("write", stage, step, total, dict(values)),
            lambda results: act("finish", results),
            lambda: act("close"),
            self.delay,
        )


@pytest.fixture
def packages(monkeypatch):
    def replaced(**by_name):
        entries = {name: Tracker(lambda: "", package.begin) for name, package in by_name.items()}
        monkeypatch.setattr(trackers, "TRACKERS", entries)
        return tuple(by_name)

    return replaced


def opened(directory, names, said=None, **more):
    about = About(directory, "runs/one", "run", {}, **more)
    return Trackers(about, names, [].append if said is None else said.append)


def logged(directory, names, start, steps, *, close=True, stage="train", before=0, said=None):
    told = opened(directory, names, said)
    log = MetricsLog(directory, stage, start, tensorboard=False, trackers=told, before=before)
    for step in steps:
        log.write(step, elbo=-1.0 / step)
    if close:
        told.finish(RESULTS)
        told.close()


def steps_of(told):
    return [entry[2] for entry in told if entry[0] == "write"]


def test_a_run_that_goes_on_is_the_same_run_and_has_each_step_once(tmp_path, packages):
    package = Package()
    names = packages(one=package)
    logged(tmp_path, names, 0, (20, 40, 60), close=False)  # killed: its last checkpoint is that of 20
    logged(tmp_path, names, 20, (40, 60, 80), close=False)
    logged(tmp_path, names, 0, (10, 20), stage="refit_full", before=80)
    (told,) = package.runs.values()
    assert steps_of(told) == [20, 40, 60, 80, 10, 20]
    assert told[0] == ("write", "train", 20, 20, {"elbo": -1 / 20})
    assert told[4] == ("write", "refit_full", 10, 90, {"elbo": -1 / 10})
    assert told[-2:] == [("finish", RESULTS), ("close",)]


def test_what_a_kill_may_have_undone_is_sent_again(tmp_path, packages):
    package = Package(delay=3600.0)
    names = packages(one=package)
    logged(tmp_path, names, 0, (20, 40), close=False)
    logged(tmp_path, names, 20, (40, 60))
    logged(tmp_path, names, 60, (80,))
    assert [steps_of(told) for told in package.runs.values()] == [[20, 40, 20, 40, 60, 80]]


def test_what_a_tracker_missed_as_it_failed_it_gets_when_the_run_goes_on(tmp_path, packages):
    package = Package()
    names = packages(one=package)
    logged(tmp_path, names, 0, (20,), close=False)
    package.broken = {"write"}
    logged(tmp_path, names, 20, (40, 60), close=False)
    package.broken = set()
    logged(tmp_path, names, 60, (80,))
    (told,) = package.runs.values()
    assert steps_of(told) == [20, 40, 60, 80]


@pytest.mark.parametrize("what", ["begin", "write", "finish", "close"])
def test_a_tracker_that_fails_says_so_once_and_is_left_alone_and_the_other_goes_on(what, tmp_path, packages):
    failing, other, said = Package({what}), Package(), []
    names = packages(failing=failing, other=other)
    logged(tmp_path, names, 0, (20, 40), said=said)
    assert said == [f"nothing more of runs/one is sent to failing (RuntimeError: no {what} here)"]
    assert steps_of(*other.runs.values()) == [20, 40]
    assert not steps_of([e for told in failing.runs.values() for e in told]) or what in ("finish", "close")


def test_what_a_signal_raises_is_no_failure(tmp_path, packages):
    class Stop(BaseException):
        pass

    package = Package()
    names = packages(one=package)
    told = opened(tmp_path, names)
    package._reach = lambda what: (_ for _ in ()).throw(Stop())
    with pytest.raises(Stop):
        told.write("train", 20, {}, total=20)


def test_the_runs_of_a_sweep_know_it_and_what_fails_for_one_is_sent_nothing_of_another(tmp_path, packages):
    package, said = Package(), []
    names = packages(one=package)
    for directory in ("a", "b"):
        (tmp_path / directory).mkdir()
    sweep = opened(tmp_path, names)
    runs = [
        Trackers(About(tmp_path / name, name, "run", {}, tmp_path), names, said.append, sweep=sweep)
        for name in ("a", "b")
    ]
    assert package.parents == {"id0": None, "id1": "id0", "id2": "id0"}
    package.broken = {"write"}
    for run in runs:
        run.write("train", 20, {}, total=20)
        run.close()
    assert said == ["nothing more of a is sent to one (RuntimeError: no write here)"]
    assert set(package.runs["id1"] + package.runs["id2"]) == set()


def test_an_id_is_good_for_its_place_and_a_damaged_file_is_none(tmp_path, monkeypatch):
    package, place = Package(), ["http://a"]
    monkeypatch.setattr(trackers, "TRACKERS", {"one": Tracker(lambda: place[0], package.begin)})
    logged(tmp_path, ("one",), 0, (20,))
    place[0] = "http://b"
    logged(tmp_path, ("one",), 20, (40,))
    assert [steps_of(told) for told in package.runs.values()] == [[20], [20, 40]]
    kept = json.loads((tmp_path / trackers.FILE).read_text())
    assert {key: entry["sent"]["train"] for key, entry in kept.items()} == {
        "one http://a": 20,
        "one http://b": 40,
    }
    (tmp_path / trackers.FILE).write_text("{")
    logged(tmp_path, ("one",), 40, ())
    assert list(package.runs) == ["id0", "id1", "id2"]


def test_tensorboard_is_no_tracker_of_these(tmp_path):
    told = opened(tmp_path, ("tensorboard",))
    told.write("train", 1, {}, total=1)
    told.close()
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_not_installed_is_named_with_what_installs_it(tmp_path, monkeypatch):
    said = []
    monkeypatch.setitem(sys.modules, "wandb", None)  # as where it is not found
    opened(tmp_path, ("wandb",), said)
    assert said == ["nothing more of runs/one is sent to wandb (it is not installed: pip install wandb)"]
