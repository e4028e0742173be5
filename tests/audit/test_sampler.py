"""Samplers: of x given z, of x and z, and with covariates; what they say of the density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vaelab
from tests.audit.test_auditing import MODEL, QUICK, THETA, D, K, log_likelihood, of, points, run
from tests.audit.test_check import looked
from vaelab.audit import auditing

FROM_BOTH_SIDES = QUICK | {"evidence.annealing.num_temperatures": 40, "evidence.annealing.num_chains": 8}
CENTRES_CxK = np.array([[0.7, 0.0], [-0.7, 0.3]], np.float32)
SHARE, SPREAD = np.array([0.6, 0.4]), 0.8


def log_prior(z_K):
    """A mixture of two Gaussians that overlap."""
    each_C = jnp.sum(jax.scipy.stats.norm.logpdf(z_K[None], CENTRES_CxK, SPREAD), axis=1)
    return jax.scipy.special.logsumexp(each_C + np.log(SHARE))


def log_joint(x_D, z_K):
    return log_likelihood(x_D, z_K) + log_prior(z_K)


def sample(key):
    key_c, key_z, key_x = jax.random.split(key, 3)
    centre_K = jnp.asarray(CENTRES_CxK)[jax.random.bernoulli(key_c, SHARE[1]).astype(int)]
    z_K = centre_K + SPREAD * jax.random.normal(key_z, (K,))
    return MODEL.sample(THETA, key_x, z_K), z_K


def exact(x_NxD):
    """log p(x) = logsumexp_c [log w_c + log N(x; W m_c + b, s^2 W W' + Psi)], from moments of the model."""
    W = np.stack([np.asarray(MODEL.mean(THETA, e) - MODEL.mean(THETA, jnp.zeros(K))) for e in np.eye(K)], 1)
    b = np.asarray(MODEL.mean(THETA, jnp.zeros(K)), np.float64)
    covariance = SPREAD**2 * W @ W.T + 0.36 * np.eye(D)
    inverse, log_det = np.linalg.inv(covariance), np.linalg.slogdet(covariance)[1]
    each = []
    for weight, centre_K in zip(SHARE, CENTRES_CxK, strict=True):
        off_NxD = np.float64(x_NxD) - (b + W @ centre_K)[None]
        squares_N = np.einsum("nd,de,ne->n", off_NxD, inverse, off_NxD)
        each.append(np.log(weight) - 0.5 * (squares_N + log_det + D * np.log(2.0 * np.pi)))
    return np.logaddexp(*each)


@pytest.mark.slow
def test_a_mixture_prior_is_bounded_from_both_sides_on_datapoints_of_its_own():
    report = run(None, None, log_joint=log_joint, sample=sample, num_simulated=12, settings=FROM_BOTH_SIDES)
    given = report.per_datapoint
    exact_N = exact(points())
    np.testing.assert_allclose(given["given/log_evidence"], exact_N, atol=1e-3)
    both = of(report, "diagonal", "simulated")["two_sided"]
    lower_N, upper_N = given["simulated/two_sided_lower"], given["simulated/two_sided_upper"]
    assert np.mean(lower_N) <= np.mean(upper_N) + 0.05
    # Both sides are of the same p(x): quadrature's, which is exact for K = 2.
    errors_N = np.hypot(given["simulated/two_sided_lower_stderr"], given["simulated/two_sided_upper_stderr"])
    assert np.all(lower_N - given["simulated/log_evidence"] <= 5.0 * errors_N + 0.05)
    assert np.all(given["simulated/log_evidence"] - upper_N <= 5.0 * errors_N + 0.05)
    assert both["width"]["mean"] < 1.0


@pytest.fixture
def nothing_is_measured(monkeypatch):
    monkeypatch.setattr(auditing, "measure", None)


def weighed(x, z_K):
    """Counts whose mean is in proportion to the size that is given beside them."""
    rate_D = x["size"] * jnp.exp(jnp.tile(z_K, D // K))
    return jnp.sum(jax.scipy.stats.poisson.logpmf(x["counts"], rate_D))


def weighed_sample(key, z_K, x):
    rate_D = x["size"] * jnp.exp(jnp.tile(z_K, D // K))
    return x | {"counts": jax.random.poisson(key, rate_D, (D,)).astype(jnp.float32)}


def sized():
    rng = np.random.default_rng(0)
    size_N = rng.lognormal(1.0, 0.7, 24)
    return {"counts": np.float32(rng.poisson(size_N[:, None], (24, D))), "size": np.float32(size_N)}


@pytest.mark.usefixtures("nothing_is_measured")
def test_covariates_are_those_of_a_datapoint(monkeypatch):
    checked = looked(weighed, None, sized(), sample=weighed_sample)
    assert {name: said for name, _, said in checked.checks}["normalisation"].startswith("exp(")
    seen = []
    monkeypatch.setattr(auditing, "_measured", lambda prepared, *_: seen.append(prepared.points))
    run(weighed, None, sized(), sample=weighed_sample, num_simulated=30)
    drawn = seen[0]["simulated"].inputs.x_NxD
    np.testing.assert_array_equal(drawn["size"], sized()["size"][np.arange(30) % 24])
    assert np.any(drawn["counts"][:24] != sized()["counts"])


WRONG = {
    "x alone of a log_joint": (
        {"log_likelihood": None, "log_joint": log_joint, "sample": lambda key: points()[0]},
        r"with log_joint it is \(key\) -> \(x, z\)",
    ),
    "x given z of a log_joint": (
        {"log_likelihood": None, "log_joint": log_joint, "sample": lambda key, z_K: jnp.zeros(D)},
        r"with log_joint it is \(key\) -> \(x, z\)",
    ),
    "too many arguments": ({"sample": lambda key, z_K, x, y: x}, "sample takes 4 arguments; with log_like"),
    "none": ({"sample": lambda: 0.0}, "with log_likelihood it is"),
    "a prior with another constant": (
        {
            "log_likelihood": None,
            "log_joint": lambda x_D, z_K: log_joint(x_D, z_K) - 4.0,
            "sample": sample,
        },
        r"log_joint looks unnormalised: .* exp\(-\d.* add its constants$",
    ),
    "one x whatever the key": (
        {"sample": lambda key, z_K: jnp.ones(D)},
        r"the same x with 3,000 keys at one z, and exp\(log_likelihood\) is not 1 there but exp\(-?\d",
    ),
    "a tail that the sampler does not reach": (
        # From 8 standard deviations on, where jax.random.truncated_normal gives one number.
        {
            "log_likelihood": lambda x_D, z_K: (
                jnp.sum(jax.scipy.stats.norm.logpdf(x_D) - jax.scipy.special.log_ndtr(-8.0)) + 1e-6 * z_K[0]
            ),
            "sample": lambda key, z_K: jax.random.truncated_normal(key, 8.0, 12.0, (D,)),
            "encode": None,
        },
        r"one and the same x with 3,000 keys",
    ),
    "NaN at its own draws": (
        {
            "log_likelihood": lambda x_D, z_K: jnp.where(x_D[0] > points()[:, 0].max(), jnp.nan, 0.0),
            "sample": lambda key, z_K: 3.0 + 3.0 * jax.random.normal(key, (D,)),
            "encode": None,
        },
        r"log_likelihood is NaN at \d+ of 1,000 draws of sample",
    ),
    "x is a single datapoint": (
        {"x": np.ones((2, 3), np.float32), "sample": lambda key, z_K: jnp.ones((2, 3)), "encode": None,
         "log_likelihood": lambda x, z: jnp.sum(x) + 0.0 * z[0] - 10.0},
        r"give x\[None\]",
    ),
}  # fmt: skip


@pytest.mark.usefixtures("nothing_is_measured")
@pytest.mark.parametrize("case", WRONG)
def test_a_sampler_that_is_not_of_the_model_is_told(case):
    changes, line = WRONG[case]
    with pytest.raises(vaelab.AuditError, match=line) as raised:
        looked(**{"encode": None} | changes)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("nothing_is_measured")
def test_a_sampler_whose_signature_says_nothing_is_taken_for_the_plain_one():
    assert looked(sample=lambda *arguments: MODEL.sample(THETA, *arguments), encode=None).checks
    assert looked(
        sample=jax.jit(lambda key, z_K, scale=1.0: MODEL.sample(THETA, key, z_K)), encode=None
    ).checks


def test_whether_the_density_was_checked_is_printed(capsys, monkeypatch):
    monkeypatch.setattr(auditing, "measure", None)
    row = []
    monkeypatch.setattr(auditing, "_measured", lambda prepared, *_: row.append(prepared.remarks))
    run()
    run(sample=lambda key, z_K: MODEL.sample(THETA, key, z_K))
    assert row[0] == ["normalisation: not checked, no sample was given"]
    assert row[1][0].startswith("normalisation: exp(log_likelihood) has the integral exp(")
    vaelab.Report([], {}, remarks=row[0]).table()
    assert row[0][0] in capsys.readouterr().out
