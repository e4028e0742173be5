"""The checks of a density and of decode, on a few datapoints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vaelab
from tests.audit.test_auditing import D, K, N, points, run
from vaelab.audit import auditing
from vaelab.audit.checked import Check, NotChecked
from vaelab.audit.checks import check_decode, check_density
from vaelab.audit.given import AuditError, given_model

Z = np.float32(np.random.default_rng(0).normal(size=(N, K)))


def given(density, decode=None):
    return given_model(density, None, None, None, decode, None, K, 0)


def test_a_density_is_tried_where_it_is_used():
    """At draws of the encoder's distribution, not at draws of the prior, where it may be infinite."""
    given = given_model(lambda x, z: jnp.where(jnp.all(z > 3.0), 0.0, -jnp.inf), *[None] * 5, K, 0)
    far_NxK = np.full((N, K), 4.0, np.float32)
    np.testing.assert_array_equal(check_density(given, points(), far_NxK, []), 0.0)


def quadratic(x_D, z_K):
    return -jnp.sum((x_D[:K] - z_K) ** 2)


def traced_otherwise(x_D, z_K):
    return quadratic(x_D, z_K) + isinstance(z_K, jax.core.Tracer)


def test_the_values_at_the_datapoints_that_are_tried_come_back():
    lines = []
    values = check_density(given(quadratic), points(), Z, lines)
    rows = [0, 7, 15, 23]
    np.testing.assert_allclose(values, -np.sum((points()[rows, :K] - Z[rows]) ** 2, axis=1), rtol=1e-5)
    assert [line.looked_at for line in lines] == [
        "4 of 24 datapoints, each at a draw of N(0, I)",
        "all 24 datapoints, likewise",
    ]


REFUSED = {
    "a row that is not tried": (
        lambda x, z: jnp.where(jnp.all(x == points()[5]), jnp.nan, quadratic(x, z)),
        "log_likelihood is nan at 1 of 24 datapoints, index 5 first",
    ),
    "several numbers": (lambda x, z: -z**2, r"returned float32\[2\] for one datapoint: sum it"),
    "not pure": (lambda x, z: quadratic(x, z) + np.random.default_rng().normal(), "must be pure"),
    "a gradient": (lambda x, z: quadratic(x, z) + jnp.sqrt(0.0 * z[0]), "the gradient .* at datapoint 0"),
    "compiled otherwise": (traced_otherwise, "it must be pure JAX"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_density_in_pure_jax_is_one_line(case):
    density, line = REFUSED[case]
    with pytest.raises(AuditError, match=line) as raised:
        check_density(given(density), points(), Z, [])
    assert "\n" not in str(raised.value)


def test_numbers_that_are_one_datapoint_are_not_taken_for_many():
    """A density of a vector takes a row, which is one number, stretched to its length."""
    x_N = np.zeros(3, np.float32)
    with pytest.raises(AuditError, match=r"give x\[None\]"):
        check_density(given(lambda x, z: -jnp.sum((x - jnp.arange(3.0)) ** 2)), x_N, Z[:3], [])
    assert len(check_density(given(lambda x, z: -jnp.sum((x - z[0]) ** 2)), x_N, Z[:3], [])) == 3


def test_an_image_has_as_many_numbers_as_x():
    lines = []
    one = given(quadratic, decode=lambda z_K: jnp.zeros((2, D // 2)) + z_K[0])
    assert check_decode(one, points(), Z[0], lines) == (2, D // 2)
    assert lines == [Check("decode", "the image of one z", "float32[2,3]")]
    coloured = given(quadratic, decode=lambda z_K: jnp.zeros((1, D // 3, 3)) + z_K[0])
    assert check_decode(coloured, points(), Z[0], []) == (1, D // 3, 3)
    for wrong in (jnp.zeros(D), jnp.zeros((2, D)), jnp.zeros((1, D // 2, 2))):
        with pytest.raises(AuditError, match=r"a datapoint of x is float32\[6\]: .* \[height, width\]"):
            check_decode(given(quadratic, decode=lambda z_K, wrong=wrong: wrong), points(), Z[0], [])
    lines = []
    assert check_decode(given(quadratic), points(), Z[0], lines) is None
    assert isinstance(lines[0], NotChecked)


def test_a_probability_above_1_is_none_of_a_log_joint(monkeypatch):
    """The prior is a density."""
    monkeypatch.setattr(auditing, "_measured", lambda prepared, *_: prepared.functions["log_joint"])
    density, x_NxD = (lambda x_D, z_K: 5.0 - 0.01 * jnp.sum(z_K**2)), np.ones((N, D), np.float32)
    assert np.all(run(None, log_joint=density, x=x_NxD) > 0.0)
    with pytest.raises(vaelab.AuditError, match="a probability above 1"):
        run(density, x=x_NxD)
