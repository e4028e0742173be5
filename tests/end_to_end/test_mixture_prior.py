"""The whole measurement of a model whose posteriors have several modes, against its closed forms.

A mixture prior with a linear-Gaussian likelihood: log p(x), the modes and their number, the best diagonal and
full q at the heaviest, as `rows` and `arrays` report them.
"""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
import pytest
from rich.console import Console

from tests.support.oracles import FIVE
from vaelab import model as models
from vaelab import posterior
from vaelab.config.audit import audit_config, audit_settings
from vaelab.evidence import ESTIMATORS
from vaelab.evidence.annealing import Annealing
from vaelab.evidence.smc import Tempering
from vaelab.keys import Keys, purpose_key
from vaelab.measure import rows as reporting
from vaelab.measure.blocks import Measurement
from vaelab.measure.datapoints import simulated
from vaelab.measure.stages import measure
from vaelab.measure.subject import Subject

M, K, D, N = 3, 2, 3, 12
MODEL = models.mixture_linear_gaussian(K, (0.35, 0.15), 1.0, D, num_components=M)
THETA = MODEL.init(jax.random.key(0)) | {
    "prior": {
        # Far apart in units of their scales, and near each other for x, which says little: several modes.
        "logit_M": np.float32([0.0, -0.3, -0.8]),
        "mean_MxK": np.float32([[0.0, 0.0], [4.0, 1.0], [-1.0, 5.0]]),
        "log_scale_MxK": np.log(np.float32([[0.7, 0.4], [0.5, 0.6], [0.4, 0.5]])),
    }
}
KEY = jax.random.key(1)


class Exact(NamedTuple):
    """Of each datapoint: log p(x); the best bound of either family; modes within 7 nats of the heaviest."""

    log_evidence_N: np.ndarray
    diagonal_N: np.ndarray
    full_N: np.ndarray
    num_modes_N: np.ndarray


def exact(x_NxD):
    log_evidence_N = jax.vmap(models.mixture_linear_gaussian_log_evidence, (None, 0))(THETA, x_NxD)
    diagonal_NxM, full_NxM = jax.vmap(models.mixture_linear_gaussian_bounds, (None, 0))(THETA, x_NxD)
    below_NxM = np.max(full_NxM, axis=1, keepdims=True) - full_NxM
    assert np.abs(below_NxM - 7.0).min() > 0.05  # none so near the limit that rounding decides
    numbers = (log_evidence_N, np.max(diagonal_NxM, axis=1), np.max(full_NxM, axis=1))
    return Exact(*map(np.float64, numbers), np.sum(below_NxM < 7.0, axis=1))


@pytest.fixture(scope="module")
def points():
    return simulated(MODEL, THETA, jax.random.key(2), num_points=N)


@pytest.fixture(scope="module")
def measured(points, tmp_path_factory):
    """(the rows by family, the arrays) of one measurement."""
    config = audit_config(
        ("diagonal", "full"),
        None,
        evidence="importance",
        tolerance=0.005,
        changes={
            "evidence.num_samples": 4000,
            "inference.modes.num_starts": 64,
            "inference.modes.pilot_points": 4,
        },
    )
    families, settings = audit_settings(config, K, None, two_sided=False)
    keys = Keys(*(purpose_key(KEY, purpose) for purpose in Keys._fields))
    subject = Subject(MODEL, THETA, families, settings, keys, {}, partial(_at_prior, families))
    directory = tmp_path_factory.mktemp("measured")
    (directory / "stages").mkdir()
    data = points._replace(z_NxK=None)
    (outcome,) = measure([Measurement(subject, data, directory)], "test", Console(quiet=True))
    rows = {row["family"]: row for row in reporting.rows(subject, "test", outcome)}
    return rows, reporting.arrays(subject, "test", outcome)


def _at_prior(families, name, inputs):
    return np.tile(np.asarray(families[name].init()), (len(inputs.index_N), 1))


def test_log_evidence_is_the_closed_form(measured, points):
    _, arrays = measured
    truth_N = exact(points.inputs.x_NxD).log_evidence_N
    error_N = np.abs(arrays["test/log_evidence"] - truth_N)
    assert np.all(error_N <= FIVE * arrays["test/log_evidence_stderr"] + 1e-4)


def test_the_modes_are_as_many_as_there_are(measured, points):
    _, arrays = measured
    number_N = exact(points.inputs.x_NxD).num_modes_N
    np.testing.assert_array_equal(arrays["test/num_modes"], number_N)
    assert number_N.min() >= 2
    assert not arrays["test/modes_missed"].any()


@pytest.mark.parametrize("name", ["diagonal", "full"])
def test_the_gaps_are_those_of_the_best_mode(measured, points, name):
    """The best q sits at one mode: what it lacks is the log of that mode's share, and its mean-field loss."""
    rows, arrays = measured
    truth = exact(points.inputs.x_NxD)
    best_N = {"diagonal": truth.diagonal_N, "full": truth.full_N}[name]
    lead_N = arrays[f"test/{name}/elbo_optimal"] - best_N
    stderr_N = arrays[f"test/{name}/elbo_optimal_stderr"]
    assert np.all(np.abs(lead_N) <= 0.005 + FIVE * stderr_N)
    gap_N = truth.log_evidence_N - best_N
    row = rows[name]
    assert abs(row["approximation_gap"]["mean"] - np.mean(gap_N)) < 0.005 + FIVE * np.sqrt(
        np.mean(stderr_N**2) / N
    )
    assert (row["prior"], row["certificate"], row["broken_orders"]) == ("mixture", "estimate", [])


SETTINGS = {
    "num_samples": 2000,
    "chunk_size": 100,
    "degrees_of_freedom": 10,
    "annealing": Annealing(num_temperatures=60, num_chains=16, pilot_temperatures=10, pilot_chains=8),
    "tempering": Tempering(num_runs=8, num_particles=64, pilot_temperatures=10, pilot_chains=8),
    "num_nodes": 129,
    "half_width": 10.0,
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_weighs_a_posterior_of_several_components(name, points):
    """From a q as wide as all of them: N(m, S S') with the moments of the posterior, by several keys."""
    x_D = points.inputs.x_NxD[0]
    log_weight_M, mean_MxK, precision_MxKxK = models.mixture_linear_gaussian_posterior(THETA, x_D)
    weight_M = np.exp(np.float64(log_weight_M))
    mean_K = weight_M @ np.float64(mean_MxK)
    away_MxK = np.float64(mean_MxK) - mean_K
    covariance_KxK = np.einsum("m,mij->ij", weight_M, np.linalg.inv(np.float64(precision_MxKxK)))
    covariance_KxK += np.einsum("m,mi,mj->ij", weight_M, away_MxK, away_MxK)
    full = posterior.full(K)
    phi_P = np.concatenate([mean_K, 1.2 * np.linalg.cholesky(covariance_KxK).reshape(-1)]).astype(np.float32)
    entry = ESTIMATORS[name]
    estimator = entry.make((full,), "full", **{setting: SETTINGS[setting] for setting in entry.settings})
    log_joint = models.bind(MODEL, THETA, x_D)
    keys = jax.random.split(jax.random.key(3), 20)
    evidence = jax.jit(jax.vmap(lambda key: estimator.estimate(log_joint, (phi_P,), key)))(keys)
    error_R = np.float64(evidence.log_evidence) - float(exact(points.inputs.x_NxD[:1]).log_evidence_N[0])
    stderr = max(np.std(error_R, ddof=1), float(np.mean(evidence.stderr)), 1e-5) / np.sqrt(len(keys))
    # A lower bound lacks about half of the variance of its weights, beside the error.
    lacks = 0.0 if estimator.bias == "none" else float(np.mean(np.float64(evidence.stderr) ** 2))
    assert abs(np.mean(error_R) + 0.5 * lacks) < FIVE * stderr + 2e-4 + 0.5 * lacks
