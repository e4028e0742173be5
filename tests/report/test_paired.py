"""Differences of runs: paired where they share datapoints, over seeds where both have several, else not."""

import math

import numpy as np
import pytest

from tests.support.directories import INDEX, N, write_audit, write_run
from vaelab import compare
from vaelab.report import paired


def lead_of(first, other, name="log_evidence"):
    return paired.difference(compare.read(first), compare.read(other), ("test", "diagonal"), name)


def test_shared_datapoints_are_paired_in_whatever_order(tmp_path):
    """The datapoints spread by 20 nats, the differences by 0.014."""
    first = write_run(tmp_path / "a")
    order = np.random.RandomState(0).permutation(N)
    other = write_run(tmp_path / "b", 0.5, index=INDEX[order])
    lead = lead_of(first, other)
    assert (lead["paired"], lead["over"]) == (True, "50 datapoints")
    assert lead["stderr"] == pytest.approx(math.sqrt(2) * 0.01 / math.sqrt(N), rel=0.3)
    assert abs(lead["mean"] - 0.5) < 5 * lead["stderr"]
    assert abs(lead_of(first, other, "amortization_gap")["mean"]) < 0.02


def test_only_what_both_measured_is_compared(tmp_path):
    first, other = write_run(tmp_path / "a"), write_run(tmp_path / "b", 0.5, index=INDEX[30:] + 5)
    lead = lead_of(first, other)
    assert (lead["paired"], lead["over"]) == (True, "15 datapoints")
    assert lead["mean"] == pytest.approx(0.5, abs=0.05)


def test_where_the_data_lie_is_no_difference(tmp_path):
    first, other = write_run(tmp_path / "a"), write_run(tmp_path / "b", 0.5, data={"data_dir": "/elsewhere"})
    assert lead_of(first, other)["paired"]


@pytest.mark.parametrize("data", [{"name": "mnist"}, {"seed": 1}, {"observation": "rescale"}])
def test_other_data_are_not_paired_by_their_numbers(tmp_path, data):
    lead = lead_of(write_run(tmp_path / "a"), write_run(tmp_path / "b", 0.5, data=data))
    assert not lead["paired"]
    assert lead["mean"] == pytest.approx(0.5, abs=0.01)
    assert lead["stderr"] > 2.0
    nothing = write_run(tmp_path / "c", 0.5, index=INDEX + 200)
    assert not lead_of(tmp_path / "a", nothing)["paired"]


def test_seeds_are_the_unit_where_there_are_several(tmp_path):
    for name, lead in (("a", 0.0), ("b", 0.5)):
        for seed in range(4):
            write_run(tmp_path / name / f"seed={seed}", lead + 0.1 * seed, seed=seed)
    lead = lead_of(tmp_path / "a", tmp_path / "b")
    assert (lead["paired"], lead["over"]) == (True, "4 seeds")
    assert lead["mean"] == pytest.approx(0.5, abs=0.01)
    assert lead["stderr"] < 0.005  # the seeds of both move by 0.1 together
    alone = lead_of(tmp_path / "a" / "seed=1", tmp_path / "b")
    assert not alone["paired"]


def test_audits_of_the_same_x_are_paired_whatever_their_keys(tmp_path):
    first, other = write_audit(tmp_path / "a"), write_audit(tmp_path / "b", 0.5, key="another")
    (_, row) = paired.compare([compare.read(first), compare.read(other)])
    lead = row["less_first"]["elbo_amortized"]
    assert (row["split"], row["family"], row["run"]) == ("given", "diagonal", "b")
    assert (lead["paired"], lead["over"]) == (True, "50 datapoints")
    assert lead["mean"] == pytest.approx(0.5, abs=0.01)


def test_audits_of_another_x_and_simulated_datapoints_are_not_paired(tmp_path):
    first, same, other = (
        compare.read(write_audit(tmp_path / name, lead, x=x, splits=("given", "simulated")))
        for name, lead, x in (("a", 0.0, "x"), ("b", 0.5, "x"), ("c", 0.5, "another x"))
    )
    leads = {
        (run.name, row["split"]): row["less_first"]["log_evidence"]
        for run in (same, other)
        for row in paired.compare([first, run])[1::2]
    }
    assert {part for part, lead in leads.items() if lead["paired"]} == {("b", "given")}
    assert [lead["mean"] for lead in leads.values()] == pytest.approx([0.5] * 4, abs=0.01)
