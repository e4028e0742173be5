"""The amortization gap in parts, against the closed forms of the linear-Gaussian model."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.support.oracles import FIVE, LinearGaussian, assert_mean
from vaelab import model, posterior
from vaelab.inference.solver import stochastic_gradient
from vaelab.measure import split_gap
from vaelab.measure.fit import InferenceSettings, Problem, score_runs
from vaelab.measure.gap import mean_and_stderr
from vaelab.measure.split_gap import GapSplit, split_gaps
from vaelab.model.prior import standard_normal_log_prior, standard_normal_log_prob
from vaelab.objective.draws import Estimate
from vaelab.objective.elbo import elbo
from vaelab.types import LatentModel

K, N = 3, 20
MODEL = model.linear_gaussian(K, (2.0, 1.0, 0.5), 0.7, 5)
THETA = MODEL.init(jax.random.key(0))
ORACLE = LinearGaussian.of(THETA)
PRECISION = ORACLE.precision()
X = ORACLE.sample(np.random.default_rng(0), N)


def solver(family):
    objective = partial(elbo, num_samples=2, antithetic=True)
    return stochastic_gradient(family, objective, optax.adam(0.1), num_samples=2)


SETTINGS = InferenceSettings(solver, 1, 1, 3, 400, 100)


def parts(name):
    """(phi_start, phi_best, the split, both bounds at the ends) of every datapoint."""
    rng, family = np.random.default_rng(1), {"diagonal": posterior.diagonal, "full": posterior.full}[name](K)
    best = np.float32([ORACLE.optimum(name, x) for x in X])
    start = best + np.float32(0.3 * rng.normal(size=best.shape))
    problem = Problem(THETA, (X, np.arange(N)), start, jax.random.key(5), 0.05)
    static = MODEL, family, SETTINGS
    eps = np.random.default_rng(7).normal(size=(N, 200, K))
    (split,) = split_gaps(MODEL, family, [problem], [best], [eps], chunk_size=N)
    (ends,) = score_runs(static, [problem], N, "score", [(start, best)])
    fit = SimpleNamespace(elbo_start=ends[0], elbo_optimal=ends[1], gain_stderr=np.float64(ends[2].stderr))
    return np.float64(start), np.float64(best), split, fit


@pytest.mark.parametrize("name", ["diagonal", "full"])
def test_mean_and_scale_cost_what_the_closed_forms_say(name):
    start, best, split, fit = parts(name)
    delta = start[:, :K] - best[:, :K]
    of_mean = 0.5 * np.einsum("ni,ij,nj->n", delta, PRECISION, delta)
    gap = np.array([ORACLE.elbo(x, *scale_of(name, b)) - ORACLE.elbo(x, *scale_of(name, s))
                    for x, s, b in zip(X, start, best, strict=True)])  # fmt: skip
    entry = split_gap.entry(split, fit, num_draws=400)
    # The noise of the draws of a mean's gain cancels in antithetic pairs; that of the gap does not.
    noise = FIVE * np.sqrt(np.mean(fit.gain_stderr**2) / N)
    for way in ("mean_first", "scale_first"):
        assert entry[way]["mean"] == pytest.approx(mean_and_stderr(of_mean), rel=2e-3, abs=1e-4)
        assert entry[way]["scale"]["mean"] == pytest.approx(np.mean(gap - of_mean), abs=noise)
    for way in (entry, entry["mean_first"], entry["scale_first"]):
        assert way["mean"]["mean"] + way["scale"]["mean"] == pytest.approx(entry["gap"]["mean"])
    assert entry["interaction"]["mean"] == pytest.approx(0.0, abs=1e-4)
    np.testing.assert_allclose(split.mean_nxK, 0.5 * delta * (delta @ PRECISION), rtol=2e-3, atol=2e-3)
    remainder = entry["by_dimension"]["remainder"]["mean"]
    assert remainder == pytest.approx(0.0, abs=1e-3 if name == "full" else 2 * noise)


def scale_of(name, phi):
    return phi[:K], np.diag(np.exp(phi[K:])) if name == "diagonal" else phi[K:].reshape(K, K)


def test_the_scale_of_each_dimension_costs_what_its_closed_form_says():
    start, _, split, _ = parts("diagonal")
    u = np.diag(PRECISION) * np.exp(2.0 * start[:, K:])
    wanted = 0.5 * (u - 1.0 - np.log(u))
    assert_mean(split.scale_nxK - wanted, np.zeros(K))
    assert parts("full")[2].scale_nxK.shape == (N, 0)


def test_where_mean_and_scale_interact_both_ways_are_told():
    """log p(x, z) = -z^4 / 12: L(m, s) = -(m^4 + 6 m^2 s^2 + 3 s^4) / 12 + log s, and dL/dm of degree 3."""

    def log_likelihood(theta, x_D, z_K):
        return -jnp.sum(z_K**4) / 12.0 - standard_normal_log_prob(z_K)

    quartic = LatentModel(1, lambda key: (), standard_normal_log_prior, log_likelihood, None, None)
    start, best = np.float32([[1.5, np.log(0.5)]]), np.float32([[0.0, 0.0]])
    problem = Problem((), (np.zeros((1, 1), np.float32), np.arange(1)), start, jax.random.key(0), 0.05)
    settings = SETTINGS._replace(elbo_samples=40_000, elbo_chunk_size=10_000)
    static = quartic, posterior.diagonal(1), settings
    eps = np.random.default_rng(7).normal(size=(1, 20_000, 1))
    (split,) = split_gaps(*static[:2], [problem], [best], [eps], chunk_size=1)
    (ends,) = score_runs(static, [problem], 1, "score", [(start, best)])
    got = split_gap.entry(split, SimpleNamespace(elbo_start=ends[0], elbo_optimal=ends[1]), num_draws=2)

    def bound(m, s):
        return -(m**4 + 6 * m**2 * s**2 + 3 * s**4) / 12 + np.log(s)

    wanted = {
        "mean_first": {"mean": bound(0, 0.5) - bound(1.5, 0.5), "scale": bound(0, 1) - bound(0, 0.5)},
        "scale_first": {"mean": bound(0, 1) - bound(1.5, 1), "scale": bound(1.5, 1) - bound(1.5, 0.5)},
    }
    noise = FIVE * 1.5 / np.sqrt(20_000)
    for way, by in wanted.items():
        for part, value in by.items():
            assert got[way][part]["mean"] == pytest.approx(value, abs=noise)
    assert got["interaction"]["mean"] == pytest.approx(-(6 * 1.5**2 * (1 - 0.25)) / 12, abs=noise)
    assert got["by_dimension"]["mean"][0]["mean"] == pytest.approx(wanted["mean_first"]["mean"], abs=noise)
    assert got["by_dimension"]["scale"][0]["mean"] == pytest.approx(wanted["mean_first"]["scale"], abs=noise)
    assert got["by_dimension"]["remainder"]["mean"] == pytest.approx(0.0, abs=2 * noise)


def test_what_is_not_finite_is_left_out():
    split = GapSplit(np.array([[1.0, 1.5], [np.inf, 1.0]]), np.full((2, 1), 0.4), np.full((2, 1), 0.7))
    start, best = (Estimate(np.full(3, value), None) for value in (0.0, 2.0))
    fit = SimpleNamespace(elbo_start=start, elbo_optimal=best)
    entry = split_gap.entry(split, fit, num_draws=2)
    assert (entry["num_points"], entry["gap"]["mean"], entry["mean"]["mean"]) == (1, 2.0, 1.25)
    assert entry["interaction"]["mean"] == -0.5
    assert entry["by_dimension"]["remainder"]["mean"] == pytest.approx(0.9)
    nothing = split._replace(mean_nxK=np.full((2, 1), np.nan))
    assert split_gap.entry(nothing, fit, num_draws=2) is None
