"""The variance of each estimator's gradient, at distances in nats from the optimum."""

import jax
import numpy as np
import pytest

from tests.support.figures import axes_of
from vaelab import report, study
from vaelab.study.gradient_variance import ESTIMATORS, _plot, _step_to


@pytest.mark.slow
def test_variances_have_the_published_order():
    finding = study.gradient_variance(
        jax.random.key(0), singular_values=(2.0, 1.0, 0.5), distances=(0.0, 0.01), num_samples=8, repeats=1000
    )
    (at, near), (_, error) = finding.tables.values()
    for row in (at, near):
        assert row["stick_the_landing"] < 0.1 * row["elbo"]
        assert row["dreg"] < row["stick_the_landing"]
        assert row["iwae"] > row["elbo"]
    # Float rounding of gradients of order 10, squared, and no more.
    assert max(at["stick_the_landing"], at["dreg"]) < 1e-9
    assert all(error[name] < 0.2 * near[name] for name in ("elbo", "stick_the_landing", "dreg"))


@pytest.mark.parametrize("distance", [0.0, 1e-8, 0.01, 4.0])
def test_a_step_goes_as_far_as_makes_the_distance_in_nats(distance):
    assert _step_to(distance, np.square) == pytest.approx(np.sqrt(distance), abs=2e-6)


def test_the_optimum_stands_left_of_all_distances_and_no_variance_of_0_is_lost(tmp_path, monkeypatch):
    axes = axes_of(monkeypatch, report)
    rows = [{"nats from q*": distance, **dict.fromkeys(ESTIMATORS, 2.0)} for distance in (0.0, 0.5, 4.0)]
    rows[0]["dreg"] = 0.0
    _plot(tmp_path / "study.png", rows, 8)
    (axis,) = axes
    lines = dict(zip(ESTIMATORS, axis.lines, strict=True))
    np.testing.assert_allclose(lines["dreg"].get_xdata(), [0.05, 0.5, 4.0])
    np.testing.assert_allclose(lines["dreg"].get_ydata(), [1e-13, 2.0, 2.0])
    assert [text.get_text() for text in axis.get_legend().get_texts()] == list(ESTIMATORS)
