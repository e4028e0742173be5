"""Rows of `gap.json` of outcomes made by hand."""

from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import optax

from tests.measure.test_ended import by_hand
from vaelab import posterior
from vaelab.evidence import Evidence
from vaelab.inference.solver import stochastic_gradient
from vaelab.measure import rows
from vaelab.measure.subject import Inputs, Measured
from vaelab.objective.elbo import elbo_from_draws

FAMILY = posterior.diagonal(2)


def solver(family):
    objective = partial(elbo_from_draws, num_samples=20, antithetic=True)
    return stochastic_gradient(family, objective, optax.adam(0.05), num_samples=20)


SETTINGS = SimpleNamespace(solver=solver, num_steps=10, certificate_groups=4)
SUBJECT = SimpleNamespace(
    families={"diagonal": FAMILY},
    amortized={"diagonal": "encoder"},
    settings=SimpleNamespace(inference={"diagonal": SETTINGS}),
    model=SimpleNamespace(concavity=None, exact=None),
)


def outcome(*fits, log_evidence=0.0, stderr=0.01):
    """These fits of one datapoint each, with indices from 10 on."""
    count = len(fits)
    evidence = Evidence(*(np.full(count, value, np.float32) for value in (0.0, stderr, 50.0, 0.1, 0.9)))
    return SimpleNamespace(
        points=Measured(Inputs(np.zeros((count, 3), np.float32), 10 + np.arange(count))),
        fits={"diagonal": jax.tree.map(lambda *leaves: np.concatenate(leaves), *fits)},
        seconds={"diagonal": 1.0},
        estimator=SimpleNamespace(name="importance", bias="below", evaluations=100),
        choice=None,
        evidence=evidence._replace(log_evidence=np.float32(log_evidence) + np.zeros(count, np.float32)),
        bidirectional=None,
        calibrations={},
    )


def test_a_row_counts_the_ways_in_which_its_fits_ended():
    fits = by_hand(), by_hand(), by_hand(converged=False), by_hand(phi=np.nan), by_hand(excess=-np.inf)
    measured = outcome(*fits, by_hand(bound=-np.inf))
    (row,) = rows.rows(SUBJECT, "test", measured)
    assert row["ended"] == {"converged": 2, "rounds spent": 1, "not finite": 2, "left the support": 1}
    assert row["num_unconverged"] == 4
    arrays = rows.arrays(SUBJECT, "test", measured)
    ends = ["converged", "converged", "rounds spent", "not finite", "not finite", "left the support"]
    assert arrays["test/diagonal/ended"].tolist() == ends
    assert arrays["test/diagonal/converged"].tolist() == [end == "converged" for end in ends]
