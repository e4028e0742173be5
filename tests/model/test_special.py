"""Parts of densities, against float64."""

import jax
import numpy as np
import scipy.special

from vaelab.model.special import excess, stirling_error


def test_excess_has_its_digits_near_zero_and_far_off():
    d_N = np.float32([-80.0, -3.0, -0.31, -0.29, -1e-3, -1e-6, 0.0, 1e-6, 1e-3, 0.29, 0.31, 3.0, 20.0])
    exact_N = np.float64(d_N) ** 2 / 2
    large = np.abs(d_N) > 0.1
    exact_N[large] = (np.expm1(np.float64(d_N)) - np.float64(d_N))[large]
    small = ~large
    exact_N[small] += np.float64(d_N)[small] ** 3 / 6 + np.float64(d_N)[small] ** 4 / 24
    np.testing.assert_allclose(excess(d_N), exact_N, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(jax.grad(excess))(d_N), np.expm1(np.float64(d_N)), rtol=1e-6)


def test_what_stirlings_formula_lacks():
    a_N = np.float32([1e-4, 0.01, 0.5, 1.0, 3.0, 9.9, 10.0, 10.1, 100.0, 1e4, 1e7])
    a = np.float64(a_N)
    exact_N = scipy.special.gammaln(a + 1) - (a + 0.5) * np.log(a) + a - 0.5 * np.log(2 * np.pi)
    # The difference itself is rounded in float64 where it is small beside its terms.
    exact_N = np.where(a > 100, 1 / (12 * a) - 1 / (360 * a**3), exact_N)
    np.testing.assert_allclose(stirling_error(a_N), exact_N, rtol=3e-5, atol=3e-6)
