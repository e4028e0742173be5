"""What holds for every member of OBJECTIVES."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import oracles
from vaelab import model, posterior
from vaelab.objective import OBJECTIVES

K, D, REPEATS = 2, 3, 4000
MODEL = model.linear_gaussian(K, (2.0, 0.5), 0.7, D)
THETA = MODEL.init(jax.random.key(0))
X_D = jnp.array([0.5, -1.0, 1.0])
LOG_JOINT = model.bind(MODEL, THETA, X_D)
FULL, FLOW = posterior.full(K), posterior.real_nvp(K, num_layers=2, hidden=4)
SETTINGS = {"beta": 1.5, "min_kl": 5.0, "alpha": 0.5}
KEYS = jax.random.split(jax.random.key(1), REPEATS)


@pytest.fixture(params=OBJECTIVES)
def entry(request):
    return OBJECTIVES[request.param]


def bound(entry, family=FULL, *, num_samples=2, antithetic=False):
    settings = {name: SETTINGS[name] for name in entry.settings}
    return lambda phi_P, key: entry.bound(
        LOG_JOINT, family, phi_P, key, num_samples=num_samples, antithetic=antithetic, **settings
    )


def phi(size=0.3):
    mean_K, precision_KxK = MODEL.exact.posterior(THETA, X_D)
    optimum_P = FULL.gaussian.project(mean_K, jnp.linalg.inv(jnp.linalg.cholesky(precision_KxK)).T)
    return optimum_P + size * jax.random.normal(jax.random.key(2), optimum_P.shape)


def values(entry):
    return np.float64(jax.jit(jax.vmap(bound(entry), (None, 0)))(phi(), KEYS))


@pytest.mark.long
def test_it_is_below_log_p(entry):
    value_R = values(entry)
    log_evidence = float(MODEL.exact.log_evidence(THETA, X_D))
    assert np.mean(value_R) < log_evidence + 5.0 * np.std(value_R) / np.sqrt(REPEATS)


@pytest.mark.long
def test_an_elbo_is_the_elbo_and_its_gradient_that_of_the_elbo(entry):
    """So that q* is its optimum, and the inner loop may maximise it; the others are another number."""
    exact = float(MODEL.exact.elbo(THETA, X_D, *FULL.gaussian.location_scale(phi())))
    value_R = values(entry)
    if not entry.is_elbo:
        assert abs(np.mean(value_R) - exact) > 5.0 * np.std(value_R) / np.sqrt(REPEATS)
        return
    oracles.assert_mean(value_R, exact)
    grad_RxP = jax.jit(jax.vmap(jax.grad(bound(entry)), (None, 0)))(phi(), KEYS)
    exact_P = jax.grad(lambda p: MODEL.exact.elbo(THETA, X_D, *FULL.gaussian.location_scale(p)))(phi())
    oracles.assert_mean(grad_RxP, np.float64(exact_P), rounding=1e-4)


def test_it_takes_its_settings_and_no_others(entry):
    keywords = set(inspect.signature(entry.bound).parameters) - {"density_phi_P", "log_prior"}
    assert keywords == {"log_joint", "family", "phi_P", "key", "num_samples", "antithetic", *entry.settings}


@pytest.mark.long
def test_what_it_needs_is_told(entry):
    key = jax.random.key(3)
    if entry.needs_closed_kl:
        with pytest.raises(TypeError):
            bound(entry, FLOW)(FLOW.init(), key)
    else:
        assert np.isfinite(bound(entry, FLOW)(FLOW.init(), key))
    if entry.needs_independent:
        with pytest.raises(ValueError, match="independent"):
            bound(entry, antithetic=True)(phi(), key)
    else:
        assert np.isfinite(bound(entry, antithetic=True)(phi(), key))
