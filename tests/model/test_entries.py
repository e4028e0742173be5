"""What holds for every member of LIKELIHOODS and NETWORKS; of PRIORS see `test_priors`."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import oracles
from vaelab.model import LIKELIHOODS, NETWORKS
from vaelab.model.networks import Layers

LEVELS, D, NUM_SAMPLES = 5, 2, 4000
SETTINGS = {"min_variance": 0.3, "num_components": 3, "degrees_of_freedom": 9.0}
SHAPE, LAYERS = (4, 4), Layers((6,), (2, 3))
POINTS = np.linspace(-30.0, 30.0, 1201)
# x_j under each observation, or what a likelihood is of, with the width of what a value stands for.
INSIDE, WEIGHT = (
    0.5 * (part + shift) for part, shift in zip(np.polynomial.legendre.leggauss(120), (1, 0), strict=True)
)
VALUES = {
    "binarize": (np.array([0.0, 1.0]), np.ones(2)),
    "rescale": (np.arange(LEVELS) / (LEVELS - 1), np.ones(LEVELS)),
    "dequantize": (POINTS, np.full(len(POINTS), POINTS[1] - POINTS[0])),
    "counts": (np.arange(120.0), np.ones(120)),
    "unit": (INSIDE, WEIGHT),
    "clipped_gaussian": (np.r_[0.0, INSIDE, 1.0], np.r_[1.0, WEIGHT, 1.0]),
}


def values_of(entry):
    """(x_NxD, the weight of each)."""
    name = make(entry).name
    value_V, width_V = VALUES[name if name in VALUES else entry.support or entry.observation]
    return (np.array(list(itertools.product(part, repeat=D))) for part in (value_V, width_V))


@pytest.fixture(params=LIKELIHOODS)
def entry(request):
    return LIKELIHOODS[request.param]


def make(entry, **changes):
    numbers = {name: SETTINGS[name] for name in (*entry.settings, *entry.sizes)}
    return entry.make(LEVELS, **numbers | changes)


def output(density, seed=0):
    size = density.outputs_per_dim * D + len(density.learned)
    return np.float32(0.5 * np.random.default_rng(seed).normal(size=size))


def test_its_name_is_that_of_its_entry():
    assert {name: make(entry).name for name, entry in LIKELIHOODS.items()} == {n: n for n in LIKELIHOODS}


def test_a_likelihood_is_normalised_over_what_its_observation_makes(entry):
    density, (x_NxD, width_NxD) = make(entry), values_of(entry)
    log_p_N = jax.jit(jax.vmap(density.log_prob, (None, 0)))(output(density), np.float32(x_NxD))
    total = np.sum(np.exp(np.float64(log_p_N)) * width_NxD.prod(axis=1))
    assert abs(total - 1.0) < 1e-4


@pytest.mark.long
def test_samples_of_a_likelihood_have_its_moments(entry):
    density, (x_NxD, width_NxD) = make(entry), values_of(entry)
    out_Q, keys = output(density), jax.random.split(jax.random.key(0), NUM_SAMPLES)
    x_SxD = np.float64(jax.jit(jax.vmap(density.sample, (0, None)))(keys, out_Q))
    log_p_N = jax.jit(jax.vmap(density.log_prob, (None, 0)))(out_Q, np.float32(x_NxD))
    p_N = np.exp(np.float64(log_p_N)) * width_NxD.prod(axis=1)
    oracles.assert_mean(x_SxD, p_N @ np.float64(x_NxD), rounding=1e-3)
    oracles.assert_mean(x_SxD**2, p_N @ np.float64(x_NxD) ** 2, rounding=1e-3)
    assert density.mean(out_Q).shape == (D,)


def test_a_likelihood_takes_its_settings(entry):
    density = make(entry)
    x_D = jnp.full(D, 0.25)
    for name in entry.sizes:
        assert make(entry, **{name: 1}).outputs_per_dim < density.outputs_per_dim
    for name in entry.settings:
        other = make(entry, **{name: 2.0})
        assert density.log_prob(output(density), x_D) != other.log_prob(output(density), x_D)


@pytest.fixture(params=NETWORKS)
def kind(request):
    return NETWORKS[request.param]


@pytest.mark.long
def test_a_fresh_encoder_with_no_scale_gives_its_phi(kind):
    phi_P = jnp.arange(5.0)
    encoder = kind.encoder(SHAPE, LAYERS, phi_P, activation=jnp.tanh, output_scale=0.0)
    x_D = jax.random.uniform(jax.random.key(0), (16,))
    np.testing.assert_array_equal(encoder.apply(encoder.init(jax.random.key(1)), x_D), phi_P)
    free = kind.encoder(SHAPE, LAYERS, phi_P, activation=jnp.tanh, output_scale=1.0)
    slope_PxD = jax.jacobian(lambda x: free.apply(free.init(jax.random.key(1)), x))(x_D)
    assert np.all(np.abs(slope_PxD).max(axis=0) > 0)


@pytest.mark.long
@pytest.mark.parametrize("outputs_per_dim", [1, 2])
def test_a_decoder_has_every_output_hang_on_z(kind, outputs_per_dim):
    decoder = kind.decoder(3, SHAPE, LAYERS, outputs_per_dim, activation=jnp.tanh)
    theta = decoder.init(jax.random.key(0))
    slope_QxK = jax.jacobian(lambda z: decoder.apply(theta, z))(jnp.array([0.3, -1.0, 2.0]))
    assert slope_QxK.shape == (outputs_per_dim * 16, 3)
    assert np.all(np.abs(slope_QxK).max(axis=1) > 0)


def test_a_decoder_without_hidden_layers_is_affine_where_it_is_said(kind):
    decoder = kind.decoder(3, SHAPE, LAYERS._replace(hidden=()), 1, activation=jnp.tanh)
    theta = decoder.init(jax.random.key(0))
    slopes = [jax.jacobian(lambda z: decoder.apply(theta, z))(z_K) for z_K in (jnp.zeros(3), jnp.ones(3))]
    assert np.allclose(*slopes, atol=1e-6) == kind.affine_without_hidden


@pytest.mark.parametrize("shape", [SHAPE, (5, 3), (5, 3, 3)])
def test_a_network_that_can_be_has_no_problem(kind, shape):
    assert kind.problem(shape, LAYERS) is None


@pytest.mark.parametrize(
    ("shape", "layers", "setting"),
    [
        ((16,), LAYERS, "network"),
        ((2, 4, 4, 3), LAYERS, "network"),
        (SHAPE, LAYERS._replace(hidden=(6, 6)), "hidden"),
        (SHAPE, LAYERS._replace(channels=()), "channels"),
    ],
)
def test_what_a_convolutional_network_cannot_have_is_named(shape, layers, setting):
    assert NETWORKS["convolutional"].problem(shape, layers)[0] == setting
