"""What a NumPyro model observes outside of a support is refused, and what is inside raises no alarm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vaelab

numpyro = pytest.importorskip("numpyro")
dist = pytest.importorskip("numpyro.distributions")


@pytest.fixture(autouse=True)
def promoting():
    """NumPyro promotes ranks."""
    with jax.numpy_rank_promotion("allow"):
        yield


def observed(likelihood):
    """A model of a batch with a prior that is not N(0, I), so that it has no sampler."""

    def model(x):
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(0.5, 2.0))
            numpyro.sample("x", likelihood(z), obs=x)

    return model


BINARY = np.float32([0.0, 1.0, 1.0, 1.0, 0.0, 1.0])
CASES = {
    "binary": (lambda z: dist.Bernoulli(logits=z), BINARY, 0.5),
    "counts": (lambda z: dist.Poisson(jnp.exp(z)), np.float32([0, 1, 2, 1, 0, 4]), 2.5),
    "positive": (lambda z: dist.LogNormal(z, 1.0), np.float32([0.5, 1, 2, 1, 0.1, 4]), -0.5),
    "events": (
        lambda z: dist.Bernoulli(logits=z[:, None] * jnp.ones(2)).to_event(1),
        np.stack([BINARY, 1.0 - BINARY], axis=1),
        0.5,
    ),
}
CASES["NaN"] = lambda z: dist.LogNormal(z, 1.0, validate_args=False), CASES["positive"][1], -0.5
# Without validation, the density that its formula gives outside of the support.
LEFT = {
    "exponential": (lambda z: dist.Exponential(jnp.exp(z), validate_args=False), np.float32([0, 3, 2, 1])),
    "bernoulli": (lambda z: dist.Bernoulli(logits=z, validate_args=False), np.float32([0.5, 1, 0, 1])),
}
# Supports with parameters, which may depend on z: of the uniform x lies outside at most z.
FREE = {
    "uniform": (lambda z: dist.Uniform(0.0, jnp.exp(z)), np.float32([0.5, 3.0, 2.0, 1.0, 0.1, 9.0])),
    "binomial": (lambda z: dist.Binomial(5, logits=z), np.float32([0, 5, 2, 1, 0, 4])),
}


@pytest.mark.filterwarnings("ignore:Out-of-support values:UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_a_value_outside_of_the_support_is_named_and_one_inside_is_not(case):
    likelihood, x, outside = CASES[case]
    assert vaelab.from_numpyro(observed(likelihood), x=x)["latent_dim"] == 1
    wrong = x.copy()
    wrong[2] = outside
    line = "'x' has a value outside of the support of its distribution at datapoint 2, one of 1"
    with pytest.raises(vaelab.AuditError, match=line) as raised:
        vaelab.from_numpyro(observed(likelihood), x=wrong)
    assert "\n" not in str(raised.value)


@pytest.mark.filterwarnings("ignore:Out-of-support values:UserWarning")
@pytest.mark.parametrize("case", FREE | LEFT)
def test_a_support_that_depends_and_one_without_validation_are_left_to_the_density(case):
    likelihood, x = (FREE | LEFT)[case]
    assert vaelab.from_numpyro(observed(likelihood), x=x)["latent_dim"] == 1
