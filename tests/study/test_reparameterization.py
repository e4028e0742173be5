"""Draws have the Gaussian distribution that is claimed, and a distribution of the same moments has not."""

import jax
import numpy as np
import pytest

from vaelab import study
from vaelab.study.reparameterization import _against_gaussian, _correlations


def test_draws_have_the_gaussian_distribution_and_only_they():
    finding = study.reparameterization(jax.random.key(1), latent_dim=3, num_draws=20_000, num_projections=5)
    moments, correlations, ranks = finding.tables.values()
    *gaussian, uniform = moments
    for row in moments:
        assert max(row["mean_error_stderrs"], row["covariance_error_stderrs"]) < 5
    assert min(row["normality_p_value"] for row in gaussian) > 1e-3
    assert uniform["normality_p_value"] < 1e-6
    for row in correlations:
        assert row["of S"] == pytest.approx(row["of S Q"], abs=1e-6)
    assert [row["KL to the prior"] for row in ranks] == sorted(row["KL to the prior"] for row in ranks)
    assert ranks[-1]["KL to the prior"] == np.inf
    assert ranks[-1]["spread of the draws there"] < 1e-6


def test_errors_of_moments_are_in_standard_errors():
    """Four draws; the first dimension has the mean 1 and the variance 5."""
    z_SxK = np.array([[-2.0, 3.0], [0.0, -1.0], [2.0, 1.0], [4.0, -3.0]])
    row = _against_gaussian(z_SxK, np.zeros(2), np.eye(2), np.eye(2))
    assert row["mean_error_stderrs"] == pytest.approx(1.0 / np.sqrt(5.0 / 4.0))
    # The squares of the second, 9, 1, 1, 9, have the mean 5 in the place of 1, and the deviation 4.
    assert row["covariance_error_stderrs"] == pytest.approx((5.0 - 1.0) / (4.0 / np.sqrt(4.0)))
    assert 0.0 < row["normality_p_value"] <= 1.0


def test_a_correlation_is_the_covariance_over_both_deviations():
    """S S' = [[4, 2], [2, 2]]."""
    (row,) = _correlations(np.array([[2.0, 0.0], [1.0, 1.0]]), np.eye(2))
    assert row == {"pair": "z_1, z_2", "of S": pytest.approx(2.0 / np.sqrt(8.0)), "of S Q": 0.0}
