"""What holds for every member of ESTIMATORS."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab import model, posterior
from vaelab.evidence import ESTIMATORS
from vaelab.evidence.annealing import SCHEDULES, Annealing, Pilot
from vaelab.evidence.smc import Tempering

K, D, REPEATS = 2, 3, 50
MODEL = model.linear_gaussian(K, (2.0, 0.5), 0.7, D)
THETA = MODEL.init(jax.random.key(0))
X_D = jnp.array([0.5, -1.0, 1.0])
FAMILIES = (posterior.diagonal(K), posterior.full(K))
SETTINGS = {
    "num_samples": 500,
    "chunk_size": 100,
    "degrees_of_freedom": 10,
    "annealing": Annealing(num_temperatures=20, num_chains=8, pilot_temperatures=5, pilot_chains=4),
    "tempering": Tempering(num_runs=4, num_particles=16, pilot_temperatures=5, pilot_chains=4),
    "num_nodes": 65,
    "half_width": 8.0,
}


def make(name, families=FAMILIES):
    entry = ESTIMATORS[name]
    return entry.make(families, "diagonal", **{setting: SETTINGS[setting] for setting in entry.settings})


@pytest.fixture(params=ESTIMATORS)
def name(request):
    return request.param


@pytest.mark.long
def test_it_weighs_a_model_whose_evidence_is_known(name):
    """From q that are not the posterior, in expectation not above log p(x), and near it."""
    estimator, exact = make(name), float(MODEL.exact.log_evidence(THETA, X_D))
    mean_K, precision_KxK = MODEL.exact.posterior(THETA, X_D)
    scale_KxK = 1.3 * jnp.linalg.inv(jnp.linalg.cholesky(precision_KxK)).T
    phis = tuple(family.gaussian.project(mean_K + 0.1, scale_KxK) for family in FAMILIES)
    keys = jax.random.split(jax.random.key(1), REPEATS)
    log_joint = model.bind(MODEL, THETA, X_D)
    evidence = jax.jit(jax.vmap(lambda key: estimator.estimate(log_joint, phis, key)))(keys)
    assert np.all(evidence.finite)
    error_R = np.float64(evidence.log_evidence) - exact
    stderr = max(np.std(error_R) / np.sqrt(REPEATS), float(np.mean(evidence.stderr)) / np.sqrt(REPEATS), 1e-5)
    assert estimator.bias in ("lower", "none")
    assert np.mean(error_R) < 5.0 * stderr
    assert abs(np.mean(error_R)) < 0.1
    if estimator.bias == "none":
        assert abs(np.mean(error_R)) < 5.0 * stderr


def test_it_costs_something_and_has_a_name_of_its_own(name):
    names = [make(other).name for other in ESTIMATORS]
    assert names.count(make(name).name) == 1
    assert make(name).evaluations > 0


def test_one_that_is_exact_is_for_few_dimensions_alone(name):
    most, families = ESTIMATORS[name].max_latent_dim, (posterior.diagonal(K + 1),)
    assert (make(name).bias == "none") == (most is not None)
    if most is None:
        assert make(name, families).evaluations > 0
    else:
        assert most == K
        with pytest.raises(ValueError, match="at most 2 latent dimensions"):
            make(name, families)


@pytest.mark.long
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_rises_from_0_to_1(schedule):
    beta_J = jnp.linspace(0.0, 1.0, 6)
    pilot = Pilot(beta_J, jnp.ones(6), jnp.array([5.0, 3.0, 2.0, 1.0, 1.0, 1.0]))
    beta_T1 = np.asarray(SCHEDULES[schedule](pilot, 17))
    assert beta_T1.shape == (18,)
    np.testing.assert_allclose(beta_T1[[0, -1]], [0.0, 1.0], atol=1e-6)
    assert np.all(np.diff(beta_T1) > 0.0)
