"""Quadrature of one and two latent dimensions against closed forms and a grid in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import oracles
from tests.support.oracles import EPS, LinearGaussian
from vaelab import model as models
from vaelab import posterior
from vaelab.evidence import importance
from vaelab.evidence.importance import Components
from vaelab.evidence.quadrature import evaluations, quadrature, quadrature_over_modes
from vaelab.model import likelihood, networks


def linear(K):
    exact = LinearGaussian.random(np.random.default_rng(K), 4, (2.0, 0.5)[:K], 0.5)
    x_D = exact.sample(np.random.default_rng(1), 1)[0]
    model = models.linear_gaussian(K, (1.0,) * K, 1.0, 4)
    return exact, x_D, models.bind(model, models.LinearGaussianParams(*exact.theta), x_D)


@pytest.mark.parametrize("K", [1, 2])
def test_equals_the_closed_form_from_any_q_that_covers_the_posterior(K):
    exact, x_D, log_joint = linear(K)
    truth = exact.log_evidence(x_D)
    family = posterior.diagonal(K)
    near = exact.optimum("diagonal", x_D).astype(np.float32)
    off = near + np.float32([0.3] * K + [0.5] * K)
    estimate = jax.jit(partial(quadrature, log_joint, family, num_nodes=129, half_width=8.0))
    for phi_P in (near, off, family.init()):
        integral = estimate(phi_P)
        assert abs(integral.log_evidence - truth) <= 40 * EPS * abs(truth)
        assert integral.error <= 40 * EPS * abs(truth)


@pytest.mark.long
@pytest.mark.slow
def test_a_grid_that_is_too_coarse_says_so():
    exact, x_D, log_joint = linear(2)
    family = posterior.diagonal(2)
    truth = exact.log_evidence(x_D)
    for num_nodes in (9, 17, 33, 65):
        integral = quadrature(log_joint, family, family.init(), num_nodes=num_nodes, half_width=8.0)
        assert abs(integral.log_evidence - truth) <= integral.error
    assert integral.error < 0.01


NODES = {1: 1025, 2: 513}


@pytest.mark.long
@pytest.mark.parametrize("K", [1, 2])
def test_of_a_neural_decoder_equals_a_grid_under_the_prior_and_importance_sampling(K):
    decoder = networks.mlp_decoder(K, (8,), 6, activation=jnp.tanh)
    model = models.decoder_model(K, decoder, likelihood.bernoulli())
    theta = jax.tree.map(lambda leaf: 3.0 * leaf, model.init(jax.random.key(K)))
    x_D = np.float32([1, 0, 0, 1, 1, 0])
    z_SxK, weight_S = oracles.standard_normal_grid(K, NODES[K])
    log_likelihood_S = jax.jit(jax.vmap(partial(model.log_likelihood, theta, x_D)))(z_SxK)
    truth = np.log(np.exp(np.float64(log_likelihood_S)) @ weight_S)
    family, log_joint = posterior.diagonal(K), models.bind(model, theta, x_D)
    integral = quadrature(log_joint, family, family.init(), num_nodes=NODES[K] // 2 + 1, half_width=8.0)
    assert abs(integral.log_evidence - truth) <= integral.error
    assert integral.error <= 2e-3  # of half the nodes; a steep decoder
    keys = jax.random.split(jax.random.key(0), 50)
    weigh = partial(
        importance.importance_sampling,
        log_joint,
        ((family, family.init()),),
        num_samples=1000,
        chunk_size=500,
    )
    weighed = jax.jit(jax.vmap(weigh))(keys)
    oracles.assert_calibrated(weighed.log_evidence, float(integral.log_evidence), np.asarray(weighed.stderr))


@pytest.mark.long
@pytest.mark.parametrize("K", [1, 2])
def test_a_mode_that_q_does_not_cover_is_found_and_is_an_error(K):
    """Two modes of equal mass, log p = -1, seen from one of them."""
    centre_K, sd = jnp.full(K, 3.0 / np.sqrt(K)), 0.3

    def log_joint(z_K):
        modes = [models.standard_normal_log_prob((z_K - side * centre_K) / sd) for side in (-1.0, 1.0)]
        return jnp.logaddexp(*modes) - K * jnp.log(sd) - jnp.log(2.0) - 1.0

    phi_P = jnp.concatenate([centre_K, jnp.full(K, jnp.log(sd))])
    integral = quadrature(log_joint, posterior.diagonal(K), phi_P, num_nodes=65, half_width=8.0)
    assert abs(integral.log_evidence + 1.0 + np.log(2.0)) < 1e-4
    assert integral.error == pytest.approx(np.log(2.0), abs=1e-3)


def test_what_it_cannot_do_is_one_clear_line():
    with pytest.raises(ValueError, match="at most 2 latent dimensions and the model has 3") as raised:
        quadrature(lambda z_K: 0.0, posterior.diagonal(3), jnp.zeros(6), num_nodes=9, half_width=8.0)
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="must be odd"):
        quadrature(lambda z_K: 0.0, posterior.diagonal(1), jnp.zeros(2), num_nodes=10, half_width=8.0)


@pytest.mark.parametrize("value", [-jnp.inf, jnp.nan])
def test_no_density_is_marked(value):
    family = posterior.diagonal(1)
    integral = quadrature(
        lambda z_K: 0.0 * z_K[0] + value, family, family.init(), num_nodes=9, half_width=8.0
    )
    assert not integral.finite
    assert integral.error == np.inf


def test_evaluations_counts_the_nodes():
    assert evaluations(2, num_nodes=65) == 2 * 65**2


@pytest.mark.parametrize("width", [0.01, 0.05, 0.3, 1.0])
def test_a_second_mode_of_any_width_and_place_is_within_the_error_or_not_seen_at_all(width):
    """log(1 + mass) is right. What a node meets is an error; between two nodes it adds nothing."""
    family = posterior.diagonal(1)

    def integral(distance, log_mass):
        def log_joint(z_K):
            second = models.standard_normal_log_prob((z_K - distance) / width) - jnp.log(width)
            return jnp.logaddexp(models.standard_normal_log_prob(z_K), second + log_mass)

        return quadrature(log_joint, family, family.init(), num_nodes=65, half_width=8.0)

    distances, log_masses = jnp.linspace(2.0, 30.0, 113), jnp.log(jnp.array([0.1, 1.0, 9.0]))
    values, errors = jax.jit(jax.vmap(jax.vmap(integral, (0, None)), (None, 0)))(distances, log_masses)
    over = values - jnp.log1p(jnp.exp(log_masses))[:, None]
    assert np.all(np.asarray(over) <= np.asarray(errors) + 1e-4)


def by_hand(means, widths, weights):
    """Components in one dimension, and log p(x, z) of their mixture."""
    mean_M, width_M, weight_M = map(jnp.asarray, (means, widths, weights))
    components = Components(
        mean_M[:, None],
        width_M[:, None, None],
        1.0 / width_M[:, None, None],
        jnp.log(width_M),
        jnp.log(weight_M),
    )

    def log_joint(z_K):
        return jax.nn.logsumexp(jax.scipy.stats.norm.logpdf(z_K[0], mean_M, width_M) + jnp.log(weight_M))

    return components, log_joint


@pytest.mark.parametrize(
    ("means", "widths"),
    [
        ((0.0, 100.0), (1.0, 1.0)),
        ((0.0, 5.0, 12.0), (1.0, 0.01, 0.3)),
        ((0.0, 0.2), (1.0, 0.01)),
        ((0.0, 2.5), (1.0, 1.0)),
    ],
)
def test_about_all_modes_the_integral_is_exact_whatever_their_widths_and_distances(means, widths):
    weights = np.arange(1.0, 1.0 + len(means))
    components, log_joint = by_hand(means, widths, weights)
    integral = jax.jit(lambda c: quadrature_over_modes(log_joint, c, num_nodes=65, half_width=8.0))(
        components
    )
    assert abs(integral.log_evidence - np.log(weights.sum())) < 1e-4 + integral.error
    assert integral.error < 1e-3


def test_the_shares_of_the_modes_add_up_to_one_whatever_the_weights_are():
    """Weights that are off by factors of 100 move the value by no more than the error says."""
    components, log_joint = by_hand((0.0, 6.0), (1.0, 0.4), (1.0, 2.0))
    wrong = components._replace(log_weight_M=jnp.log(jnp.array([10.0, 0.2])))
    integral = quadrature_over_modes(log_joint, wrong, num_nodes=65, half_width=8.0)
    assert abs(integral.log_evidence - np.log(3.0)) < integral.error + 1e-4
    assert integral.error < 1e-2


@pytest.mark.parametrize("distance", [12.0, 20.0])
def test_a_mode_that_is_none_of_the_known_ones_is_an_error(distance):
    """Two known modes, and a third of the same mass outside of their squares: log(3 / 2) is missing."""
    means = (0.0, 3.0, -distance)
    _, log_joint = by_hand(means, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    known, _ = by_hand(means[:2], (1.0, 1.0), (1.0, 1.0))
    integral = quadrature_over_modes(log_joint, known, num_nodes=65, half_width=8.0)
    assert integral.log_evidence == pytest.approx(np.log(2.0), abs=1e-4)
    assert integral.error == pytest.approx(np.log(1.5), abs=1e-2)


def test_a_place_without_a_mode_has_no_part():
    components, _ = by_hand((0.0, 4.0), (1.0, 1.0), (1.0, 1.0))
    alone = components._replace(log_weight_M=jnp.array([0.0, -jnp.inf]))
    integral = quadrature_over_modes(
        lambda z_K: models.standard_normal_log_prob(z_K), alone, num_nodes=65, half_width=8.0
    )
    assert abs(integral.log_evidence) < 1e-5
