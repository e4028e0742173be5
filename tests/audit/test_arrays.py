"""x and params that are no arrays of float32: one line that says what to give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.experimental.sparse import BCOO

import vaelab
from tests.audit.test_auditing import D, K, encode, log_likelihood, points
from tests.audit.test_check import looked
from vaelab.audit import auditing


@pytest.fixture(autouse=True)
def nothing_is_measured(monkeypatch):
    monkeypatch.setattr(auditing, "measure", None)


class Table:
    """A table as pandas has it: NumPy can make an array of it."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


class Batches:
    """A loader, which can be iterated over, and that is all."""

    def __iter__(self):
        return iter(points())


class OnDevice:
    """A tensor that is on a device, or has a gradient."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


NO_X = {
    "sparse": (scipy.sparse.csr_matrix(points()), r"toarray\(\)"),
    "sparse array": (scipy.sparse.coo_array(points()), r"toarray\(\)"),
    "sparse of JAX": (BCOO.fromdense(points()), r"todense\(\)"),
    "a loader": (Batches(), "it is .*Batches: give an array, of all batches np.concatenate"),
    "a generator": ((row for row in points()), "generator"),
    "a list of datapoints": (list(points()), r"np.stack\(x\)"),
    "a list of images": ([np.ones((3, 2))] * 20, r"np.stack\(x\)"),
    "a list of dicts": ([{"a": 1.0}, {"a": 2.0}], "list of 2 dicts: give one dict of arrays"),
    "float16": (points().astype(np.float16), r"x is float16 .* x.astype\(np.float32\)"),
    "bfloat16": (jnp.asarray(points(), jnp.bfloat16), "x is bfloat16"),
    "words": ("mnist.npz", "it is the word 'mnist.npz'"),
    "objects": (np.array([[1.0, "a"]] * 3, dtype=object), "to_numpy"),
    "a tensor on a device": (OnDevice(), r"detach\(\).cpu\(\).numpy\(\)"),
    "complex": (points() + 1j, "its real and its imaginary part"),
    "a single datapoint": (points()[0], r"give x\[None\]"),
}


@pytest.mark.parametrize("case", NO_X)
def test_what_is_no_array_of_datapoints_is_told_what_to_give(case):
    x, line = NO_X[case]
    with pytest.raises(vaelab.AuditError, match=line) as raised:
        looked(x=x)
    assert "\n" not in str(raised.value)


def test_a_single_datapoint_is_told_without_an_encoder_too():
    """Its numbers stretch over the dimensions of the model, which takes them for datapoints of one number."""
    with pytest.raises(vaelab.AuditError, match=r"give x\[None\]"):
        looked(x=points()[0], encode=None)


NO_PARAMS = {
    "a word": ({"w": np.ones(2), "activation": "relu"}, r"params\['activation'\] is the word 'relu'"),
    "a function": ((np.ones(2), jax.nn.relu), r"params\[1\] is .*close over"),
    "NaN": ({"w": np.array([1.0, np.nan])}, r"params\['w'\] has 1 NaN among its 2"),
    "overflow": ({"w": np.array([1e200, 1.0])}, "params.*rounds it by up to inf"),
    "digits": ({"w": 1e9 + np.arange(5.0)}, "params.* is float64 and an audit is in float32"),
    "integers": ({"w": np.array([2**40])}, "which int32 does not hold"),
    "sparse": ({"w": scipy.sparse.eye(3).tocsr()}, "sparse"),
    "an object": ({"w": object()}, r"params\['w'\] must be numbers"),
}


def with_params(params):
    return looked(
        lambda params, x_D, z_K: log_likelihood(x_D, z_K), lambda params, x_D: encode(x_D), params=params
    )


@pytest.mark.parametrize("case", NO_PARAMS)
def test_what_is_no_array_in_params_is_named_by_its_path(case):
    params, line = NO_PARAMS[case]
    with pytest.raises(vaelab.AuditError, match=line) as raised:
        with_params(params)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "params",
    [
        {"w": np.random.default_rng(0).normal(size=(3, 2)), "scale": 0.1, "steps": 3},
        {"mask": np.array([0.0, -np.inf]), "key": jax.random.key(0), "empty": np.zeros(0), "none": None},
    ],
)
def test_params_that_are_arrays_raise_no_alarm(params):
    assert with_params(params).checks


X = {
    "a table": (Table(np.float64(points())), encode),
    "numbers of a series": (Table(np.arange(20.0)), None),
    "parts in a list": ([points()[:, :2], points()[:, 2:]], None),
}


@pytest.mark.parametrize("case", X)
def test_arrays_of_datapoints_raise_no_alarm(case):
    x, encoder = X[case]

    def density(x, z_K):
        flat = jnp.concatenate([jnp.atleast_1d(a) for a in jax.tree.leaves(x)])
        return log_likelihood(flat[:1] * jnp.ones(D), z_K)

    assert looked(density, encoder, x, latent_dim=K).checks
