"""What holds for every member of LIKELIHOODS and NETWORKS; of PRIORS see `test_priors`."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import oracles
from vaelab.model import LIKELIHOODS, NETWORKS

LEVELS, D, NUM_SAMPLES = 5, 2, 4000
SETTINGS = {"min_variance": 0.3, "num_components": 3}
SHAPE, HIDDEN, CHANNELS = (4, 4), (6,), (2, 3)
POINTS = np.linspace(-30.0, 30.0, 1201)
# x_j under each observation, with the width of what a value stands for.
VALUES = {
    "binarize": (np.array([0.0, 1.0]), 1.0),
    "rescale": (np.arange(LEVELS) / (LEVELS - 1), 1.0),
    "dequantize": (POINTS, POINTS[1] - POINTS[0]),
}


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
    density, (values, width) = make(entry), VALUES[entry.observation]
    x_NxD = np.float32(list(itertools.product(values, repeat=D)))
    log_p_N = jax.jit(jax.vmap(density.log_prob, (None, 0)))(output(density), x_NxD)
    total = np.sum(np.exp(np.float64(log_p_N))) * width**D
    assert abs(total - 1.0) < 1e-4


@pytest.mark.long
def test_samples_of_a_likelihood_have_its_moments(entry):
    density, (values, width) = make(entry), VALUES[entry.observation]
    out_Q, keys = output(density), jax.random.split(jax.random.key(0), NUM_SAMPLES)
    x_SxD = np.float64(jax.jit(jax.vmap(density.sample, (0, None)))(keys, out_Q))
    x_NxD = np.float32(list(itertools.product(values, repeat=D)))
    p_N = np.exp(np.float64(jax.jit(jax.vmap(density.log_prob, (None, 0)))(out_Q, x_NxD))) * width**D
    oracles.assert_mean(x_SxD, p_N @ np.float64(x_NxD), rounding=1e-3)
    oracles.assert_mean(x_SxD**2, p_N @ np.float64(x_NxD) ** 2, rounding=1e-3)
    assert density.mean(out_Q).shape == (D,)


def test_a_likelihood_takes_its_settings(entry):
    density = make(entry)
    x_D = jnp.zeros(D)
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
    encoder = kind.encoder(SHAPE, HIDDEN, CHANNELS, phi_P, activation=jnp.tanh, output_scale=0.0)
    x_D = jax.random.uniform(jax.random.key(0), (16,))
    np.testing.assert_array_equal(encoder.apply(encoder.init(jax.random.key(1)), x_D), phi_P)
    free = kind.encoder(SHAPE, HIDDEN, CHANNELS, phi_P, activation=jnp.tanh, output_scale=1.0)
    slope_PxD = jax.jacobian(lambda x: free.apply(free.init(jax.random.key(1)), x))(x_D)
    assert np.all(np.abs(slope_PxD).max(axis=0) > 0)


@pytest.mark.long
@pytest.mark.parametrize("outputs_per_dim", [1, 2])
def test_a_decoder_has_every_output_hang_on_z(kind, outputs_per_dim):
    decoder = kind.decoder(3, SHAPE, HIDDEN, CHANNELS, outputs_per_dim, activation=jnp.tanh)
    theta = decoder.init(jax.random.key(0))
    slope_QxK = jax.jacobian(lambda z: decoder.apply(theta, z))(jnp.array([0.3, -1.0, 2.0]))
    assert slope_QxK.shape == (outputs_per_dim * 16, 3)
    assert np.all(np.abs(slope_QxK).max(axis=1) > 0)


def test_a_decoder_without_hidden_layers_is_affine_where_it_is_said(kind):
    if not kind.affine_without_hidden:
        assert kind.problem(SHAPE, (), CHANNELS) is not None
        return
    decoder = kind.decoder(3, SHAPE, (), CHANNELS, 1, activation=jnp.tanh)
    theta = decoder.init(jax.random.key(0))
    slopes = [jax.jacobian(lambda z: decoder.apply(theta, z))(z_K) for z_K in (jnp.zeros(3), jnp.ones(3))]
    np.testing.assert_allclose(*slopes, atol=1e-6)


@pytest.mark.parametrize("shape", [SHAPE, (5, 3), (5, 3, 3)])
def test_a_network_that_can_be_has_no_problem(kind, shape):
    assert kind.problem(shape, HIDDEN, CHANNELS) is None


@pytest.mark.parametrize(
    ("shape", "hidden", "channels", "setting"),
    [
        ((16,), HIDDEN, CHANNELS, "network"),
        ((2, 4, 4, 3), HIDDEN, CHANNELS, "network"),
        (SHAPE, (6, 6), CHANNELS, "hidden"),
        (SHAPE, HIDDEN, (), "channels"),
    ],
)
def test_what_a_convolutional_network_cannot_have_is_named(shape, hidden, channels, setting):
    assert NETWORKS["convolutional"].problem(shape, hidden, channels)[0] == setting
