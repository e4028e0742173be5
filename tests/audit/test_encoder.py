"""What an encoder returns: the name of its family, and phi of every datapoint."""

import jax.numpy as jnp
import numpy as np
import pytest

from vaelab import posterior
from vaelab.audit.checked import Check, NotChecked
from vaelab.audit.encoder import check_encoder, encoded_phi
from vaelab.audit.given import AuditError, Choices, given_model

K, N = 2, 5
X = np.float32(np.arange(N * K).reshape(N, K))
SIGMA = jnp.array([0.5, 2.0])
S = jnp.array([[1.0, 0.0], [-3.0, 2.0]])


def given(encode):
    return given_model(lambda x, z: 0.0, None, encode, None, None, None, K, 0)


def checked(encode, families=("diagonal", "full"), family=None):
    """(the name of the family, the lines)."""
    lines = []
    choices = Choices(family, families, "auto", 0.02, {})
    return check_encoder(given(encode), X, N, choices, lines), lines


NAMED = {
    "mu and sigma": (lambda x: (x, SIGMA), {}, "diagonal"),
    "a list of both": (lambda x: [x, SIGMA], {}, "diagonal"),
    "mu and S": (lambda x: (x, S), {}, "full"),
    "mu and S where there is cholesky alone": (lambda x: (x, S), {"families": ("cholesky",)}, "cholesky"),
    "mu and S where there are both": (lambda x: (x, S), {"families": ("cholesky", "full")}, "full"),
    "phi": (lambda x: jnp.zeros(4), {"family": "diagonal"}, "diagonal"),
    "arrays": ((X, np.ones((N, K), np.float32)), {}, "diagonal"),
}


@pytest.mark.parametrize("case", NAMED)
def test_the_family_is_known_by_the_shapes(case):
    encode, choices, name = NAMED[case]
    assert checked(encode, **choices)[0] == name


def test_what_was_tried_is_a_line_and_no_encoder_is_said_to_be_none():
    assert checked(lambda x: (x, SIGMA))[1] == [Check("encode", "4 of 5 datapoints", "the same twice")]
    name, (line,) = checked(None)
    assert name is None
    assert isinstance(line, NotChecked)
    assert checked((X, np.ones((N, K))))[1] == []  # arrays are looked at as a whole


REFUSED = {
    "one array": (lambda x: x, {}, r"encode returned float32\[2\]; it must be \(mu, sigma\), .* or phi with"),
    "another dimension": (lambda x: (jnp.zeros(3), jnp.ones(3)), {}, "latent_dim is 2"),
    "whole numbers": (lambda x: (x, jnp.array([1, 2])), {}, "compute it in float32"),
    "a pair as phi": (lambda x: (x, SIGMA), {"family": "diagonal"}, "is for an encode that returns phi"),
    "not fitted": (lambda x: (x, SIGMA), {"families": ("full",)}, "'diagonal': have it in families"),
    "mistyped": (lambda x: jnp.zeros(4), {"family": "ful"}, "'ful': did you mean 'full'"),
    "rows": ((X[:3], X[:3]), {}, "encode has 3 rows and x has 5"),
    "a draw": (lambda x: (x + np.random.default_rng().normal(), SIGMA), {}, "two results for the same x"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_distribution_of_a_family_is_one_line(case):
    encode, choices, line = REFUSED[case]
    with pytest.raises(AuditError, match=line) as raised:
        checked(encode, **choices)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["diagonal", "full", "cholesky"])
def test_phi_has_the_moments_that_were_returned(name):
    family, lines = getattr(posterior, name)(K), []
    scale = S if name != "diagonal" else jnp.diag(SIGMA)
    encode = (lambda x: (2.0 * x, S)) if name != "diagonal" else (lambda x: (2.0 * x, SIGMA))
    phi_NxP = encoded_phi(given(encode), family, X, lines)
    assert phi_NxP.shape == (N, family.param_size)
    for x_D, phi_P in zip(X, phi_NxP, strict=True):
        mean_K, scale_KxK = family.gaussian.location_scale(phi_P)
        np.testing.assert_allclose(mean_K, 2.0 * x_D, rtol=1e-6)
        np.testing.assert_allclose(scale_KxK @ scale_KxK.T, scale @ scale.T, rtol=1e-5)
    said = "sigma > 0" if name == "diagonal" else "S invertible"
    assert lines == [Check("encode", "all 5 datapoints", f"finite, {said}; the family {name}")]


def test_arrays_and_phi_are_taken_row_by_row():
    family = posterior.diagonal(K)
    sigma_NxK = np.exp(X / 10.0)
    phi_NxP = encoded_phi(given((X, sigma_NxK)), family, X, [])
    np.testing.assert_allclose(phi_NxP, np.concatenate([X, X / 10.0], axis=1), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(encoded_phi(given(phi_NxP), family, X, []), phi_NxP)


UNUSABLE = {
    "sigma of 0": ((X, np.where(X == 3.0, 0.0, 1.0)), "sigma <= 0 at 1 of 5 datapoints, index 1 first"),
    "a mean": ((np.where(X == 4.0, np.inf, X), np.ones((N, K))), "a mu that is not finite at 1 of 5 .*x 2"),
    "a singular S": ((X, np.ones((N, K, K))), "a singular S at 5 of 5"),
    "phi": (np.full((N, 4), np.nan), "a phi that is not finite at 5 of 5"),
    "phi of another size": (np.zeros((N, 3)), "one vector of 4 numbers"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNUSABLE)
def test_what_has_no_density_is_named_with_the_datapoint(case):
    encoded, line = UNUSABLE[case]
    with pytest.raises(AuditError, match=line):
        encoded_phi(given(encoded), posterior.diagonal(K), X, [])
