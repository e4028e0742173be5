"""A density of several dimensions: those that depend on each other together, and what g lacks is said."""

import numpy as np
from scipy import stats

from vaelab.audit.dependence import _constrained, _groups, _rank_correlation, joint
from vaelab.audit.marginals import log_table

S = 1000


def test_without_a_dimension_g_is_1():
    fitted = joint(np.zeros((4, 0)), np.zeros((3, 0)))
    np.testing.assert_array_equal(fitted.inside_S, np.zeros(3))
    assert (fitted.cell, fitted.dependent) == (0.0, False)


def test_few_joint_values_are_a_table_of_whole_x():
    """Two dimensions that are always the same: a product of both would have a quarter of the mass."""
    fit_S, test_S = np.random.default_rng(0).integers(0, 2, (2, S))
    fitted = joint(np.stack([fit_S, fit_S], axis=1), np.stack([test_S, test_S], axis=1))
    np.testing.assert_allclose(fitted.inside_S, log_table(np.float64(fit_S), np.float64(test_S)))


def test_correlated_dimensions_are_one_gaussian_and_the_others_stand_alone():
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
    fit_SxD, test_SxD = rng.normal(size=(2, S, 3)) @ root.T
    fitted = joint(fit_SxD, test_SxD)
    assert not fitted.dependent
    exact_S = stats.multivariate_normal(cov=root @ root.T).logpdf(test_SxD)
    # Seven numbers are fitted to S draws, each costs half a nat in S; the wide part of a thousandth beside.
    assert abs(np.mean(fitted.wide_S - exact_S)) < 5.0 * 7 * 0.5 / S
    alone = sum(joint(fit_SxD[:, [d]], test_SxD[:, [d]]).wide_S for d in range(3))
    assert np.mean(fitted.wide_S - alone) > 0.5  # -1/2 log(1 - 0.81) = 0.83 of mutual information


def test_dependence_that_no_group_explains_is_said():
    """z and z^3 - c z, whose ranks are correlated and which are no Gaussian: g is the product, and lacks it.

    At c = 1.5 the correlation is about a half, and no sum of both varies far less than of independent ones.
    """
    rng = np.random.default_rng(0)
    z_2xS = rng.uniform(-2.0, 2.0, (2, S))
    fit_SxD, test_SxD = np.stack([z_2xS, z_2xS**3 - 1.5 * z_2xS], axis=2)
    assert joint(fit_SxD, test_SxD).dependent
    independent = rng.normal(size=(2, S, 3))
    assert not joint(*independent).dependent


def test_ranks_know_no_scale_and_equal_values_share_theirs():
    x_S = np.array([0.0, 1.0, 2.0, 3.0])
    correlation = _rank_correlation(np.stack([x_S, np.exp(10.0 * x_S), -x_S, [1.0, 1.0, 2.0, 2.0]], axis=1))
    np.testing.assert_allclose(correlation[0, :3], [1.0, 1.0, -1.0])
    # Ranks 1, 2, 3, 4 against 1.5, 1.5, 3.5, 3.5: covariance 1, deviations sqrt(1.25) and 1.
    np.testing.assert_allclose(correlation[0, 3], 1.0 / np.sqrt(1.25))


def test_groups_are_linked_through_others():
    linked = np.eye(5, dtype=bool)
    for one, other in ((0, 3), (3, 4)):
        linked[one, other] = linked[other, one] = True
    (group,) = _groups(linked)
    np.testing.assert_array_equal(group, [0, 3, 4])


def test_a_sum_that_does_not_vary_is_a_constraint():
    """One of n: the correlations are -1 / (n - 1), whose least eigenvalue is 0."""
    n = 5
    correlation = np.full((n, n), -1.0 / (n - 1))
    np.fill_diagonal(correlation, 1.0)
    assert _constrained(correlation, S)
    assert not _constrained(np.eye(n), S)
    assert not _constrained(correlation, 2 * n - 1)  # too few draws to say
