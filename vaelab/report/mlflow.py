"""MLflow: in DIR/mlflow/, or where MLFLOW_TRACKING_URI says, a server say.

`mlflow ui --backend-store-uri sqlite:///DIR/mlflow/mlflow.db` shows the former.
"""

import logging
import os
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vaelab.report.tracked import About, Results, Sink

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Set before the import: it reports what is used to a server of its own, and asks a lost one for minutes.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
MOST_AT_ONCE = {"metrics": 1000, "params": 100}


def place() -> str:
    """The address of the store without the password in it; "" for that in the directory."""
    return re.sub(r"//[^/@]*@", "//", os.environ.get("MLFLOW_TRACKING_URI", ""))


def begin(about: About, known: str | None, sweep: str | None) -> Sink:
    """A run of MLflow, or the one of the id `known`; those of a sweep are children of the sweep's."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow
    from mlflow.entities import Metric

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    files = (about.store / "mlflow").resolve()
    if uri is None:
        files.mkdir(exist_ok=True)
    client = mlflow.MlflowClient(tracking_uri=uri or f"sqlite:///{files / 'mlflow.db'}")
    if known is None:
        run_id = _new(client, about, sweep, None if uri else (files / "artifacts").as_uri())
    else:
        run_id = client.get_run(known).info.run_id
        client.update_run(run_id, status="RUNNING")
    finished = []

    def log(values: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        metrics = [Metric(_name(name), float(value), now, step) for name, value in values.items()]
        _in_portions(client, run_id, "metrics", metrics)

    def write(stage: str, step: int, total: int, values: Mapping[str, float]) -> None:
        log({f"{stage}/{name}": value for name, value in values.items()}, step)

    def finish(results: Results) -> None:
        has = client.get_run(run_id).data.metrics  # of a launch that was killed before its end was marked
        log({name: v for name, v in results.statistics.items() if _name(name) not in has}, results.total)
        for path in results.pictures:
            client.log_artifact(run_id, str(path), "pictures")
        client.log_artifact(run_id, str(results.page))
        finished.append(True)

    def close() -> None:
        client.set_terminated(run_id, "FINISHED" if finished else "KILLED")

    return Sink(run_id, write, finish, close)


def _new(client: "MlflowClient", about: About, sweep: str | None, artifacts: str | None) -> str:
    """The id of a new run, with its config."""
    from mlflow.entities import Param

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "vaelab")
    experiment = client.get_experiment_by_name(name)
    number = experiment.experiment_id if experiment else client.create_experiment(name, artifacts)
    tags = {"mlflow.source.name": "vaelab", "vaelab.kind": about.kind}
    if sweep is not None:
        tags["mlflow.parentRunId"] = sweep
    run_id = client.create_run(number, tags=tags, run_name=about.name).info.run_id
    params = [Param(_name(name), str(value)) for name, value in _flat(about.config).items()]
    _in_portions(client, run_id, "params", params)
    return run_id


def _in_portions(client: "MlflowClient", run_id: str, kind: str, entries: list[Any]) -> None:
    for start in range(0, len(entries), MOST_AT_ONCE[kind]):
        client.log_batch(run_id, **{kind: entries[start : start + MOST_AT_ONCE[kind]]})


def _flat(config: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{path}{name}.") if isinstance(value, dict) else {f"{path}{name}": value}
    return flat


def _name(name: str) -> str:
    """The name with what MLflow takes in one: a=1,b=2 is a:1 b:2."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("=", ":").replace(",", " "))
