"""The inner loop and its certificate against the exact optimum of linear-Gaussian models."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import oracles
from tests.oracles import EPS, LinearGaussian
from vaelab import model as models
from vaelab import posterior
from vaelab.inference import fisher_excess, infer
from vaelab.objective import stick_the_landing

K, D = 3, 6
FAMILIES = {"diagonal": posterior.diagonal(K), "full": posterior.full(K)}
MODEL = models.linear_gaussian(K, (1.0,) * K, 1.0, D)
# Condition numbers of the posterior precision: 4, 10 and 101, each in a random orientation.
EXACTS = [
    LinearGaussian.random(np.random.default_rng(seed), D, singular_values, 1.0)
    for seed, singular_values in enumerate([(2.0, 1.0, 0.5), (3.0, 1.0, 0.3), (10.0, 1.0, 0.1)])
]
TOLERANCE = 0.05  # nats


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


@functools.cache
def inner_loop(family, num_steps, objective=None, optimizer=None):
    """(theta, x_D, phi_P, key) -> Inference, vmapped over all four; the settings of experiments/defaults.py."""
    objective = objective or partial(stick_the_landing, num_samples=10, antithetic=True)
    optimizer = optimizer or optax.adam(optax.cosine_decay_schedule(3e-2, num_steps), b2=0.9)

    def one(theta, x_D, phi_P, key):
        return infer(
            objective,
            models.bind(MODEL, models.LinearGaussianParams(*theta), x_D),
            family,
            phi_P,
            key,
            optimizer=optimizer,
            num_steps=num_steps,
            certificate_groups=16,
            tolerance=TOLERANCE,
        )

    return jax.jit(jax.vmap(one))


def problems(family, count=8, starts=("prior", "bad")):
    """[(exact, x_D, phi_P)]: datapoints of each model, from the prior and from a bad start."""
    rows = []
    for number, exact in enumerate(EXACTS):
        rng = np.random.default_rng(number)
        for x_D in exact.sample(rng, count):
            for start in starts:
                phi_P = np.array(family.init())
                if start == "bad":
                    phi_P[:K] += 1.5 * rng.choice([-1.0, 1.0], K)
                    phi_P[K:] = oracles.random_phi(family.name, rng, K, 4.0)[K:]
                rows.append((exact, x_D, phi_P))
    return rows


def run(loop, rows, seed=0):
    theta = [np.stack(leaves) for leaves in zip(*(exact.theta for exact, *_ in rows), strict=True)]
    x_NxD, phi_NxP = (np.stack([row[i] for row in rows]) for i in (1, 2))
    found = loop(theta, x_NxD, phi_NxP, jax.random.split(jax.random.key(seed), len(rows)))
    return jax.tree.map(np.asarray, found)


def true_excess(family, rows, phi_NxP):
    """L[q*] - L[q_phi], exactly."""
    excess = []
    for (exact, x_D, _), phi_P in zip(rows, phi_NxP, strict=True):
        best = exact.elbo(x_D, *oracles.law(family.name, exact.optimum(family.name, x_D)))
        excess.append(best - exact.elbo(x_D, *oracles.law(family.name, phi_P)))
    return np.array(excess)


def test_inner_loop_reaches_the_exact_optimum(family):
    rows = problems(family)
    found = run(inner_loop(family, 300), rows)
    excess_N = true_excess(family, rows, found.phi_P)
    starts_N = true_excess(family, rows, [row[2] for row in rows])
    assert np.all(excess_N >= 0.0)
    assert starts_N.min() > 0.1
    assert starts_N.max() > 100.0
    print("EXCESS", family.name, excess_N.reshape(3, -1).mean(1), excess_N.reshape(3, -1).max(1), found.converged.reshape(3,-1).mean(1), found.excess.stderr.reshape(3,-1).mean(1))
    assert np.mean(excess_N) <= 0.005
