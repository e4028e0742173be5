"""Whether a density is normalised, by draws of it: right ones pass, and a constant that lacks is seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab.audit.normalised import log_constant

norm = jax.scipy.stats.norm


def test_the_constant_of_a_bernoulli_and_of_a_gaussian_is_found():
    logits_D = jnp.linspace(-2.0, 2.0, 200)
    bernoulli = log_constant(
        lambda key: jax.random.bernoulli(key, jax.nn.sigmoid(logits_D)).astype(jnp.float32),
        lambda x_D: jnp.sum(x_D * logits_D - jax.nn.softplus(logits_D)) + 30.0,
        jax.random.key(0),
    )
    # The fit of each dimension costs about half a nat in a thousand.
    assert abs(bernoulli.value - 30.0) < 5.0 * bernoulli.stderr + 200 * 0.5e-3
    gaussian = log_constant(
        lambda key: jax.random.normal(key, (200,)),
        lambda x_D: -0.5 * jnp.sum(x_D**2 + jnp.log(2.0 * jnp.pi)),
        jax.random.key(1),
    )
    assert not gaussian.looks_wrong()
    assert bernoulli.looks_wrong()
    assert bernoulli.dims == 200


def discretized_logistic(x_D, scale):
    """log of the mass within half of each whole number, from its tail, where nothing cancels."""
    far_D = jnp.abs(x_D)
    tails = (jax.nn.sigmoid(-(far_D + side) / scale) for side in (-0.5, 0.5))
    return jnp.sum(jnp.log(next(tails) - next(tails)))


@pytest.mark.parametrize(
    ("sample", "log_density"),
    [
        (lambda key: jax.random.uniform(key, (784,)), lambda x_D: jnp.sum(0.0 * x_D)),
        (lambda key: jax.random.exponential(key, (100,)), lambda x_D: -jnp.sum(x_D)),
        # A U on [0, 1], as continuous Bernoulli and Beta distributions have it.
        (
            lambda key: jnp.sin(0.5 * jnp.pi * jax.random.uniform(key, (100,))) ** 2,
            lambda x_D: -jnp.sum(jnp.log(jnp.pi) + 0.5 * jnp.log(x_D * (1.0 - x_D))),
        ),
        (
            lambda key: jnp.round(6.0 * jax.random.logistic(key, (784,))),
            lambda x_D: discretized_logistic(x_D, 6.0),
        ),
    ],
    ids=["uniform", "exponential", "arcsine", "discretized logistic"],
)
def test_a_normalised_density_raises_no_alarm_and_an_unnormalised_one_does(sample, log_density):
    right = log_constant(sample, log_density, jax.random.key(0))
    assert not right.looks_wrong()
    wrong = log_constant(sample, lambda x_D: log_density(x_D) + 0.5 * x_D.size, jax.random.key(0))
    assert wrong.looks_wrong()


def test_a_draw_that_the_density_calls_impossible_is_an_alarm():
    constant = log_constant(
        lambda key: jax.random.normal(key, (3,)),
        lambda x_D: jnp.where(x_D[0] > 0, 0.0, -jnp.inf),
        jax.random.key(0),
    )
    assert constant.looks_wrong()


def clipped(key, dims=16):
    return jnp.clip(0.4 + 0.3 * jax.random.normal(key, (dims,)), 0.0, 1.0)


def log_clipped(x_D):
    ends_D = jnp.where(x_D <= 0.0, norm.logcdf(-0.4 / 0.3), norm.logcdf(-0.6 / 0.3))
    return jnp.sum(jnp.where((x_D <= 0.0) | (x_D >= 1.0), ends_D, norm.logpdf(x_D, 0.4, 0.3)))


def hurdle(key, probability, dims=16):
    one, other = jax.random.split(key)
    positive_D = jnp.exp(1.0 + 2.0 * jax.random.normal(other, (dims,)))
    return jnp.where(jax.random.bernoulli(one, probability, (dims,)), positive_D, 0.0)


def log_hurdle(x_D, probability):
    positive_D = jnp.where(x_D > 0.0, x_D, 1.0)
    smooth_D = jnp.log(probability) + norm.logpdf(jnp.log(positive_D), 1.0, 2.0) - jnp.log(positive_D)
    return jnp.sum(jnp.where(x_D > 0.0, smooth_D, jnp.log1p(-probability)))


def log_rounded(x_D):
    return jnp.sum(jnp.log(norm.cdf(x_D + 0.005, 0.0, 3.0) - norm.cdf(x_D - 0.005, 0.0, 3.0)))


def rounded(key):
    return jnp.round(300.0 * jax.random.normal(key, (8,))) / 100.0


def one_of(key):
    return jax.nn.one_hot(jax.random.categorical(key, jnp.log(jnp.array([0.2, 0.5, 0.3]))), 3)


MIX = np.random.default_rng(0).normal(size=(12, 3))
COVARIANCE = MIX @ MIX.T + 0.1 * np.eye(12)
ROOT, INVERSE = np.float32(np.linalg.cholesky(COVARIANCE)), np.float32(np.linalg.inv(COVARIANCE))
LOG_DET = float(np.linalg.slogdet(COVARIANCE)[1])


def dependent(x_D):
    return -0.5 * (x_D @ INVERSE @ x_D + 12 * jnp.log(2.0 * jnp.pi) + LOG_DET)


MIXED = {
    "clipped at both ends": (clipped, log_clipped),
    "clipped at one end": (
        lambda key: jnp.maximum(jax.random.normal(key, (16,)), 0.0),
        lambda x_D: jnp.sum(jnp.where(x_D <= 0.0, jnp.log(0.5), norm.logpdf(x_D))),
    ),
    "a hurdle": (lambda key: hurdle(key, 0.5), lambda x_D: log_hurdle(x_D, 0.5)),
    "a hurdle that few pass": (lambda key: hurdle(key, 0.02), lambda x_D: log_hurdle(x_D, 0.02)),
    "a hurdle that most pass": (lambda key: hurdle(key, 0.95), lambda x_D: log_hurdle(x_D, 0.95)),
    "lognormal": (
        lambda key: jnp.exp(2.0 * jax.random.normal(key, (16,))),
        lambda x_D: jnp.sum(norm.logpdf(jnp.log(x_D), 0.0, 2.0) - jnp.log(x_D)),
    ),
    "Cauchy": (
        lambda key: jax.random.cauchy(key, (16,)),
        lambda x_D: jnp.sum(jax.scipy.stats.cauchy.logpdf(x_D)),
    ),
    "rounded, masses": (rounded, log_rounded),
    "rounded, a density": (rounded, lambda x_D: jnp.sum(norm.logpdf(x_D, 0.0, 3.0))),
    "one of three": (one_of, lambda x_D: jnp.sum(x_D * jnp.log(jnp.array([0.2, 0.5, 0.3])))),
    "dimensions that depend on each other": (
        lambda key: ROOT @ jax.random.normal(key, (12,)),
        dependent,
    ),
    "thin, where float32 numbers are equal": (
        lambda key: 1.0 + 1e-4 * jax.random.normal(key, (16,)),
        lambda x_D: jnp.sum(norm.logpdf(1e4 * (x_D - 1.0)) + jnp.log(1e4)),
    ),
}


@pytest.mark.parametrize("case", MIXED)
def test_atoms_beside_a_smooth_part_and_heavy_tails_raise_no_alarm(case):
    """A constant of half a nat a dimension does, in either direction."""
    sample, log_density = MIXED[case]
    constants = [
        log_constant(sample, lambda x_D, shift=shift: log_density(x_D) + shift * x_D.size, jax.random.key(0))
        for shift in (0.0, 0.5, -0.5)
    ]
    assert not constants[0].looks_wrong()
    assert not constants[0].dependent
    assert constants[1].looks_wrong()
    assert constants[2].looks_wrong()


def test_a_constant_that_lacks_in_one_dimension_of_four_is_seen():
    """By less than a nat in all: what g is off by is known from its spread."""
    constant = log_constant(
        lambda key: jax.random.normal(key, (4,)),
        lambda x_D: jnp.sum(norm.logpdf(x_D)) + 0.3,
        jax.random.key(0),
    )
    assert abs(constant.value - 0.3) < 5.0 * constant.stderr + 0.02
    assert constant.looks_wrong()


def test_counts_of_a_total_are_said_to_depend_on_each_other():
    """They lack the mass of all other totals, which the product g has: no alarm, and not called right."""
    probability_D = jnp.ones(20) / 20.0

    def sample(key):
        which = jax.random.categorical(key, jnp.log(probability_D), shape=(1000,))
        return jnp.sum(jax.nn.one_hot(which, 20), axis=0)

    def multinomial(x_D):
        gammaln = jax.scipy.special.gammaln
        return gammaln(1001.0) - jnp.sum(gammaln(x_D + 1.0)) + jnp.sum(x_D * jnp.log(probability_D))

    constant = log_constant(sample, multinomial, jax.random.key(0))
    assert constant.dependent
    assert not constant.looks_wrong()
