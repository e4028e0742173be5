"""Numbers in x that are never drawn: told of where they are, and no alarm for what is only rare."""

import jax
import numpy as np
import pytest

import vaelab
from tests.audit.test_auditing import D, K
from vaelab.audit import auditing
from vaelab.audit.auditing import check
from vaelab.audit.outside import DRAWS, _outside

N = 300


def bernoulli(probability):
    return lambda rng, shape: np.float64(rng.random(shape) < probability)


def hurdle(rng, shape):
    return np.where(rng.random(shape) < 0.7, 0.0, np.exp(rng.normal(size=shape)))


def counts(rate):
    return lambda rng, shape: np.float64(rng.poisson(rate, shape))


def plain(name, *arguments):
    return lambda rng, shape: getattr(rng, name)(*arguments, size=shape)


def clipped(rng, shape):
    return np.clip(rng.normal(0.5, 0.5, shape), 0.0, 1.0)


NEVER = {
    "grey for binary": (bernoulli(0.3), plain("uniform")),
    "-1 and 1 for binary": (bernoulli(0.3), lambda rng, shape: 2.0 * bernoulli(0.3)(rng, shape) - 1.0),
    "0 and 255 for binary": (bernoulli(0.3), lambda rng, shape: 255.0 * bernoulli(0.3)(rng, shape)),
    "halves for counts": (counts(3.0), lambda rng, shape: counts(3.0)(rng, shape) + 0.5),
    "logarithms for counts": (counts(3.0), lambda rng, shape: np.log1p(counts(3.0)(rng, shape))),
    "negative counts": (counts(1.0), lambda rng, shape: counts(1.0)(rng, shape) - 1.0),
    "negative for large counts": (counts(1000.0), lambda rng, shape: -1.0 - counts(10.0)(rng, shape)),
    "beyond a uniform": (plain("uniform"), lambda rng, shape: 2.0 * rng.random(shape)),
    "negative for exponential": (plain("exponential"), plain("normal")),
    "beyond clipped": (clipped, lambda rng, shape: rng.normal(0.5, 0.9, shape)),
    "negative beside zeros": (hurdle, plain("normal")),
    "0 to 2 pi for angles": (
        plain("vonmises", 0.0, 0.5),
        lambda rng, shape: rng.vonmises(0.0, 1.0, shape) % (2.0 * np.pi),
    ),
    "classes from 0 for classes from 1": (
        lambda rng, shape: rng.integers(1, 6, shape),
        lambda rng, shape: rng.integers(0, 6, shape),
    ),
}
NO_ALARM = {
    "rare ones": (bernoulli(0.005), bernoulli(0.3)),
    "counts beyond those drawn": (counts(0.05), counts(0.5)),
    "larger counts": (counts(10.0), counts(15.0)),
    "counts of heavy tails": (plain("negative_binomial", 0.5, 0.01), plain("negative_binomial", 0.5, 0.003)),
    "wider": (plain("normal"), lambda rng, shape: rng.normal(1.0, 2.0, shape)),
    "heavy tails": (plain("standard_cauchy"), lambda rng, shape: 3.0 * rng.standard_cauchy(shape)),
    "longer tail": (plain("exponential"), plain("exponential", 4.0)),
    "skewed": (plain("lognormal"), plain("lognormal", 1.0, 2.0)),
    "a support that thins out at its ends": (plain("beta", 2.0, 5.0), plain("uniform")),
    "a little beyond": (plain("uniform"), lambda rng, shape: 1.01 * rng.random(shape)),
    "clipped otherwise": (clipped, lambda rng, shape: np.clip(rng.normal(0.5, 0.9, shape), 0.0, 1.0)),
    "zeros and more": (hurdle, lambda rng, shape: 3.0 * hurdle(rng, shape)),
    "rounded": (
        lambda rng, shape: np.round(rng.normal(size=shape), 2),
        lambda rng, shape: np.round(1.5 * rng.normal(size=shape), 2),
    ),
    "rounded to almost nothing": (
        lambda rng, shape: np.round(rng.normal(0.0, 0.33, shape)),
        lambda rng, shape: np.round(rng.normal(0.0, 0.8, shape)),
    ),
    "logarithms of counts": (
        lambda rng, shape: np.log1p(counts(3.0)(rng, shape)),
        lambda rng, shape: np.log1p(counts(6.0)(rng, shape)),
    ),
    "NaN for missing": (
        plain("normal"),
        lambda rng, shape: np.where(rng.random(shape) < 0.1, np.nan, rng.normal(size=shape)),
    ),
}


def outside(drawn, data, dims, seed):
    rng = np.random.default_rng(seed)
    draws, x = np.float32(drawn(rng, (DRAWS, dims))), np.float32(data(rng, (N, dims)))
    return _outside(x, draws, np.arange(DRAWS) % N)


@pytest.mark.parametrize("dims", [1, 6])
@pytest.mark.parametrize("case", NEVER)
def test_what_is_never_drawn_is_told(case, dims):
    assert outside(*NEVER[case], dims, 0) is not None


@pytest.mark.parametrize("dims", [1, 6])
@pytest.mark.parametrize("case", NO_ALARM)
def test_what_is_rare_raises_no_alarm(case, dims):
    assert all(outside(*NO_ALARM[case], dims, seed) is None for seed in range(3))


def test_the_datapoint_and_the_dimension_are_named():
    rng = np.random.default_rng(0)
    draws, x = np.float32(rng.random((DRAWS, 3)) < 0.5), np.float32(rng.random((N, 3)) < 0.5)
    x[7, 1] = 0.25
    assert _outside(x, draws, np.arange(DRAWS) % N)[:4] == (0.25, 7, 1, 1)


@pytest.fixture(autouse=True)
def nothing_is_measured(monkeypatch):
    monkeypatch.setattr(auditing, "measure", None)


def coins(key, shape):
    return jax.random.bernoulli(key, 0.5, shape).astype(np.float32)


def test_one_leaf_alone_may_hold_it_and_a_covariate_is_that_of_its_datapoint():
    """The covariate of a datapoint is not drawn: it may be any number."""
    rng = np.random.default_rng(0)
    x = {
        "counts": np.float32(rng.random((20, D)) < 0.5),
        "size": np.float32(rng.lognormal(size=20)),
        "marks": np.float32(rng.random((20, 2)) < 0.5),
    }

    def sample(key, z_K, x):
        one, other = jax.random.split(key)
        return x | {"counts": coins(one, (D,)), "marks": coins(other, (2,))}

    def log_likelihood(x, z_K):
        return -np.log(2.0) * (D + 2.0) + 0.0 * z_K[0] + 0.0 * x["size"]

    arguments = {"latent_dim": K, "key": jax.random.key(0), "sample": sample}
    assert check(log_likelihood, None, x, **arguments).checks
    x["marks"] = x["marks"] + 0.25 * (np.arange(20)[:, None] == 3)
    with pytest.raises(vaelab.AuditError, match=r"never gives: .* at datapoint 3, in dimension 0"):
        check(log_likelihood, None, x, **arguments)
