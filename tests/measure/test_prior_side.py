"""log p(x) from the prior's side: where the sampler starts, and that each datapoint has its own."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab.evidence.smc import Tempering
from vaelab.evidence.weights import Evidence
from vaelab.inference.climb import Climb
from vaelab.measure import prior_side
from vaelab.measure.subject import Inputs
from vaelab.model.prior import standard_normal_log_prior
from vaelab.types import LatentModel

K = 2
INPUTS = Inputs(np.float32([[-3.0], [2.0]]), np.array([5, 9], np.int32))
TEMPERING = Tempering(
    num_runs=2,
    num_particles=4,
    num_moves=1,
    num_leapfrogs=1,
    wanted_size=0.9,
    max_temperatures=3,
    target_acceptance=0.8,
    pilot_temperatures=2,
    pilot_chains=2,
)


def wide_log_prior(theta, z_K):
    return standard_normal_log_prior(theta, z_K)


def subject(log_prior):
    model = LatentModel(K, None, log_prior, lambda theta, x_D, z_K: x_D[0] + 0.0 * jnp.sum(z_K), None, None)
    return SimpleNamespace(model=model, theta=(), settings=SimpleNamespace(memory=2))


def ends(*sizes):
    """Ascents of each datapoint that end at these distances and 30 nats lower at 1000."""
    z_NxSxK = np.zeros((len(sizes), 2, K), np.float32)
    z_NxSxK[:, 0, 1], z_NxSxK[:, 1, 0] = sizes, 1000.0
    return Climb(z_NxSxK, np.tile(np.float32([0.0, -30.0]), (len(sizes), 1)), None)


@pytest.mark.parametrize(
    ("log_prior", "scales"), [(standard_normal_log_prior, [1.0, 1.0]), (wide_log_prior, [3.0, 60.0])]
)
def test_the_sampler_starts_as_wide_as_what_ascents_have_reached_unless_the_prior_is_known(
    log_prior, scales, monkeypatch
):
    """At 3 at least, and at one and a half of 40; an end 30 nats below the best is nowhere."""
    seen = []
    monkeypatch.setattr(prior_side, "tempered", lambda subject, inputs, scale_N, *rest: seen.append(scale_N))
    prior_side.from_prior(subject(log_prior), INPUTS, ends(0.5, 40.0), None, TEMPERING)
    prior_side.from_prior(subject(log_prior), INPUTS, ends(0.5, 40.0), None, TEMPERING, wider=2.0)
    wider = [1.0, 1.0] if log_prior is standard_normal_log_prior else [3.0, 120.0]
    np.testing.assert_allclose(seen, [scales, wider])


def test_without_runs_nothing_is_known():
    evidence, particles = prior_side.from_prior(
        subject(standard_normal_log_prior), INPUTS, ends(1.0, 1.0), None, TEMPERING._replace(num_runs=0)
    )
    assert particles is None
    assert all(np.isnan(number_N).tolist() == [True, True] for number_N in evidence)


def test_each_datapoint_has_its_own_density_start_and_draws(monkeypatch):
    """In the place of the sampler one that says what it was given."""

    def sampler(log_joint, family, phi_P, key, *, settings):
        evidence = Evidence(log_joint(jnp.zeros(K)), *phi_P)
        return SimpleNamespace(evidence=evidence, particle_SxK=jax.random.normal(key, (3, K)))

    monkeypatch.setattr(prior_side, "sequential_monte_carlo", sampler)
    of_prior, key = subject(standard_normal_log_prior), jax.random.key(0)
    evidence, particle_NxSxK = prior_side.tempered(of_prior, INPUTS, np.float32([1.0, 20.0]), key, TEMPERING)
    at_zero = -K / 2 * np.log(2.0 * np.pi)
    np.testing.assert_allclose(evidence.log_evidence, at_zero + np.array([-3.0, 2.0]), rtol=1e-6)
    phi_NxP = np.stack(evidence[1:], axis=1)
    np.testing.assert_allclose(phi_NxP[:, :K], 0.0)
    np.testing.assert_allclose(phi_NxP[:, K:], np.log([[1.0, 1.0], [20.0, 20.0]]), rtol=1e-6)
    for index, particle_SxK in zip(INPUTS.index_N, particle_NxSxK, strict=True):
        exact = jax.random.normal(jax.random.fold_in(key, index), (3, K))
        np.testing.assert_allclose(particle_SxK, exact, rtol=1e-6)
