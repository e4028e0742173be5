"""The prior is a normal density, and finite far from its middle."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.support.oracles import EPS
from vaelab.model.prior import standard_normal_log_prob


@pytest.mark.parametrize("K", [1, 3, 100])
def test_log_density_and_its_score_are_those_of_scipy(K):
    z_K = np.float32(3.0 * np.random.default_rng(K).normal(size=K))
    exact = stats.norm.logpdf(np.float64(z_K)).sum()
    np.testing.assert_allclose(standard_normal_log_prob(z_K), exact, rtol=4 * EPS)
    np.testing.assert_allclose(jax.grad(standard_normal_log_prob)(z_K), -z_K, rtol=EPS)


def test_far_out_it_is_finite():
    assert standard_normal_log_prob(jnp.array([1e10])) == pytest.approx(-5e19, rel=1e-6)
