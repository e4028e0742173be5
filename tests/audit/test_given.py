"""What an audit is given: one density, a sampler by its arguments, and whose error an exception is."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab.audit.given import AuditError, described, given_choices, given_model, shapes, theirs, typed

KEY, Z, X = jax.random.key(0), jnp.array([2.0, 3.0]), jnp.array([5.0])


def given(log_likelihood=None, log_joint=None, encode=None, sample=None, decode=None, params=None, **sizes):
    sizes = {"latent_dim": 2, "num_simulated": 0} | sizes
    return given_model(log_likelihood, log_joint, encode, sample, decode, params, **sizes)


def density(x, z):
    return jnp.sum(x) * jnp.sum(z)


def test_functions_without_params_are_called_without_them():
    one = given(density, encode=lambda x: 2.0 * x, decode=lambda z: z[:1])
    assert (one.name, one.params, one.latent_dim) == ("log_likelihood", (), 2)
    assert one.density((), X, Z) == 25.0
    assert one.encode((), X) == 10.0
    assert one.decode((), Z) == 2.0
    with_params = given(lambda theta, x, z: theta * density(x, z), params=jnp.float32(3.0))
    assert with_params.density(with_params.params, X, Z) == 75.0
    arrays = (np.zeros((4, 2)), np.ones((4, 2)))
    assert given(density, encode=arrays).encode is arrays


def test_the_prior_is_the_standard_one_but_in_a_log_joint():
    likelihood, joint = given(density).model(), given(log_joint=density).model()
    np.testing.assert_allclose(
        likelihood.log_prior((), Z), -0.5 * (4.0 + 9.0) - np.log(2.0 * np.pi), rtol=1e-6
    )
    assert joint.log_prior((), Z) == 0.0
    assert (likelihood.prior, joint.prior, joint.sample_prior) == ("standard_normal", None, None)
    assert joint.log_likelihood((), X, Z) == likelihood.log_likelihood((), X, Z) == 25.0


SAMPLERS = {
    "(key, z)": ({"log_likelihood": density, "sample": lambda key, z: z[:1]}, (2.0, Z)),
    "(key, z, x)": ({"log_likelihood": density, "sample": lambda key, z, x: x + z[0]}, (7.0, Z)),
    "(key)": ({"log_joint": density, "sample": lambda key: (X + 1.0, 2.0 * Z)}, (6.0, 2.0 * Z)),
    "(key, x)": ({"log_joint": density, "sample": lambda key, x: [x, -Z]}, (5.0, -Z)),
    "a default": ({"log_likelihood": density, "sample": lambda key, z, n=3: n * z[:1]}, (6.0, Z)),
    "whatever is given": ({"log_likelihood": density, "sample": lambda *given: given[1][:1]}, (2.0, Z)),
}  # fmt: skip


@pytest.mark.parametrize("case", SAMPLERS)
def test_a_sampler_is_called_with_what_it_asks_for(case):
    arguments, (x, z_K) = SAMPLERS[case]
    drawn, drawn_from = given(**arguments).draw((), KEY, Z, X)
    assert drawn == x
    np.testing.assert_array_equal(drawn_from, z_K)


def test_a_sampler_with_params_is_given_them_first():
    one = given(lambda theta, x, z: 0.0, sample=lambda theta, key, z: theta * z[:1], params=jnp.float32(4.0))
    assert one.draw(one.params, KEY, Z, X)[0] == 8.0
    line = "sample takes 4 arguments after params; with log_likelihood it is"
    with pytest.raises(AuditError, match=line):
        given(density, sample=lambda theta, key, z, x, y: 0.0, params=1.0)


REFUSED = {
    "both": ({"log_likelihood": density, "log_joint": density}, "one of the two"),
    "neither": ({}, "one of the two"),
    "no function": ({"log_likelihood": density, "decode": 3}, "decode must be a function, not int"),
    "a size that is true": ({"log_likelihood": density, "latent_dim": True}, "latent_dim=True must be"),
    "half a dimension": ({"log_likelihood": density, "latent_dim": 1.5}, "latent_dim=1.5 must be"),
    "less than none": ({"log_likelihood": density, "num_simulated": -1}, "a whole number of 0 or more"),
    "no sampler": ({"log_likelihood": density, "num_simulated": 3}, r"needs sample=\(key, z\) -> x"),
    "no sampler of both": ({"log_joint": density, "num_simulated": 3}, r"needs sample=\(key\) -> \(x, z\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_model_is_one_line(case):
    arguments, line = REFUSED[case]
    with pytest.raises(AuditError, match=line) as raised:
        given(**arguments)
    assert "\n" not in str(raised.value)
    assert given(density, latent_dim=np.int64(3)).latent_dim == 3


def test_a_key_of_either_kind_is_typed_and_nothing_else_is_one():
    old = jax.random.PRNGKey(7)
    assert typed(KEY) is KEY
    np.testing.assert_array_equal(jax.random.key_data(typed(old)), old)
    for wrong in (0, jax.random.split(KEY, 3), jnp.zeros(2, jnp.int32), np.zeros(2, np.uint32)):
        with pytest.raises(AuditError, match="key must be a JAX key"):
            typed(wrong)


def test_an_exception_is_told_with_the_call_and_the_users_line():
    def broken(params, x, key):
        raise ValueError("a\n  bad   thing")

    line = inspect.getsourcelines(broken)[1] + 1
    with pytest.raises(AuditError) as raised:
        theirs("sample", broken, (), " under jax.jit")({"a": np.zeros(3, np.float32)}, KEY)
    assert re.fullmatch(
        rf"sample\(\{{'a': 'float32\[3\]'\}}, key\) under jax.jit raised ValueError: a bad thing "
        rf"\(.*test_given\.py:{line}\)",
        str(raised.value),
    )

    def refused(params):
        raise AuditError("ours")

    with pytest.raises(AuditError, match=r"^ours$"):
        theirs("sample", refused, ())()


def test_arrays_are_described_by_type_and_shape():
    assert described(np.zeros((2, 3), np.int32)) == "int32[2,3]"
    assert described(1.0) == "float64[]"
    assert shapes((KEY, jnp.zeros(2))) == "('key', 'float32[2]')"


def test_a_name_of_families_is_not_taken_for_its_letters():
    with pytest.raises(AuditError, match=r"must be a tuple of names, as \('full',\)"):
        given_choices(None, "full", "auto", 0.02, None)
    choices = given_choices(None, ["full"], "auto", 0.02, None)
    assert (choices.families, choices.settings) == (("full",), {})
