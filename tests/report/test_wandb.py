"""Weights & Biases: what a run says to it, by a stand-in; for real, where it is installed, by its files."""

import json
import struct
import subprocess
import sys
from types import SimpleNamespace

import pytest

from vaelab.report import wandb
from vaelab.report.tracked import About, Results


class Run:
    def __init__(self, **settings):
        self.settings, self.id = settings, settings["id"]
        self.calls, self.summary = [], {}

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))


class Artifact(list):
    def __init__(self, name, type):
        self.name = name

    def add_file(self, path, policy):
        self.append((path, policy))


@pytest.fixture
def runs(monkeypatch):
    """The runs that were begun in a stand-in of the package."""
    begun = []

    def init(**settings):
        begun.append(Run(**settings))
        return begun[-1]

    module = SimpleNamespace(init=init, Settings=dict, Image=lambda path: ("image", path), Artifact=Artifact)
    monkeypatch.setitem(sys.modules, "wandb", module)
    for name in ("WANDB_DIR", "WANDB_MODE", "WANDB_PROJECT", "WANDB_ERROR_REPORTING"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return begun


def about(directory, **more):
    return About(directory, "runs/one", "run", {"seed": 3}, **more)


def test_it_is_offline_in_the_directory_and_a_run_that_goes_on_keeps_its_id(runs, tmp_path):
    sink = wandb.begin(about(tmp_path), None, None)
    again = wandb.begin(about(tmp_path), sink.id, None)
    assert again.id == sink.id == runs[0].settings["id"]
    settings = runs[1].settings
    assert (settings["mode"], settings["dir"], settings["resume"]) == ("offline", str(tmp_path), "allow")
    assert settings["config"] == {"seed": 3}
    assert settings["group"] is None


def test_a_step_is_that_over_all_stages_and_written_at_once(runs, tmp_path):
    sink = wandb.begin(about(tmp_path), None, None)
    sink.write("train", 20, 20, {"elbo": -1.0})
    sink.write("refit_full", 10, 30, {"elbo": -2.0})
    logged = [(args[0], kwargs) for name, args, kwargs in runs[0].calls if name == "log"]
    assert logged == [
        ({"train/elbo": -1.0, "train/step": 20}, {"step": 20, "commit": True}),
        ({"refit_full/elbo": -2.0, "refit_full/step": 10}, {"step": 30, "commit": True}),
    ]


def test_results_are_its_summary_pictures_and_the_page_where_it_lies(runs, tmp_path):
    sink = wandb.begin(about(tmp_path), None, None)
    sink.finish(Results({"gap": 0.5}, 60, [tmp_path / "gaps.png"], tmp_path / "report.html"))
    sink.close()
    (run,) = runs
    assert run.summary == {"gap": 0.5}
    pictures, artifact, end = run.calls
    assert pictures[1:] == (({"pictures/gaps": ("image", str(tmp_path / "gaps.png"))},), {"step": 61})
    assert artifact[1][0] == [(str(tmp_path / "report.html"), "immutable")]
    assert end == ("finish", (), {"exit_code": 0})


def test_a_run_that_was_stopped_is_not_one_that_ended_well(runs, tmp_path):
    wandb.begin(about(tmp_path), None, None).close()
    assert runs[0].calls == [("finish", (), {"exit_code": 1})]


def test_runs_of_a_sweep_are_a_group_with_the_sweep_in_it(runs, tmp_path):
    sweep = tmp_path / "runs" / "priors"
    wandb.begin(About(sweep, "runs/priors", "sweep", {}), None, None)
    wandb.begin(about(sweep / "a" / "seed=0", sweep=sweep), None, None)
    assert [run.settings["group"] for run in runs] == ["runs/priors"] * 2
    assert [run.settings["dir"] for run in runs] == [str(sweep)] * 2
    assert [run.settings["job_type"] for run in runs] == ["sweep", "run"]


LAUNCH = """
import os, sys
from pathlib import Path
from vaelab.report.log import MetricsLog
from vaelab.report.tracked import About, Results
from vaelab.report.trackers import Trackers

directory, start, last, how = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
about = About(directory, "runs/one", "run", {"train": {"num_steps": 80}}, None)
told = Trackers(about, ("wandb",), lambda line: sys.exit(line))
log = MetricsLog(directory, "train", start, tensorboard=False, trackers=told)
for step in range(start + 10, last + 1, 10):
    log.write(step, elbo=-1.0 / step, inf=float("-inf"))
if how == "kill":
    os.kill(os.getpid(), 9)
page = directory / "report.html"
page.write_text("<html></html>")
told.finish(Results({"test/full/gap": 0.1, "test/full/gap_stderr": 0.01}, 80, [directory / "gaps.png"], page))
told.close()
"""


def records(path):
    """The records of a file of W&B: the log format of LevelDB, blocks of 32,768 bytes after a header of 7."""
    from wandb.proto import wandb_internal_pb2

    content, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack("<IHB", content[at : at + 7])
        parts += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def named(items):
    """Of entries with a key, or the keys down to them, and a value as JSON."""
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


@pytest.mark.slow
def test_the_files_of_a_killed_run_and_of_the_one_that_goes_on_are_one_run_with_each_step(tmp_path):
    pytest.importorskip("wandb")
    from PIL import Image

    Image.new("RGB", (4, 3)).save(tmp_path / "gaps.png")
    for start, last, how in ((0, 50, "kill"), (20, 60, "kill"), (40, 80, "end")):
        command = [sys.executable, "-c", LAUNCH, str(tmp_path), str(start), str(last), how]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == (-9 if how == "kill" else 0), done.stderr
    files = sorted(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == 3
    read = [record for path in files for record in records(path)]
    (identity,) = {record.run.run_id for record in read if record.HasField("run")}
    assert identity == json.loads((tmp_path / "trackers.json").read_text())["wandb"]["id"]
    assert {record.run.display_name for record in read if record.HasField("run")} == {"runs/one"}
    config = next(named(record.run.config.update) for record in read if record.HasField("run"))
    assert config["train"] == {"num_steps": 80}
    history = [named(record.history.item) for record in read if record.HasField("history")]
    elbo = {row["_step"]: row["train/elbo"] for row in history if "train/elbo" in row}
    assert elbo == {step: -1.0 / step for step in range(10, 81, 10)}
    summary = {}
    for record in read:
        summary |= named(record.summary.update)
    assert (summary["test/full/gap"], summary["test/full/gap_stderr"]) == (0.1, 0.01)
    assert summary["pictures/gaps/_type"] == "image-file"
    assert list(tmp_path.glob("wandb/offline-run-*/files/media/images/pictures/gaps_*.png"))
    (page,) = [record.artifact for record in read if record.HasField("artifact")]
    assert [entry.local_path for entry in page.manifest.contents] == [str(tmp_path / "report.html")]
