"""MLflow: what a run says to it, by a stand-in; for real, where it is installed, on a server and a file."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from types import SimpleNamespace
from typing import ClassVar

import pytest

from vaelab.report import mlflow
from vaelab.report.tracked import About, Results

VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", *mlflow.ENVIRONMENT)


class Client:
    """Stands in for MlflowClient; all of one address share its runs."""

    stores: ClassVar = {}

    def __init__(self, tracking_uri):
        self.runs = self.stores.setdefault(tracking_uri, {})

    def get_experiment_by_name(self, name):
        return SimpleNamespace(experiment_id=name) if name in self.runs else None

    def create_experiment(self, name, artifacts):
        self.runs[name] = artifacts
        return name

    def create_run(self, experiment, tags, run_name):
        identity = f"id{len(self.runs)}"
        told = {"tags": tags, "name": run_name, "metrics": [], "params": [], "artifacts": [], "status": None}
        self.runs[identity] = told
        return self.get_run(identity)

    def get_run(self, identity):
        metrics = {name: value for name, value, _ in self.runs[identity]["metrics"]}
        return SimpleNamespace(info=SimpleNamespace(run_id=identity), data=SimpleNamespace(metrics=metrics))

    def update_run(self, identity, status):
        self.runs[identity]["status"] = status

    set_terminated = update_run

    def log_batch(self, identity, metrics=(), params=()):
        assert len(metrics) <= 1000
        assert len(params) <= 100
        self.runs[identity]["metrics"] += metrics
        self.runs[identity]["params"] += params

    def log_artifact(self, identity, path, folder=""):
        self.runs[identity]["artifacts"].append((path, folder))


@pytest.fixture
def stores(monkeypatch):
    """The runs by address of the store, in a stand-in of the package."""
    entities = SimpleNamespace(
        Metric=lambda name, value, now, step: (name, value, step), Param=lambda name, value: (name, value)
    )
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=Client, entities=entities))
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    monkeypatch.setattr(Client, "stores", {})
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return Client.stores


def about(directory, config=None, **more):
    return About(directory, "runs/one", "run", config or {"train": {"num_steps": 40}, "seed": 3}, **more)


def test_by_default_all_is_in_the_directory_and_nothing_is_reported_to_its_makers(stores, tmp_path):
    mlflow.begin(about(tmp_path), None, None)
    ((address, runs),) = stores.items()
    assert address == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    assert runs["vaelab"] == (tmp_path / "mlflow" / "artifacts").as_uri()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert runs["id1"]["params"] == [("train.num_steps", "40"), ("seed", "3")]
    assert runs["id1"]["name"] == "runs/one"


def test_metrics_are_at_the_step_of_their_stage_and_results_are_there_once(stores, tmp_path):
    sink = mlflow.begin(about(tmp_path), None, None)
    sink.write("refit_full", 10, 50, {"elbo": -1.0})
    results = Results({"a=1,b=x[2]/gap": 0.5}, 60, [tmp_path / "gaps.png"], tmp_path / "report.html")
    sink.finish(results)  # and killed before the run was marked as finished
    again = mlflow.begin(about(tmp_path), sink.id, None)
    again.finish(results)
    ((_, runs),) = stores.items()
    (told,) = [run for name, run in runs.items() if name == sink.id]
    assert len(runs) == 2
    assert told["metrics"] == [("refit_full/elbo", -1.0, 10), ("a:1 b:x_2_/gap", 0.5, 60)]
    assert told["artifacts"][:2] == [(str(tmp_path / "gaps.png"), "pictures"), (results.page.as_posix(), "")]
    assert told["status"] == "RUNNING"
    again.close()
    assert told["status"] == "FINISHED"


def test_a_run_that_was_stopped_says_so(stores, tmp_path):
    mlflow.begin(about(tmp_path), None, None).close()
    ((_, runs),) = stores.items()
    assert runs["id1"]["status"] == "KILLED"


def test_a_large_config_is_sent_in_portions(stores, tmp_path):
    mlflow.begin(about(tmp_path, {f"a{n}": n for n in range(250)}), None, None)
    ((_, runs),) = stores.items()
    assert len(runs["id1"]["params"]) == 250


def test_runs_of_a_sweep_are_its_children_in_one_store(stores, tmp_path):
    sweep = mlflow.begin(about(tmp_path), None, None)
    run = mlflow.begin(about(tmp_path / "a" / "seed=0", sweep=tmp_path), None, sweep.id)
    ((_, runs),) = stores.items()
    assert runs[run.id]["tags"]["mlflow.parentRunId"] == sweep.id


def test_an_address_is_kept_without_its_password(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@host:5000/a")
    assert mlflow.place() == "https://host:5000/a"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///a.db")
    assert mlflow.place() == "sqlite:///a.db"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert mlflow.place() == ""


LAUNCH = """
import os, sys
from pathlib import Path
from vaelab.report.log import MetricsLog
from vaelab.report.tracked import About, Results
from vaelab.report.trackers import Trackers

directory, start, last, how = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
sweep = Trackers(About(directory, "runs", "sweep", {}, None), ("mlflow",), lambda line: sys.exit(line))
inside = directory / "one"
inside.mkdir(exist_ok=True)
config = {"train": {"num_steps": 80}, "long": "x" * 300}
about = About(inside, "runs/one", "run", config, directory)
told = Trackers(about, ("mlflow",), lambda line: sys.exit(line), sweep=sweep)
log = MetricsLog(inside, "train", start, tensorboard=False, trackers=told)
for step in range(start + 10, last + 1, 10):
    log.write(step, elbo=-1.0 / step, nan=float("nan"))
if how == "kill":
    os.kill(os.getpid(), 9)
for name in ("report.html", "gaps.png"):
    (inside / name).write_text("content")
statistics = {"test/full/gap": 0.1, "test/full/gap_stderr": 0.01}
told.finish(Results(statistics, 80, [inside / "gaps.png"], inside / "report.html"))
told.close()
sweep.close()
"""

READ = """
import json, sys
from mlflow import MlflowClient

client = MlflowClient(tracking_uri=sys.argv[1])
experiment = client.get_experiment_by_name("vaelab")
runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
one = runs["runs/one"]
identity = one.info.run_id
print(json.dumps({
    "runs": sorted(runs),
    "parent": one.data.tags["mlflow.parentRunId"] == runs["runs"].info.run_id,
    "status": one.info.status,
    "params": one.data.params,
    "elbo": [(m.step, m.value) for m in client.get_metric_history(identity, "train/elbo")],
    "nan": len(client.get_metric_history(identity, "train/nan")),
    "results": {name: value for name, value in one.data.metrics.items() if name.startswith("test/")},
    "artifacts": sorted(f.path for at in ("", "pictures") for f in client.list_artifacts(identity, at)),
}))
"""


@pytest.fixture(params=["server", "file"])
def address(request, tmp_path):
    """The address of a server of MLflow on loopback, which ends with the test, or of a file of its own."""
    pytest.importorskip("mlflow")
    if request.param == "file":
        yield f"sqlite:///{tmp_path}/a.db"
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    store = [
        f"--backend-store-uri=sqlite:///{tmp_path}/a.db",
        f"--artifacts-destination={tmp_path}/artifacts",
    ]
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*command, *store],
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        )
    try:
        until = time.monotonic() + 120
        while True:
            assert server.poll() is None, (tmp_path / "server.log").read_text()
            assert time.monotonic() < until, (tmp_path / "server.log").read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait(60)


@pytest.mark.slow
def test_a_run_killed_and_gone_on_with_reads_back_whole(address, tmp_path):
    env = {**os.environ, "MLFLOW_TRACKING_URI": address, "NO_PROXY": "127.0.0.1"}

    def python(code, *arguments, status=0):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=env)
        assert done.returncode == status, done.stderr
        return done.stdout

    for start, last, how in ((0, 50, "kill"), (20, 60, "kill"), (40, 80, "end")):
        python(LAUNCH, tmp_path, start, last, how, status=-9 if how == "kill" else 0)
    read = json.loads(python(READ, address))
    assert read["runs"] == ["runs", "runs/one"]
    assert read["parent"]
    assert read["status"] == "FINISHED"
    assert read["params"] == {"train.num_steps": "80", "long": "x" * 300}
    assert read["elbo"] == [[step, -1.0 / step] for step in range(10, 81, 10)]
    assert read["nan"] == 8
    assert read["results"] == {"test/full/gap": 0.1, "test/full/gap_stderr": 0.01}
    assert read["artifacts"] == ["pictures", "pictures/gaps.png", "report.html"]


@pytest.mark.slow
def test_a_server_that_is_gone_costs_a_line_and_seconds(tmp_path):
    pytest.importorskip("mlflow")
    env = {**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
    for name in mlflow.ENVIRONMENT:
        env.pop(name, None)
    code = LAUNCH.replace("lambda line: sys.exit(line)", "print")
    began = time.monotonic()
    command = [sys.executable, "-c", code, str(tmp_path), "0", "50", "end"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=env)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith("nothing more of runs is sent to mlflow (")
    assert time.monotonic() - began < 60
    assert len((tmp_path / "one" / "metrics.jsonl").read_text().splitlines()) == 5
