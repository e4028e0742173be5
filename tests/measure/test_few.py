"""Fits and bounds of a few datapoints are those that all of them would have, by the same programs."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vaelab import posterior
from vaelab.inference.solver import stochastic_gradient
from vaelab.measure.few import fit_rows, score_rows
from vaelab.measure.fit import InferenceSettings, Problem, fit_in_rounds, score_runs
from vaelab.model.prior import standard_normal_log_prior
from vaelab.objective.elbo import elbo_from_draws
from vaelab.runtime.devices import take
from vaelab.types import LatentModel

N = 5
FAMILY = posterior.diagonal(1)
ROWS = np.array([1, 4])


def log_likelihood(theta, x_1, z_1):
    """Two modes in z: one of weight 0.1 at -4, one of weight 0.9 at 4; both a little higher with x."""
    means, weights = jnp.array([-4.0, 4.0]), jnp.array([0.1, 0.9])
    terms_2 = jax.scipy.stats.norm.logpdf(z_1, means, 0.5) + 0.5 * means**2  # flat but for the weights
    return jax.nn.logsumexp(terms_2, b=weights) + x_1[0]


MODEL = LatentModel(1, lambda key: (), standard_normal_log_prior, log_likelihood, None, None)


@functools.cache
def settings(max_rounds=2):
    objective = partial(elbo_from_draws, num_samples=4, antithetic=True)

    def solver(family):
        return stochastic_gradient(family, objective, optax.sgd(0.01), num_samples=4)

    return InferenceSettings(solver, 5, max_rounds, 4, 20, 20)


def problem(phi_NxP, tolerance=1e-9):
    x_Nx1 = np.arange(N, dtype=np.float32)[:, None]
    return Problem((), (x_Nx1, np.arange(N)), phi_NxP, jax.random.key(0), tolerance)


def start(mean=0.0):
    """phi_NxP about this mean, a little different for each datapoint."""
    return np.stack([np.full(N, mean) + 0.1 * np.arange(N), np.full(N, -0.5)], axis=1).astype(np.float32)


def test_the_fits_of_a_few_are_theirs_among_all():
    """Nothing converges at this tolerance, so that each takes all rounds."""
    phi_NxP = start(3.0)
    whole, rounds_N = fit_in_rounds(
        MODEL, FAMILY, settings(), [problem(start())], [phi_NxP], range(6, 8), 128, lambda count: None
    )[0]
    some, rounds = fit_rows(MODEL, FAMILY, settings(), part(problem(start())), phi_NxP[ROWS], 6, N, 128)
    np.testing.assert_allclose(some.phi_P, whole.phi_P[ROWS], rtol=1e-4)  # float32, two shapes
    np.testing.assert_allclose(some.excess.value, whole.excess.value[ROWS], rtol=1e-3)
    assert (rounds.tolist(), rounds_N.tolist()) == ([2, 2], [2] * N)
    other, _ = fit_rows(MODEL, FAMILY, settings(), part(problem(start())), phi_NxP[ROWS], 8, N, 128)
    assert np.abs(other.phi_P - some.phi_P).max() > 1e-3  # other rounds, other draws


def part(whole):
    return whole._replace(data=take(whole.data, ROWS), phi_start_NxP=whole.phi_start_NxP[ROWS])


def test_the_bounds_of_a_few_are_theirs_among_all():
    phis = start(3.0), start(4.0)
    static = MODEL, FAMILY, settings()
    whole = score_runs(static, [problem(start())], len(ROWS), "select", [phis])[0]
    few = part(problem(start())), "select", tuple(phi_NxP[ROWS] for phi_NxP in phis)
    some = score_rows(*static, *few, len(ROWS))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[ROWS], rtol=1e-5), some, whole)
    first, second, lead = some
    np.testing.assert_allclose(lead.value, second.value - first.value, rtol=1e-4)
