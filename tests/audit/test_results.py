"""What an audit gives back: its table with what is beside it, and the files of a directory."""

import json
import re

import numpy as np
import pytest
from rich.console import Console

from tests.support.rows import ROW
from vaelab import Report
from vaelab.audit import results
from vaelab.report import MEASURED

ARRAYS = {
    "given/index": np.arange(3),
    "given/log_evidence": np.array([-1.0, -2.0, -3.0]),
    "given/diagonal/elbo_optimal": np.array([-2.0, -3.0, -4.0]),
    "given/diagonal/elbo_amortized": np.array([-3.0, -3.5, -9.0]),
}


def row(**changes):
    return ROW | {"split": "given", "amortized_by": "encoder", "broken_orders": []} | changes


def printed(report):
    console = Console(width=150)
    with console.capture() as captured:
        report.table(console)
    return captured.get()


def test_the_table_has_weighted_means_labels_notes_and_remarks_beside_it():
    weighted = {"amortization_gap": {"mean": 0.75, "stderr": 0.125}}
    groups = {"digit 7": {"num_points": 2, **{name: {"mean": 0.5, "stderr": 0.25} for name in MEASURED}}}
    rows = [row(weighted=weighted, by_label=groups), row(family="full")]
    notes, remarks = ["does encode return [the variance]?"], ["normalisation: not checked"]
    said = printed(Report(rows, ARRAYS, notes, remarks))
    assert "given, diagonal, weighted: amortization gap 0.75 ± 0.12" in said
    assert "given, diagonal, by label" in said
    assert re.search(r"digit 7 +2 +0.50 ± 0.25", said)
    assert said.count(", weighted:") == said.count(", by label") == 1
    assert said.index(notes[0]) < said.index(remarks[0])


def test_what_is_saved_is_what_was_measured(tmp_path):
    report = Report([row()], ARRAYS, ["a note"])
    report.save(tmp_path / "new" / "audit")
    files = {path.name: path for path in (tmp_path / "new" / "audit").iterdir()}
    assert files.keys() == {"gap.json", "per_datapoint.npz", "gaps.png", "report.html"}
    assert json.loads(files["gap.json"].read_text())["rows"] == report.rows
    with np.load(files["per_datapoint.npz"]) as saved:
        assert saved.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(saved[name], array)
    page = files["report.html"].read_text()
    assert "<h1>audit</h1>" in page
    assert "<li>a note</li>" in page


def test_another_process_than_the_first_saves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "is_first", lambda: False)
    Report([row()], ARRAYS).save(tmp_path / "audit")
    assert not (tmp_path / "audit").exists()


def test_a_report_is_not_changed():
    with pytest.raises(AttributeError):
        Report([], {}).rows = []
