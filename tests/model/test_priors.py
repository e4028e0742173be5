"""What holds for every member of PRIORS, with parameters that are not those of the start."""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import oracles
from vaelab import posterior
from vaelab.model import PRIORS, networks
from vaelab.model.prior import standard_normal_log_prob
from vaelab.model.vamp import PseudoInputs

NUM_SAMPLES = 8000
AXIS = np.linspace(-14.0, 14.0, 449)  # of quadrature, which is exact to rounding for what is wider than this
SIZES = {"num_components": 3, "hidden": 6, "num_gaussians": 2}
FLOW = {"num_layers": 2, "hidden": 4}


class Case(NamedTuple):
    """An entry with what it is made of: the flow, or the family of the encoder."""

    name: str
    of: str | None = None


CASES = {
    **{name: Case(name) for name, entry in PRIORS.items() if not (entry.is_flow or entry.of_encoder)},
    **{
        f"{name}, {of}": Case(name, of)
        for name, entry in PRIORS.items()
        if entry.is_flow
        for of in ("real_nvp", "iaf")
    },
    **{
        f"{name}, {of}": Case(name, of)
        for name, entry in PRIORS.items()
        if entry.of_encoder
        for of in ("diagonal", "full")
    },
}


def make(case, K):
    entry = PRIORS[case.name]
    given = {size: SIZES[size] for size in entry.sizes}
    if entry.is_flow:
        given["family"] = posterior.FAMILIES[case.of].make(K, **FLOW)
    if entry.of_levels:
        given["levels"] = (1,) * K
    if entry.of_encoder:
        family = posterior.FAMILIES[case.of].make(K)
        encoder = networks.mlp_encoder(4, (5,), family.init(), activation=jnp.tanh, output_scale=1.0)
        given |= {"family": family, "encoder": encoder, "inputs": PseudoInputs(jnp.zeros(4), jnp.ones(4))}
    return entry.make(K, **given), given.get("encoder")


@functools.cache
def moved(name, K=2):
    """(the prior, parameters as no training has left them: the start with noise in every number)."""
    prior, encoder = make(CASES[name], K)
    params = prior.init(jax.random.key(0))
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), max(len(leaves), 1))
    params = treedef.unflatten(
        [leaf + 0.4 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=False)]
    )
    return prior, params if prior.tie is None else prior.tie(params, encoder.init(jax.random.key(2)))


@functools.cache
def table(name):
    """(z_NxK, weight_N): the density at the nodes of a grid, times the area of each."""
    prior, params = moved(name)
    z_NxK = np.float32(list(itertools.product(AXIS, repeat=2)))
    log_p_N = jax.jit(jax.vmap(prior.log_prob, (None, 0)))(params, z_NxK)
    return np.float64(z_NxK), np.exp(np.float64(log_p_N)) * (AXIS[1] - AXIS[0]) ** 2


@functools.cache
def samples(name):
    prior, params = moved(name)
    keys = jax.random.split(jax.random.key(3), NUM_SAMPLES)
    return jax.jit(jax.vmap(prior.sample, (None, 0)))(params, keys)


def test_its_name_is_that_of_its_entry():
    assert {case.name: make(case, 2)[0].name for case in CASES.values()} == {name: name for name in PRIORS}


@pytest.mark.parametrize("name", CASES)
def test_a_prior_is_normalised(name):
    _, weight_N = table(name)
    assert abs(np.sum(weight_N) - 1.0) < 2e-4


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if PRIORS[case.name].min_latent_dim == 1]
)
def test_a_prior_of_one_dimension_is_normalised(name):
    prior, params = moved(name, 1)
    log_p_N = jax.jit(jax.vmap(prior.log_prob, (None, 0)))(params, np.float32(AXIS)[:, None])
    assert abs(np.sum(np.exp(np.float64(log_p_N))) * (AXIS[1] - AXIS[0]) - 1.0) < 2e-4


@pytest.mark.parametrize("name", CASES)
def test_samples_are_of_the_density(name):
    """Moments, the entropy, and the masses of the cells of a chessboard, by quadrature and by samples."""
    prior, params = moved(name)
    (z_NxK, weight_N), z_SxK = table(name), samples(name)
    log_p_S = np.float64(jax.jit(jax.vmap(prior.log_prob, (None, 0)))(params, z_SxK))
    z_SxK = np.float64(z_SxK)
    oracles.assert_mean(z_SxK, weight_N @ z_NxK)
    oracles.assert_mean(
        z_SxK[:, :, None] * z_SxK[:, None, :], np.einsum("n,ni,nj->ij", weight_N, z_NxK, z_NxK), rounding=1e-3
    )
    log_weight_N = np.log(np.maximum(weight_N, 1e-300))
    entropy = -np.sum(weight_N * (log_weight_N - 2.0 * np.log(AXIS[1] - AXIS[0])))
    oracles.assert_mean(-log_p_S, entropy, rounding=1e-3)
    # Off the nodes of the grid, whose cells are then on one side.
    edge_2 = np.median(z_SxK, axis=0) // (AXIS[1] - AXIS[0]) * (AXIS[1] - AXIS[0]) + 0.5 * (AXIS[1] - AXIS[0])
    cells = [np.prod(np.where(z > edge_2, 1.0, -1.0), axis=1) for z in (z_SxK, z_NxK)]
    oracles.assert_mean(cells[0], weight_N @ cells[1], rounding=2e-3)


@pytest.mark.parametrize("name", CASES)
def test_samples_differ_and_alone_they_are_those_of_the_batch(name):
    prior, params = moved(name)
    z_SxK = np.asarray(samples(name))
    assert len(np.unique(z_SxK[:, 0])) > 0.99 * NUM_SAMPLES
    keys = jax.random.split(jax.random.key(3), NUM_SAMPLES)
    np.testing.assert_allclose(prior.sample(params, keys[5]), z_SxK[5], rtol=1e-5, atol=1e-6)


def test_the_prior_without_parameters_is_the_one_that_is_known():
    prior, params = make(CASES["standard_normal"], 3)[0], {}
    assert prior.init(jax.random.key(0)) == params
    z_K = jnp.array([0.3, -1.0, 2.0])
    assert prior.log_prob(params, z_K) == standard_normal_log_prob(z_K)
