"""Why a fit ended, of fits made by hand and of one of each kind that the inner loop makes."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaelab import posterior
from vaelab.inference.loop import Inference
from vaelab.inference.solver import stochastic_gradient
from vaelab.measure.ended import ENDS, counts, ended
from vaelab.measure.fit import InferenceSettings, LocalFit, fit_locally
from vaelab.model.prior import standard_normal_log_prior
from vaelab.objective.draws import Estimate
from vaelab.objective.elbo import elbo_from_draws
from vaelab.types import LatentModel

K = 2


def by_hand(*, phi=0.0, bound=-1.0, bound_stderr=0.1, excess=0.0, excess_stderr=0.01, converged=True):
    """A fit of one datapoint."""
    optimum = Estimate(*np.float32([[bound], [bound_stderr]]))
    phi_1xP = np.float32([[0.0, phi]])
    inference = Inference(phi_1xP, Estimate(*np.float32([[excess], [excess_stderr]])), np.array([converged]))
    return LocalFit(phi_1xP, optimum, inference, optimum, optimum, np.array([1]), np.array([False]))


BY_HAND = {
    "finite and certified": ({}, "converged"),
    "finite": ({"converged": False}, "rounds spent"),
    "an excess below 0 is within the tolerance": ({"excess": -0.01}, "converged"),
    "no phi": ({"phi": np.nan}, "not finite"),
    "no phi and no bound": ({"phi": np.inf, "bound": -np.inf}, "not finite"),
    "no bound": ({"bound": np.nan}, "not finite"),
    "too high a bound": ({"bound": np.inf}, "not finite"),
    "no error of the bound": ({"bound_stderr": np.nan}, "not finite"),
    "no excess": ({"excess": np.nan, "converged": False}, "not finite"),
    "an excess of -inf, which any tolerance covers": ({"excess": -np.inf}, "not finite"),
    "no error of the excess": ({"excess_stderr": np.inf, "converged": False}, "not finite"),
    "a bound of -inf": ({"bound": -np.inf, "bound_stderr": np.nan}, "left the support"),
    "a bound of -inf with no excess": (
        {"bound": -np.inf, "bound_stderr": np.nan, "excess": np.nan, "converged": False},
        "left the support",
    ),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_a_fit_has_ended_in_one_way(case):
    numbers, end = BY_HAND[case]
    assert ended(by_hand(**numbers)).tolist() == [end]
    assert counts(ended(by_hand(**numbers))) == {**dict.fromkeys(ENDS, 0), end: 1}


def test_several_runs_of_fits_keep_their_shape():
    one, other = by_hand(), by_hand(phi=np.nan)
    runs = jax.tree.map(lambda *leaves: np.stack(leaves), one, other)
    assert ended(runs).tolist() == [["converged"], ["not finite"]]


def log_likelihood(theta, x_1, z_K):
    """Gaussian in z; x = 1: 0 outside a box; x = 2: NaN; x = 3: the mean is far from the start."""
    near, far = (jnp.sum(jax.scipy.stats.norm.logpdf(z_K, mean, 0.3)) for mean in (0.2, 40.0))
    boxed = jnp.where(jnp.all(jnp.abs(z_K) < 1.0), near, -jnp.inf)
    return jnp.select([x_1[0] == number for number in range(3)], [near, boxed, jnp.nan], far)


@functools.cache
def fitted():
    model = LatentModel(K, lambda key: (), standard_normal_log_prior, log_likelihood, None, None)
    objective = partial(elbo_from_draws, num_samples=20, antithetic=True)

    def solver(family):
        return stochastic_gradient(family, objective, optax.adam(0.05), num_samples=20)

    settings = InferenceSettings(
        solver=solver,
        num_steps=200,
        max_rounds=2,
        certificate_groups=32,
        elbo_samples=400,
        elbo_chunk_size=400,
    )
    family, x_Nx1 = posterior.diagonal(K), np.float32([[0.0], [1.0], [2.0], [3.0]])
    start_NxP = np.tile(np.asarray(family.init()), (4, 1))
    data = x_Nx1, np.arange(4, dtype=np.int32)
    more = {"tolerance": 0.1, "chunk_size": 4}
    return fit_locally(model, family, settings, (), data, start_NxP, jax.random.key(0), **more)


def test_fits_of_the_inner_loop_end_in_all_four_ways():
    assert ended(fitted()).tolist() == ["converged", "left the support", "not finite", "rounds spent"]
