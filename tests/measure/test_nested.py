"""The parts of the approximation gap by level, of outcomes made by hand, and in closed form."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from tests.support import oracles
from vaelab import model as models
from vaelab import posterior
from vaelab.measure import nested
from vaelab.objective.draws import Estimate

LEVELS, K, D, N = (2, 2), 4, 5, 40
MODEL = models.linear_gaussian_hierarchy(LEVELS, (2.0, 0.5), 0.7, D)
FAMILIES = {
    "diagonal": posterior.diagonal(K),
    "per_level": posterior.per_level(K, levels=LEVELS),
    "full": posterior.full(K),
    "iaf": posterior.iaf(K, num_layers=1, hidden=3),
}
BOUNDS = {"diagonal": -9.0, "per_level": -8.6, "full": -8.1, "iaf": -8.3}  # of the first datapoint
ALL = np.ones(N, bool)


def outcome(*names, spread=0.3):
    random = np.random.default_rng(0)
    fits = {
        name: SimpleNamespace(
            elbo_optimal=Estimate(
                BOUNDS[name] + spread * random.normal(size=N) + np.arange(N), np.full(N, 0.01)
            ),
            phi_start=np.tile(np.asarray(FAMILIES[name].init()), (N, 1)),
        )
        for name in names
    }
    evidence = SimpleNamespace(log_evidence=-8.0 + np.arange(N), stderr=np.full(N, 0.02))
    theta = MODEL.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), N)
    x_NxD = np.asarray(jax.vmap(lambda key: models.simulate(MODEL, theta, key)[1])(keys))
    points = SimpleNamespace(inputs=SimpleNamespace(x_NxD=x_NxD))
    subject = SimpleNamespace(model=MODEL, theta=theta, families=FAMILIES)
    return subject, SimpleNamespace(fits=fits, evidence=evidence, points=points)


def test_from_each_family_on_the_parts_add_up_to_its_approximation_gap():
    subject, measured = outcome("diagonal", "per_level", "full")
    counts = {"diagonal": 3, "per_level": 2, "full": 1}
    for name, count in counts.items():
        parts = nested.entries(subject, name, measured, ALL)["approximation_parts"]
        assert parts.pop("num_points") == N
        assert list(parts) == list(nested.PARTS[3 - count :])
        gap_N = measured.evidence.log_evidence - measured.fits[name].elbo_optimal.value
        assert sum(part["mean"] for part in parts.values()) == pytest.approx(np.mean(gap_N))
    # Paired: 0.3 of each, and not what the means vary by over datapoints.
    across = nested.entries(subject, "diagonal", measured, ALL)["approximation_parts"]["across_level"]
    assert across["mean"] == pytest.approx(0.5, abs=5.0 * across["stderr"])
    assert across["stderr"] == pytest.approx(0.3 * np.sqrt(2.0 / N), rel=0.4)


def test_all_parts_are_over_the_same_datapoints():
    subject, measured = outcome("diagonal", "per_level", "full")
    measured.fits["full"].elbo_optimal.value[3] = np.nan
    used_N = np.arange(N) != 7
    parts = nested.entries(subject, "diagonal", measured, used_N)["approximation_parts"]
    kept = np.setdiff1d(np.arange(N), [3, 7])
    assert parts["num_points"] == len(kept)
    lead_N = measured.fits["per_level"].elbo_optimal.value - measured.fits["diagonal"].elbo_optimal.value
    assert parts["within_level"]["mean"] == pytest.approx(np.mean(lead_N[kept]))


def test_only_parts_between_neighbours_that_are_there_are_named():
    subject, measured = outcome("diagonal", "full", "iaf")
    assert list(nested.entries(subject, "diagonal", measured, ALL)["approximation_parts"])[1:] == [
        "non_gaussian"
    ]
    assert nested.entries(subject, "iaf", measured, ALL) == {}
    flat = subject.model._replace(levels=())
    assert nested.entries(SimpleNamespace(model=flat), "full", measured, ALL) == {}
    assert nested.exact(SimpleNamespace(model=flat), "full", measured, ALL) == {}


def test_the_closed_forms_are_those_of_the_precision():
    subject, measured = outcome("diagonal", "per_level", "full")
    got = nested.exact(subject, "diagonal", measured, ALL)["approximation_parts"]
    exact = oracles.LinearHierarchy.of(subject.theta, LEVELS)
    precision = np.linalg.inv(exact.posterior(np.zeros(D))[1])
    log_blocks = oracles.log_abs_det(precision[:2, :2]) + oracles.log_abs_det(precision[2:, 2:])
    truths = {
        "within_level": 0.5 * (np.sum(np.log(np.diag(precision))) - log_blocks),
        "across_level": 0.5 * (log_blocks - oracles.log_abs_det(precision)),
        "non_gaussian": 0.0,
    }
    assert min(truths["within_level"], truths["across_level"]) > 0.005
    for part, truth in truths.items():
        assert got[part]["mean"] == pytest.approx(truth, abs=1e-4)


def test_what_each_family_has_in_it():
    prior = jax.eval_shape(MODEL.init, jax.random.key(0))["prior"]
    others = posterior.cholesky(K), posterior.top_down(K, levels=LEVELS, prior=prior)
    families = FAMILIES | {family.name: family for family in others}
    within = {name: nested.nested_in(family, families) for name, family in families.items()}
    assert within == {
        "diagonal": [],
        "per_level": ["diagonal"],
        "full": ["diagonal", "per_level"],
        "cholesky": ["diagonal", "per_level"],
        "iaf": ["diagonal"],
        "top_down": [],
    }
