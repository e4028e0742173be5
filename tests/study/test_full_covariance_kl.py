"""The closed form of KL(N(mu, S S') || N(0, I)) against float64, distrax and draws, and what it costs."""

import jax
import numpy as np

from tests.support.figures import axes_of
from vaelab import report, study
from vaelab.study.full_covariance_kl import _errors, _member, _plot


def test_a_member_has_a_mean_and_a_full_matrix_near_the_identity():
    K = 50
    phi_P = np.asarray(_member(jax.random.key(0), K))
    assert phi_P.shape == (K + K**2,)
    off_KxK = phi_P[K:].reshape(K, K) - np.eye(K)
    # Entries of deviation 1 / (2 sqrt(K)), of which the greatest singular value is about 1.
    assert abs(np.std(off_KxK) * 2.0 * np.sqrt(K) - 1.0) < 5.0 / np.sqrt(2.0 * K**2)
    assert 0.8 < np.linalg.norm(off_KxK, 2) < 1.2


def test_errors_are_those_of_the_closed_form_in_float64():
    key = jax.random.key(3)
    row = _errors(key, 2, 400)
    phi_P = np.float64(_member(jax.random.split(key)[0], 2))
    mu, S = phi_P[:2], phi_P[2:].reshape(2, 2)
    exact = 0.5 * (np.sum(S**2) - 2.0 + mu @ mu) - np.log(abs(np.linalg.det(S)))
    np.testing.assert_allclose(row["KL"], exact, rtol=1e-5)
    assert max(row["relative error"], row["distrax, relative"], row["gradient, relative"]) < 1e-5
    assert row["draws, stderrs"] < 5.0
    np.testing.assert_allclose(row["condition number"], np.linalg.cond(S), rtol=1e-6)


def test_the_line_of_cubic_growth_goes_through_the_last_point(tmp_path, monkeypatch):
    axes = axes_of(monkeypatch, report)
    costs = [{"K": K, "diagonal": 1.0, "cholesky": 2.0, "full": full} for K, full in ((4, 3.0), (8, 16.0))]
    _plot(tmp_path / "study.png", costs)
    (axis,) = axes
    diagonal, _, full, cubic = axis.lines
    np.testing.assert_array_equal(diagonal.get_ydata(), [1.0, 1.0])
    np.testing.assert_array_equal(full.get_ydata(), [3.0, 16.0])
    np.testing.assert_allclose(cubic.get_ydata(), [2.0, 16.0])


def test_closed_form_kl_agrees_with_everything():
    finding = study.full_covariance_kl(
        jax.random.key(0), latent_dims=(2, 16), num_draws=5000, batch_size=4, repeats=1
    )
    errors, costs = finding.tables.values()
    for row in errors:
        # K eps cond, the backward error of a float32 factorisation.
        bound = row["K"] * np.finfo(np.float32).eps * row["condition number"]
        assert max(row["relative error"], row["distrax, relative"]) < max(1e-5, bound)
        assert row["gradient, relative"] < max(1e-5, bound)
        assert row["draws, stderrs"] < 5
    assert all(row[name] > 0 for row in costs for name in ("diagonal", "cholesky", "full"))
