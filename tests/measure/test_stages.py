"""The order of the stages on one split, with the costly ones replaced by numbers that are known again."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from rich.console import Console

from vaelab import posterior
from vaelab.evidence import Evidence
from vaelab.inference.loop import Inference
from vaelab.measure import stages
from vaelab.measure.blocks import Measurement
from vaelab.measure.fit import LocalFit
from vaelab.measure.subject import Inputs, Measured
from vaelab.objective.draws import Estimate

N, K = 5, 2
CONSOLE = Console(quiet=True)
FAMILIES = {"diagonal": posterior.diagonal(K), "full": posterior.full(K)}
ESTIMATORS = SimpleNamespace(name="cheap"), SimpleNamespace(name="dear")


def fit_runs(model, family, settings, problems, *, starts, chunk_size, progress):
    """phi* = phi + 1 of each datapoint, whose bound is its index."""
    for problem in problems:
        _, index_M = problem.data
        bound = Estimate(np.float32(index_M), np.full(len(index_M), 0.1, np.float32))
        flags = np.ones(len(index_M), bool)
        inference = Inference(problem.phi_start_NxP + 1.0, bound, flags)
        yield LocalFit(problem.phi_start_NxP, bound, inference, bound, bound, 1 * flags, ~flags)


@pytest.fixture
def calls(monkeypatch):
    """(stage, what it was called with) of each that was computed."""
    seen = []

    def fit(model, family, settings, problems, **arguments):
        seen.append(("fit", family.name, len(problems), len(problems[0].data[1])))
        return list(fit_runs(model, family, settings, problems, **arguments))

    def weigh(model, estimator, parts, *, chunk_size, progress):
        seen.append(("weigh", estimator.name, len(parts), len(parts[0].data[1])))
        for part in parts:
            seen.append(("phis", [float(phi_NxP[0, 0]) for phi_NxP in part.phis]))
        return [Evidence(*(np.float32(part.data[1]) + number for number in range(5))) for part in parts]

    def choose(model, estimators, theta, data, phis, key, *, pilot_points, chunk_size):
        trial = SimpleNamespace(_asdict=dict)
        kept = {"winner": theta, "reason": f"run {theta}"}
        return SimpleNamespace(_asdict=lambda: kept, trials=[trial])

    monkeypatch.setattr(stages, "fit_runs", fit)
    monkeypatch.setattr(stages, "weigh_runs", weigh)
    monkeypatch.setattr(stages, "choose_estimator", choose)
    return seen


def runs(tmp_path, count, *, estimators=ESTIMATORS[:1]):
    """Runs whose theta is their number."""
    evidence = SimpleNamespace(
        estimators=estimators,
        proposals=(("full", "optimum"), ("diagonal", "encoder")),
        start="diagonal",
        pilot_points=2,
    )
    settings = SimpleNamespace(
        families=tuple(FAMILIES),
        starts=("encoder",),
        inference=dict.fromkeys(FAMILIES),
        tolerance=0.05,
        memory=128,
        points_per_save=3,
        search=SimpleNamespace(num_starts=0),
        diagnostics=SimpleNamespace(enabled=False, split_points=0),
        evidence=evidence,
    )
    made = []
    for number in range(count):
        directory = tmp_path / str(number)
        (directory / "stages").mkdir(parents=True)

        def start(name, inputs, number=number):
            return np.full((len(inputs.index_N), FAMILIES[name].param_size), 10.0 * number, np.float32)

        subject = SimpleNamespace(
            model=None, theta=number, families=FAMILIES, settings=settings, start=start, amortized={},
            keys=SimpleNamespace(inference=None, evidence=None, pilot=None),
        )  # fmt: skip
        inputs = Inputs(np.zeros((N, 1), np.float32), np.arange(100, 100 + N))
        made.append(Measurement(subject, Measured(inputs), directory))
    return made


def test_all_runs_are_fitted_and_weighed_together_in_blocks_and_not_again(calls, tmp_path):
    made = runs(tmp_path, 2)
    outcomes = stages.measure(made, "test", CONSOLE)
    fits = [call for call in calls if call[0] == "fit"]
    assert fits == [("fit", name, 2, size) for name in FAMILIES for size in (3, 2)]
    assert [call for call in calls if call[0] == "weigh"] == [
        ("weigh", "cheap", 2, 3),
        ("weigh", "cheap", 2, 2),
    ]
    # The optimum of the full family, and where the diagonal fit began.
    assert [call for call in calls if call[0] == "phis"] == [("phis", [1.0, 0.0]), ("phis", [11.0, 10.0])] * 2
    for number, outcome in enumerate(outcomes):
        np.testing.assert_array_equal(outcome.evidence.log_evidence, np.arange(100, 100 + N))
        np.testing.assert_array_equal(outcome.fits["full"].inference.phi_P, 10.0 * number + 1.0)
        assert outcome.seconds.keys() == FAMILIES.keys()
        assert outcome.estimator.name == "cheap"
        empty = outcome.choice, outcome.bidirectional, outcome.others, outcome.calibrations, outcome.splits
        assert empty == (None, None, None, {}, {})
    count = len(calls)
    again = stages.measure(made, "test", CONSOLE)
    assert len(calls) == count
    jax.tree.map(np.testing.assert_array_equal, outcomes[1].fits, again[1].fits)
    stages.measure(made, "train", CONSOLE)
    assert len(calls) == 2 * count


def test_each_run_has_the_estimator_that_its_pilot_chose(calls, tmp_path):
    outcomes = stages.measure(runs(tmp_path, 2, estimators=ESTIMATORS), "test", CONSOLE)
    assert [outcome.estimator.name for outcome in outcomes] == ["cheap", "dear"]
    assert [outcome.choice["reason"] for outcome in outcomes] == ["run 0", "run 1"]
    weighed = [call[1:3] for call in calls if call[0] == "weigh"]
    assert weighed == [("cheap", 1), ("cheap", 1), ("dear", 1), ("dear", 1)]
