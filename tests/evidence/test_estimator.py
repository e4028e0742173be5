"""An estimator knows its start, its cost and its bias; a start that is not finite is the prior."""

from functools import partial

import jax
import numpy as np
import pytest

from tests.support.oracles import EPS
from vaelab import posterior
from vaelab.evidence.estimator import by_importance, by_quadrature
from vaelab.model import standard_normal_log_prob

K = 2
FAMILIES = (posterior.diagonal(K), posterior.full(K))
LEVEL = -3.0


def log_joint(z_K):
    """A prior and a posterior N(0, I), log p(x) = -3."""
    return standard_normal_log_prob(z_K) + LEVEL


@pytest.mark.parametrize("spoilt", [(0,), (0, 1)])
def test_a_start_that_is_not_finite_is_the_prior(spoilt):
    """Which is the posterior here, so that every weight is exp(-3)."""
    estimator = by_importance(FAMILIES, num_samples=8, chunk_size=4)
    phis = tuple(f.init().at[0].set(np.nan if i in spoilt else 0.0) for i, f in enumerate(FAMILIES))
    evidence = jax.jit(partial(estimator.estimate, log_joint))(phis, jax.random.key(0))
    np.testing.assert_allclose(evidence.log_evidence, LEVEL, rtol=8 * EPS)
    assert evidence.stderr < 1e-5


def test_quadrature_starts_at_the_family_of_its_name_or_at_the_prior():
    """Nodes about the diagonal q*, far from all that has any weight, see nothing of it; no other is used."""
    phis = FAMILIES[0].init().at[:K].set(1e3), FAMILIES[1].init()

    @jax.jit
    def from_each(phis):
        starts = (
            by_quadrature(FAMILIES, start=start, num_nodes=33, half_width=8.0)
            for start in ("diagonal", "full", "prior")
        )
        return [start.estimate(log_joint, phis, jax.random.key(0)).log_evidence for start in starts]

    from_diagonal, from_full, from_prior = from_each(phis)
    np.testing.assert_allclose([from_full, from_prior], LEVEL, atol=1e-4)
    assert from_diagonal < -1e5


def test_it_says_what_it_is_and_what_it_costs():
    exact = by_quadrature(FAMILIES, start="full", num_nodes=33, half_width=8.0)
    assert (exact.name, exact.bias) == ("quadrature", "none")
    assert exact.evaluations >= 33**K
    heavy = by_importance(FAMILIES, num_samples=9, chunk_size=4, degrees_of_freedom=5)
    assert (heavy.name, heavy.bias) == ("importance sampling, Student-t", "lower")
    assert heavy.evaluations >= 9


def test_quadrature_of_three_dimensions_is_refused():
    with pytest.raises(ValueError, match="at most 2 latent dimensions and the model has 3"):
        by_quadrature((posterior.diagonal(3),), start="diagonal", num_nodes=9, half_width=8.0)
