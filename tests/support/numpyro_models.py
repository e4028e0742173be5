"""NumPyro models that several test files audit; importing it skips a file where NumPyro is not installed."""

import jax.numpy as jnp
import numpy as np
import pytest

numpyro = pytest.importorskip("numpyro")
dist, handlers = pytest.importorskip("numpyro.distributions"), pytest.importorskip("numpyro.handlers")
reparam = pytest.importorskip("numpyro.infer.reparam")

N, D = 6, 5
RNG = np.random.default_rng(1)
A, B, C = (np.float32(RNG.normal(size=shape)) for shape in ((D, 2), D, D))
# From u = (a, b_decentered, log s) to a, b, log s; log s has the deviation 0.4.
M = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [1, -1, 0.5, 0], [0, 0, 0, 1.0]])
W, PRIOR = np.column_stack([A, B, C]) @ M, np.diag([1, 1, 1, 0.4**2])
X = np.float32(RNG.normal(size=(N, 4)) @ np.sqrt(PRIOR) @ W.T + 0.6 * RNG.normal(size=(N, D)))


def body(shape, x, noise=0.6):
    a = numpyro.sample("a", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
    b = numpyro.sample("b", dist.Normal(a[..., 0] - a[..., 1], 0.5))
    s = numpyro.sample("s", dist.LogNormal(0.0, 0.4))
    mean = a @ A.T + jnp.asarray(b)[..., None] * B + jnp.log(jnp.asarray(s))[..., None] * C
    numpyro.sample("x", dist.Normal(mean, noise).to_event(1), obs=x)


def of_one(x):
    body((), x)


def of_batch(x):
    with numpyro.plate("data", len(x)):
        body((len(x),), x)


def shared_scale(x):
    noise = numpyro.sample("noise", dist.LogNormal(0.0, 1.0))
    weight = numpyro.param("weight", jnp.ones(()))
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.Normal(0.0, 2.0))
        numpyro.sample("x", dist.Normal(weight * z, noise), obs=x)


def with_network(x):
    weight = numpyro.param("weight", jnp.ones(()))
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.Normal(0.0, 2.0))
        numpyro.sample("x", dist.Normal(weight * z, 1.0), obs=x)


def broken(x):
    raise KeyError("weights")


DECENTERED = {"b": reparam.LocScaleReparam(0)}
ONE = np.float32(RNG.normal(size=N))
