"""Normalised densities of one dimension: tables, smooth parts, lattices."""

import numpy as np
import pytest
from scipy import integrate, stats

from vaelab.audit.marginals import ATOM, histogram, lattice, log_smooth, log_table, marginal

NOTHING = np.zeros(0)


def test_the_density_fitted_to_a_gaussian_dimension_is_its_gaussian():
    fit_S, x_S = 3.0 + 2.0 * np.random.default_rng(0).normal(size=(2, 500))
    expected_S = stats.norm.logpdf(x_S, np.mean(fit_S), np.std(fit_S, ddof=1))
    np.testing.assert_allclose(log_smooth(fit_S, x_S)[0], expected_S)


def test_g_of_a_mixed_dimension_is_normalised():
    """Its masses and the integral of its smooth part, by the trapezoid rule on a fine grid, add up to 1."""
    rng = np.random.default_rng(0)
    fit_S = np.clip(rng.normal(0.4, 0.3, 2000), 0.0, 1.0)
    grid_S = np.linspace(1e-6, 1.0 - 1e-6, 200_001)
    nothing = np.zeros(0)
    at_ends = np.exp(marginal(fit_S, np.array([0.0, 1.0]), nothing).inside_S)
    inside = np.exp(marginal(fit_S, grid_S, np.array([0.0, 1.0])).inside_S)
    assert abs(at_ends.sum() + integrate.trapezoid(inside, grid_S) - 1.0) < 2e-3


@pytest.mark.parametrize(
    ("values", "spacing"),
    [([0, 1, 2, 5], 1.0), ([0.0, 0.04, 0.1, 3.0], 0.02), ([0.0, 0.3, 1.0, 2.71828], 0.0), ([-1.0, 1.0], 2.0)],
)
def test_the_spacing_of_a_lattice(values, spacing):
    values = np.float64(np.float32(values))
    assert abs(lattice(values) - spacing) < 1e-6


def test_a_table_has_half_a_count_more_of_each_value_and_adds_up_to_1():
    fit_S, test_S = np.array([0.0, 0.0, 0.0, 1.0]), np.array([1.0, 2.0, 0.0])
    shares = np.array([1.5, 0.5, 3.5]) / 5.5  # 2 is in the tested draws alone
    np.testing.assert_allclose(log_table(fit_S, test_S), np.log(shares))


def test_values_that_come_back_are_a_table_and_a_lattice_of_many_has_masses():
    rng = np.random.default_rng(0)
    few = marginal(*np.float64(rng.integers(0, 4, (2, 200))), NOTHING)
    assert (few.discrete, few.cell) == (True, 0.0)
    np.testing.assert_array_equal(few.inside_S, few.wide_S)
    many = np.round(rng.normal(0.0, 500.0, (2, 2000))) * 0.5
    masses = marginal(*many, NOTHING)
    assert not masses.discrete
    assert masses.cell == pytest.approx(np.log(0.5))
    # The masses of all values of the lattice within the draws add up to 1, but for the halves of both ends.
    values = np.arange(many[0].min(), many[0].max() + 0.25, 0.5)
    assert np.exp(marginal(many[0], values, NOTHING).inside_S).sum() == pytest.approx(1.0, abs=2e-3)
    smooth = marginal(*rng.normal(size=(2, 200)), NOTHING)
    assert (smooth.discrete, smooth.cell) == (False, 0.0)


def test_a_value_that_comes_back_is_an_atom_beside_a_smooth_part():
    """Half of the draws are 0, the others exponential: log of a half at 0, and a half of a density beside."""
    rng = np.random.default_rng(0)
    fit_S, test_S = np.where(rng.random((2, 4000)) < 0.5, 0.0, rng.exponential(size=(2, 4000)))
    made = marginal(fit_S, test_S, NOTHING)
    share = np.mean(fit_S == 0.0)
    np.testing.assert_allclose(made.inside_S[test_S == 0.0], np.log(share), atol=1e-3)
    assert np.sum(test_S == 0.0) >= ATOM
    wide_S, exact_S = made.wide_S[test_S > 0.0], np.log(0.5) - test_S[test_S > 0.0]
    # A histogram of 39 bins, of which each number costs half a nat in the draws, and what a bin smooths away.
    assert abs(np.mean(wide_S - exact_S)) < 39 / 2000 + 0.05
    assert np.isfinite(made.wide_S).all()


def test_a_wide_density_is_above_0_where_no_draw_was_seen():
    fit_S = np.random.default_rng(0).uniform(size=500)
    inside_S, wide_S = log_smooth(fit_S, np.array([0.5, 50.0]))
    np.testing.assert_allclose(inside_S, [0.0, -np.inf], atol=0.3)
    assert np.isfinite(wide_S).all()


def test_a_histogram_has_bins_of_equal_shares_and_finer_ones_at_its_ends():
    edges, share = histogram(np.arange(10_000.0))
    assert share.sum() == pytest.approx(1.0)
    widths = np.diff(edges)
    middle = widths[len(widths) // 2]
    np.testing.assert_allclose(share[5:-5].max(), 1.0 / 25.0, rtol=0.01)
    assert widths[0] < middle / 10.0
    assert widths[-1] < middle / 10.0
