"""The log of a run: the same in `metrics.jsonl` and in TensorBoard's event files, each step once."""

import json
import sys

import numpy as np
import pytest

from tests.support.events import scalars, shown
from vaelab import report
from vaelab.report import log as metrics
from vaelab.report.log import MetricsLog


def lines(directory, stage):
    """[(step, {name: value})] of the stage, in the float32 of an event."""
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [
        (row["step"], {name: np.float32(row[name]) for name in row if name not in ("stage", "step")})
        for row in rows
        if row["stage"] == stage
    ]


def log(directory, stage, start, steps, value):
    written = MetricsLog(directory, stage, start)
    for step in steps:
        written.write(step, elbo=value / step, seconds=0.1 * step)


def test_a_resumed_stage_has_each_step_once_in_both_and_the_others_are_left_alone(tmp_path):
    log(tmp_path, "train", 0, (20, 40, 60), -1.0)
    log(tmp_path, "refit_full", 0, (20, 40), -3.0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "refit_full", "st')  # a killed run was writing it
    log(tmp_path, "refit_full", 20, (40, 60), -4.0)
    log(tmp_path, "train", 40, (), -5.0)  # killed before its first chunk, and again after it
    log(tmp_path, "train", 20, (40,), -6.0)
    log(tmp_path, "train", 40, (60, 80), -7.0)
    of = {stage: scalars(tmp_path / "tensorboard" / stage) for stage in ("train", "refit_full")}
    for stage, found in of.items():
        assert found == lines(tmp_path, stage)
    elbos = [values["elbo"] for _, values in of["train"]]
    assert elbos == pytest.approx([-1 / 20, -6 / 40, -7 / 60, -7 / 80])
    assert [values["elbo"] for _, values in of["refit_full"]] == pytest.approx([-3 / 20, -4 / 40, -4 / 60])


def test_results_written_again_are_there_once(tmp_path):
    statistic = {"mean": 0.25, "stderr": float("nan")}
    row = {"split": "test", "family": "full"} | dict.fromkeys(report.MEASURED, statistic)
    for mean in (0.5, 0.75):
        rows = [{**row, "amortization_gap": {"mean": mean, "stderr": 0.125}, "elbo_amortized": None}]
        metrics.log_results(tmp_path, rows, step=40)
    ((step, values),) = scalars(tmp_path / "tensorboard" / "results")
    assert step == 40
    assert values["test/full/amortization_gap"] == 0.75
    assert values["test/full/amortization_gap_stderr"] == 0.125
    assert np.isnan(values["test/full/elbo_optimal_stderr"])
    assert "test/full/elbo_amortized" not in values


def test_another_process_than_the_first_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "is_first", lambda: False)
    log(tmp_path, "train", 0, (20, 40), -1.0)
    assert not list(tmp_path.iterdir())


def test_tensorboardx_does_not_bring_pytorch(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise RuntimeError('PyTorch is imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] in ("tensorboardX", "torch")]:
        monkeypatch.delitem(sys.modules, name)
    log(tmp_path / "run", "train", 0, (), -1.0)
    (tmp_path / "run").mkdir()
    log(tmp_path / "run", "train", 0, (20,), -1.0)
    assert "torch" not in sys.modules
    assert len(shown(tmp_path / "run" / "tensorboard" / "train")) == 1
