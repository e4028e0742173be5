"""The trackers of runs and sweeps: what they are told of whole ones, and that a failing one stops none."""

import io
import json
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from tests.report.test_trackers import Package, steps_of
from tests.support.configs import smoke_with
from vaelab.config import defaults
from vaelab.report import trackers
from vaelab.report.quantities import MEASURED
from vaelab.report.trackers import Tracker
from vaelab.runs.run import run
from vaelab.runs.store import Run
from vaelab.runs.sweep import run_sweep
from vaelab.runs.tracking import sweep_results, tracked, tracked_sweep

SMALL = {
    "log.to": ("good", "bad"),
    "model.hidden": (10,),
    "encoder.hidden": (10,),
    "inference.families": ("diagonal",),
    "refit.num_steps": 0,
    "evaluate.max_points": 4,
    "evaluate.diagnostics.enabled": False,
    "evidence.num_samples": 100,
}


@pytest.fixture
def packages(monkeypatch):
    good, bad = Package(), Package({"write"})
    entries = {name: Tracker(lambda: "", each.begin) for name, each in (("good", good), ("bad", bad))}
    monkeypatch.setattr(trackers, "TRACKERS", entries)
    monkeypatch.setattr("vaelab.config.log.NAMES", ("good", "bad"))
    return good, bad


def test_a_sweep_is_a_group_of_runs_each_told_whole_and_a_failing_tracker_stops_none(packages, tmp_path):
    good, bad = packages
    console = Console(record=True, width=200, file=io.StringIO())
    config = smoke_with(SMALL)
    config.sweep = defaults.sweep(("train.optimizer.learning_rate", (1e-3, 2e-3)), num_seeds=1)
    directory = tmp_path / "sweep"
    rows = run_sweep(config, directory, console)
    assert len(rows) == 2
    sweep, *runs = good.runs
    assert good.parents == {sweep: None} | dict.fromkeys(runs, sweep)
    for identity, at in zip(runs, sorted(directory.glob("*/seed=0")), strict=True):
        lines = [json.loads(line) for line in (at / "metrics.jsonl").read_text().splitlines()]
        told = good.runs[identity]
        assert steps_of(told) == [line["step"] for line in lines]
        assert told[0][4]["elbo"] == lines[0]["elbo"]
        results = next(entry[1] for entry in told if entry[0] == "finish")
        gap = json.loads((at / "gap.json").read_text())["rows"][0]["amortization_gap"]
        assert results.statistics["test/diagonal/amortization_gap"] == gap["mean"]
        assert results.statistics["test/diagonal/amortization_gap_stderr"] == gap["stderr"]
        assert results.page == at / "report.html"
        assert at / "gaps.png" in results.pictures
        assert told[-1] == ("close",)
        assert not (at / "tensorboard").exists()
    of_sweep = next(entry[1] for entry in good.runs[sweep] if entry[0] == "finish")
    assert (
        of_sweep.statistics["learning_rate=0.001/test/diagonal/elbo_optimal"]
        == (rows[0]["elbo_optimal"]["mean"])
    )
    assert of_sweep.page == directory / "report.html"
    assert len(re.findall("is sent to", console.export_text())) == 1
    assert not any(steps_of(told) for told in bad.runs.values())


def test_runs_are_opened_with_their_sweep_and_closed_in_any_case(packages, tmp_path):
    good, _ = packages
    runs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"seed": 1}')
        runs.append(Run(name, tmp_path / name, None, SimpleNamespace(log_to=("good",))))
    (tmp_path / "config.json").write_text("{}")
    quiet = Console(quiet=True)

    def fail():
        with (
            tracked_sweep(tmp_path, ("good",), quiet) as sweep,
            tracked([one._replace(sweep=sweep) for one in runs], quiet) as told,
        ):
            told[0].trackers.write("train", 20, {"elbo": -1.0}, total=20)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert good.parents == {"id0": None, "id1": "id0", "id2": "id0"}
    wrote = ("write", "train", 20, 20, {"elbo": -1.0})
    assert good.runs == {"id0": [("close",)], "id1": [wrote, ("close",)], "id2": [("close",)]}


def test_a_sweep_says_the_numbers_of_each_point_by_its_name(tmp_path):
    number = {"mean": 0.5, "stderr": 0.1}
    row = {
        "split": "test",
        "family": "full",
        "num_seeds": 2,
        "runs": ["rate=1,b=2/seed=0", "rate=1,b=2/seed=1"],
    }
    row |= dict.fromkeys(MEASURED, number)
    told = sweep_results(tmp_path, [row, {"num_seeds": 0}])
    assert told.statistics["rate=1,b=2/test/full/elbo_optimal"] == 0.5
    assert told.statistics["rate=1,b=2/test/full/elbo_optimal_stderr"] == 0.1
    assert len(told.statistics) == 2 * len(MEASURED)


def test_a_run_that_ends_by_an_error_is_closed_without_results(packages, tmp_path, monkeypatch):
    good, _ = packages
    monkeypatch.setattr("vaelab.runs.run.train", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(smoke_with(SMALL), tmp_path / "run", Console(quiet=True))
    assert list(good.runs.values()) == [[("close",)]]
