"""The KL of q by level against its closed form under linear levels, and what adds up to the rate."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from tests.support import oracles
from vaelab import model as models
from vaelab import posterior
from vaelab.measure import by_level, diagnostics
from vaelab.measure.subject import DiagnosticsSettings, Inputs, Measured
from vaelab.objective.draws import Estimate

LEVELS, K, N = (2, 1, 2), 5, 60
AT = [slice(0, 2), slice(2, 3), slice(3, 5)]
MODEL = models.linear_gaussian_hierarchy(LEVELS, (1.0, 1.0), 1.0, 3)
THETA = MODEL.init(jax.random.key(0))
FULL = posterior.full(K)


def phi_of(seed):
    random = np.random.default_rng(seed)
    return np.concatenate([random.normal(size=K), oracles.random_scale(random, K, 9.0).reshape(-1)])


PHI_NxP = np.float32([phi_of(seed) for seed in range(N)])


def diagnosed(family=FULL, phi_NxP=PHI_NxP, num_draws=16):
    subject = SimpleNamespace(
        families={family.name: family},
        amortized={family.name: "encoder"},
        settings=SimpleNamespace(diagnostics=DiagnosticsSettings(True, N, num_draws, 0, 2), memory=64),
        keys=SimpleNamespace(inference=jax.random.key(1)),
        model=MODEL,
        theta=THETA,
    )
    bound = Estimate(np.full(N, -9.0), np.zeros(N))
    best = SimpleNamespace(phi_P=PHI_NxP[::-1])
    fit = SimpleNamespace(phi_start=phi_NxP, elbo_start=bound, inference=best)
    points = Measured(Inputs(np.zeros((N, 3), np.float32), np.arange(N)))
    return diagnostics.diagnose(subject, points, family.name, fit)


def exact(phi_P):
    """E_q[log q(z_l given z_>l) - log p(z_l given z_{l+1})] by conditioning, in float64."""
    mean, scale = oracles.mean_and_scale("full", phi_P)
    covariance, parts = scale @ scale.T, []
    for number, at in enumerate(AT):
        tail, above = covariance[at.start :, at.start :], covariance[at.stop :, at.stop :]
        size = at.stop - at.start
        log_det = oracles.log_abs_det(tail) - (oracles.log_abs_det(above) if above.size else 0.0)
        log_q = -0.5 * (size * (1.0 + oracles.LOG_2PI) + log_det)
        # z_l - W' z_{l+1} - b is Gaussian under q, of this map of z.
        root, bias, log_sd = np.zeros((size, K)), np.zeros(size), np.zeros(size)
        root[:, at] = np.eye(size)
        if number < 2:
            level = {name: np.float64(leaf) for name, leaf in THETA["prior"][f"level_{number + 1}"].items()}
            root[:, AT[number + 1]] = -level["weight_JxK"].T
            bias, log_sd = level["bias_K"], level["log_scale_K"]
        square = (root @ mean - bias) ** 2 + np.diag(root @ covariance @ root.T)
        log_p = -0.5 * np.sum(oracles.LOG_2PI + 2.0 * log_sd + square * np.exp(-2.0 * log_sd))
        parts.append(log_q - log_p)
    return parts


def test_each_part_is_that_of_the_chain_and_they_add_up_to_the_rate():
    one = diagnosed()
    kl_NxL = one.levels.kl_NxL
    truth_NxL = np.array([exact(phi_P) for phi_P in PHI_NxP])
    oracles.assert_mean(kl_NxL - truth_NxL, 0.0, rounding=1e-4)
    assert np.all(np.std(kl_NxL - truth_NxL, axis=0) < 0.5 * np.std(truth_NxL, axis=0))
    np.testing.assert_allclose(np.sum(kl_NxL, axis=1), one.encoded.kl_N, rtol=1e-4, atol=1e-4)
    row, arrays = diagnostics.entry(one), diagnostics.columns(one)
    assert [part["dimensions"] for part in row["by_level"]] == list(LEVELS)
    total = sum(part["kl"]["mean"] for part in row["by_level"])
    assert total == pytest.approx(row["rate"]["mean"], abs=1e-4)
    assert arrays["kl_by_level"].shape == (N, 3)
    # Here q* are those of the other datapoints, whose draws are others.
    difference_NxL = arrays["optimal_kl_by_level"] - truth_NxL[::-1]
    oracles.assert_mean(difference_NxL, 0.0, rounding=1e-4)
    means = np.mean(arrays["optimal_kl_by_level"], axis=0)
    np.testing.assert_allclose([part["optimal_kl"]["mean"] for part in row["by_level"]], means, rtol=1e-5)
    more = [part["optimal_less_kl"] for part in row["by_level"]]
    differences_NxL = arrays["optimal_kl_by_level"] - arrays["kl_by_level"]
    np.testing.assert_allclose([part["mean"] for part in more], np.mean(differences_NxL, axis=0), atol=1e-5)
    errors_L = np.std(differences_NxL, axis=0, ddof=1) / np.sqrt(N)
    np.testing.assert_allclose([part["stderr"] for part in more], errors_L, rtol=1e-4)


def test_units_are_counted_within_their_level():
    phi_NxP = PHI_NxP.copy()
    phi_NxP[:, AT[1]] = 0.7  # a mean that no datapoint moves
    row = diagnostics.entry(diagnosed(phi_NxP=phi_NxP))
    assert [part["active_units"]["count"] for part in row["by_level"]] == [2, 0, 2]
    assert [part["level"] for part in row["by_level"]] == [1, 2, 3]


def test_what_is_not_finite_is_left_out_and_said_to_be_so():
    phi_NxP = PHI_NxP.copy()
    phi_NxP[4] = np.nan
    one = diagnosed(phi_NxP=phi_NxP)
    assert np.isnan(one.levels.kl_NxL[4]).all()
    parts = diagnostics.entry(one)["by_level"]
    assert np.isfinite(parts[0]["kl"]["mean"])
    # One datapoint less, as its q is not finite; all q* are.
    assert [part["num_points"] for part in parts] == [N - 1] * 3
    none = by_level.ByLevel(LEVELS, np.full((3, 3), np.nan))
    assert [part["kl"] for part in by_level.entry(none, None)] == [None] * 3
