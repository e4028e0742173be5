"""Bounds against time: each row's bound is the closed form's, and its time that of all that led to it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.support import oracles
from tests.support.oracles import LinearGaussian
from vaelab import model, posterior
from vaelab.inference.loop import Loop
from vaelab.inference.solver import quasi_newton
from vaelab.keys import run_keys
from vaelab.measure import time
from vaelab.measure.fit import InferenceSettings
from vaelab.measure.subject import Inputs
from vaelab.objective.draws import estimate_elbo
from vaelab.runtime.memory import Memory
from vaelab.runtime.timing import Timed, quickest

K, D, N, DRAWS = 3, 6, 24, 4000
EXACT = LinearGaussian.random(np.random.default_rng(0), D, (2.0, 1.0, 0.3), 1.0)
X_NxD = np.float32(EXACT.sample(np.random.default_rng(1), N))
MODEL, THETA = model.linear_gaussian(K, (2.0, 1.0, 0.3), 1.0, D), model.LinearGaussianParams(*EXACT.theta)
FAMILY = posterior.diagonal(K)
ENCODED_P = np.float32([0.5, -0.5, 0.0, -1.0, -1.0, 0.0])  # mu and log sigma, the same for every datapoint


def encode(psi, x_D):
    return psi


def loop(num_steps, rate=0.5):
    rates = optax.cosine_decay_schedule(rate, num_steps)
    return Loop(FAMILY, quasi_newton(FAMILY, rates, num_samples=10, max_norm=5.0), num_steps)


def inference_time(*loops):
    return time.inference_time(
        MODEL,
        FAMILY,
        encode,
        THETA,
        jnp.asarray(ENCODED_P),
        Inputs(X_NxD, np.arange(N)),
        loops,
        settings=InferenceSettings(None, 0, 1, 0, elbo_samples=DRAWS, elbo_chunk_size=1000),
        memory=Memory(10**9),
        keys=run_keys(0),
    )


def exact_elbo(phis):
    """(the mean of the exact bounds, the standard error of an estimate of it from DRAWS draws for each)."""
    bounds = [
        EXACT.elbo(x_D, *oracles.mean_and_scale("diagonal", phi))
        for x_D, phi in zip(X_NxD, phis, strict=True)
    ]

    def stderr(x_D, phi_P):
        log_joint, key = model.bind(MODEL, THETA, x_D), jax.random.key(0)
        return estimate_elbo(log_joint, FAMILY, phi_P, key, num_samples=DRAWS, chunk_size=1000).stderr

    stderr_N = jax.jit(jax.vmap(stderr))(X_NxD, np.float32(phis))
    return np.mean(bounds), np.sqrt(np.sum(np.square(stderr_N))) / N


def test_many_steps_from_either_start_reach_the_optimum_and_the_encoder_is_short_of_it():
    encoder, from_encoder, from_prior = inference_time(loop(200))
    encoded, stderr_encoded = exact_elbo([ENCODED_P] * N)
    optimal, stderr_optimal = exact_elbo([EXACT.optimum("diagonal", x_D) for x_D in X_NxD])
    assert [(row["start"], row["num_steps"]) for row in (encoder, from_encoder, from_prior)] == [
        ("encoder", 0),
        ("encoder", 200),
        ("prior", 200),
    ]
    assert encoder["elbo"]["mean"] == pytest.approx(encoded, abs=5.0 * stderr_encoded)
    assert encoder["gained"] == {"mean": 0.0, "stderr": 0.0}
    error = 5.0 * (stderr_encoded + stderr_optimal)
    for row in (from_encoder, from_prior):
        assert row["elbo"]["mean"] == pytest.approx(optimal, abs=5.0 * stderr_optimal)
        assert row["gained"]["mean"] == pytest.approx(optimal - encoded, abs=error)


def test_steps_of_no_length_stay_where_they_start():
    encoder, from_encoder, from_prior = inference_time(loop(1, rate=0.0))
    at_prior, stderr = exact_elbo([np.zeros(2 * K)] * N)
    assert from_encoder["elbo"]["mean"] == pytest.approx(encoder["elbo"]["mean"], rel=1e-6)  # float32
    assert from_prior["elbo"]["mean"] == pytest.approx(at_prior, abs=5.0 * stderr)


def test_steps_from_the_encoder_take_its_time_too(monkeypatch):
    """With a clock by which each thing that is timed takes twice what the last one took."""
    taken = iter([24.0, 48.0, 96.0, 192.0, 384.0])

    def double(function, *arguments, repeats):
        assert repeats == time.REPEATS
        return Timed(quickest(function, *arguments, repeats=1).result, next(taken))

    monkeypatch.setattr(time, "quickest", double)
    rows = inference_time(loop(1), loop(2))
    assert [row["milliseconds"] for row in rows] == [1.0, 1.0 + 2.0, 1.0 + 4.0, 8.0, 16.0]
