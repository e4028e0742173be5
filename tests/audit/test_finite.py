"""The density at z of hundreds of draws: what is no number is named, what is finite or 0 raises no alarm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vaelab
from tests.audit.test_auditing import D, K, log_likelihood, points
from tests.audit.test_check import looked
from vaelab.audit import auditing
from vaelab.audit.auditing import check

BINARY = np.float32(points() > 0.0)
W_DxK = 10.0 * np.float32(np.random.default_rng(0).normal(size=(D, K)))


@pytest.fixture(autouse=True)
def nothing_is_measured(monkeypatch):
    monkeypatch.setattr(auditing, "measure", None)


def written_out(x_D, z_K):
    p_D = jax.nn.sigmoid(W_DxK @ z_K)
    return jnp.sum(x_D * jnp.log(p_D) + (1.0 - x_D) * jnp.log(1.0 - p_D))


def in_logits(x_D, z_K):
    logits_D = W_DxK @ z_K
    return jnp.sum(x_D * logits_D - jax.nn.softplus(logits_D))


def halved_root(x_D, z_K):
    """Finite everywhere, with a gradient that is NaN where the root is not taken."""
    return log_likelihood(x_D, z_K) + jnp.where(z_K[0] > 1.5, 0.0, jnp.sqrt(1.5 - z_K[0]))


def positive(x_D, z_K):
    return jnp.where(jnp.all(z_K > 0.0), log_likelihood(x_D, z_K), -jnp.inf)


def huge(x_D, z_K):
    """Overflows at 30 standard deviations of the prior, where no fit comes by."""
    return log_likelihood(x_D, z_K) - 1e-6 * jnp.sum(jnp.exp(jnp.exp(0.15 * z_K**2)) - jnp.e)


NOT_FINITE = {
    "a sigmoid that rounds to 1": (
        {"log_likelihood": written_out, "encode": None, "x": BINARY},
        r"log_likelihood is (nan|-inf) at .*datapoint \d+ and z = .*log_sigmoid",
    ),
    "a gradient": (
        {"log_likelihood": halved_root, "encode": None},
        "the gradient of log_likelihood in z is not",
    ),
    "a density that is too large at the encoder's q": (
        {
            "log_likelihood": lambda x, z: jnp.where(z[0] > 5.1, jnp.inf, log_likelihood(x, z)),
            "encode": lambda x: (jnp.full(K, 5.0), jnp.full(K, 0.05)),
        },
        "log_likelihood is inf at .* draws of z from the encoder's q",
    ),
}


@pytest.mark.parametrize("case", NOT_FINITE)
def test_a_density_that_is_not_finite_where_fits_come_by_is_named(case):
    changes, line = NOT_FINITE[case]
    with pytest.raises(vaelab.AuditError, match=line) as raised:
        looked(**changes)
    assert "\n" not in str(raised.value)


FINITE = {
    "of logits": {"log_likelihood": in_logits, "encode": None, "x": BINARY},
    "a support that ends": {"log_likelihood": positive, "encode": lambda x: (jnp.ones(K), jnp.full(K, 0.1))},
    "it overflows far off": {"log_likelihood": huge},
}


@pytest.mark.parametrize("case", FINITE)
def test_a_density_that_is_finite_or_0_raises_no_alarm(case):
    assert looked(**FINITE[case]).checks


def test_the_way_out_is_the_same_under_params_and_in_a_log_joint():
    given = {"latent_dim": K, "key": jax.random.key(0), "params": W_DxK}

    def log_joint(_, x_D, z_K):
        return written_out(x_D, z_K) - 0.5 * z_K @ z_K

    with pytest.raises(vaelab.AuditError, match=r"log_joint is (nan|-inf) .*log_sigmoid"):
        check(None, None, BINARY, log_joint=log_joint, **given)
