"""docs/other_packages.md is what benchmarks/other_packages.py measured; no package is run here."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.packages import PACKAGES
from benchmarks.packages import compared as comparison
from benchmarks.packages.compared import compared, wrong
from benchmarks.packages.expected import _slope, annealed_bound, importance_bound
from benchmarks.packages.model import elbo, log_evidence, log_normal, posterior_samples, shared
from benchmarks.packages.page import BEGIN, PAGE, line_of, render
from benchmarks.packages.record import ERRORS, ROUNDING, Exact, Number

RESULT = json.loads((Path(PAGE).parents[1] / "benchmarks" / "results" / "other_packages.json").read_text())


def test_the_page_is_made_of_the_results():
    assert PAGE.read_text().partition(BEGIN)[1:] == (BEGIN, render(RESULT).removeprefix(BEGIN))


def test_every_package_is_measured_as_pinned_and_is_what_is_said_of_it():
    assert list(RESULT["packages"]) == list(PACKAGES)
    assert sum(bool(package.numbers) for package in PACKAGES.values()) >= 10
    for name, package in PACKAGES.items():
        entry = RESULT["packages"][name]
        assert wrong(package, entry) == []
        assert [f"{pin}=={version.split('+')[0]}" for pin, version in entry["versions"].items()] == list(
            package.pins
        )


def test_vaelab_is_right_on_the_model():
    exact = {seen["exact"] for entry in RESULT["packages"].values() for seen in entry["numbers"].values()}
    (of_q, of_x) = sorted(exact)
    for name, true in (("elbo_amortized", of_q), ("log_evidence", of_x)):
        mean, error = RESULT["vaelab"][name]
        assert abs(mean - true) < ERRORS * error + ROUNDING


def test_the_exact_numbers_are_those_of_the_model_as_it_is():
    model = shared()
    few = model.x_NxD[:3]
    # At a coarser rule than the page's; the trapezoidal rule converges geometrically.
    coarse = log_evidence(model, few, 160, 7.0), elbo(model, few, 160, 7.0)
    np.testing.assert_allclose(coarse, [log_evidence(model, few, 200), elbo(model, few, 200)], atol=1e-6)
    assert np.all(coarse[1] < coarse[0])
    # p(x) of all 64 x is a distribution.
    every = (np.arange(64)[:, None] >> np.arange(6) & 1).astype(float)
    assert np.exp(log_evidence(model, every, 80, 7.0)).sum() == pytest.approx(1.0, abs=1e-6)
    # log p(x) by another identity: 1 / p(x) is the mean of 1 / p(x given z) under the posterior.
    z_NxSxK = posterior_samples(model, few, 2000, np.random.default_rng(0))
    inverse = np.exp(-model.log_likelihood(few[:, None], z_NxSxK))
    error = inverse.std(1) / inverse.mean(1) / math.sqrt(2000)
    assert np.all(np.abs(-np.log(inverse.mean(1)) - coarse[0]) < 5 * error)


def test_importance_sampling_is_as_low_as_its_variance_says():
    """To second order by half the relative variance of a weight over the number of samples."""
    exact = Exact(shared(), math.nan, float(np.mean(log_evidence(shared(), shared().x_NxD, 160, 7.0))))
    few, more = (importance_bound(exact, samples, 200) for samples in (50, 200))
    assert few[0] < more[0] < 5 * more[1]
    assert few[0] == pytest.approx(4 * more[0], abs=5 * (few[1] + 4 * more[1]))


def test_annealing_without_rejection_is_a_bound_of_the_gradient_that_the_model_has():
    exact = Exact(shared(), math.nan, float(np.mean(log_evidence(shared(), shared().x_NxD, 160, 7.0))))
    no_step, error = annealed_bound(exact, steps=2, step_size=0.0, damping=0.5, repeats=1000)
    bound = float(np.mean(elbo(shared(), shared().x_NxD, 160, 7.0))) - exact.log_evidence
    assert no_step == pytest.approx(bound, abs=5 * error)
    more, more_error = annealed_bound(exact, steps=8, step_size=0.25, damping=0.7, repeats=1000)
    assert no_step + 5 * math.hypot(error, more_error) < more < 0.0
    x, z = shared().x_NxD[:5], np.random.default_rng(0).standard_normal((5, 2))
    for k, direction in enumerate(1e-4 * np.eye(2)):
        up, down = (
            shared().log_likelihood(x, z + s * direction) + log_normal(z + s * direction) for s in (1, -1)
        )
        np.testing.assert_allclose(_slope(x, z)[:, k], (up - down) / 2e-4, atol=1e-6)


def test_what_is_expected_may_be_the_mean_of_several(monkeypatch):
    monkeypatch.setattr(comparison, "exact", lambda: Exact(shared(), -2.5, math.nan))
    number = Number("a", "a()", "", "L[q]", -1.0, "", "b")
    seen = comparison._number(number, {"a": [1.0, 2.0, 3.0], "b": [0.5, 0.7]})
    assert seen["difference"] == pytest.approx(0.5)
    assert (seen["nats"], seen["stderr"]) == pytest.approx((-2.0, 1.0 / math.sqrt(3.0)))
    assert (seen["expected"], seen["expected_stderr"]) == pytest.approx((0.6, 0.1))


@pytest.mark.parametrize("name", [name for name, package in PACKAGES.items() if package.numbers])
def test_a_number_that_is_another_is_told_with_its_line(name):
    package, entry = PACKAGES[name], copy.deepcopy(RESULT["packages"][name])
    for number in package.numbers:
        seen = entry["numbers"][number.name]
        seen["difference"] += 0.05 + ERRORS * math.hypot(seen["stderr"], seen["expected_stderr"])
    told = wrong(package, entry)
    assert [text for text, _ in told] == [number.call for number in package.numbers]
    for text, _ in told:
        assert text in PAGE.read_text().splitlines()[line_of(text) - 1]


def test_a_sign_that_changed_is_told(monkeypatch):
    """From what a package printed: the same with its sign turned is no longer the ELBO."""
    seen = next(iter(RESULT["packages"]["flax_example"]["numbers"].values()))
    monkeypatch.setattr(comparison, "exact", lambda: Exact(shared(), seen["exact"], math.nan))
    package = PACKAGES["flax_example"]
    values = {number.name: [3.87, 3.88, 3.89] for number in package.numbers}
    values |= {trap.name: [trap.low] for trap in package.traps}
    assert wrong(package, compared(package, {"versions": {}, "values": values})) == []
    turned = values | {"loss": [-3.87, -3.88, -3.89]}
    assert wrong(package, compared(package, {"versions": {}, "values": turned}))
