"""What a row says of its q: rate and distortion in closed form, bits of levels, what cannot be said."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from tests.support.oracles import FIVE, LinearGaussian, kl_to_prior
from vaelab import posterior
from vaelab.measure import diagnostics
from vaelab.measure.diagnostics import bits_per_dim, columns, diagnose, entry
from vaelab.measure.subject import DiagnosticsSettings, Inputs, Measured, Quantized
from vaelab.model.prior import standard_normal_log_prior
from vaelab.objective.draws import Estimate

K, N = 2, 60
SCALE = np.array([[0.6, 0.2], [0.1, 0.5]])
MODEL = LinearGaussian.random(np.random.default_rng(0), 4, (1.5, 0.7), 0.6)
X = MODEL.sample(np.random.default_rng(1), N)
FULL = posterior.full(K)


def subject(family, *, log_prior=standard_normal_log_prior, amortized=True):
    return SimpleNamespace(
        families={family.name: family},
        amortized={family.name: "encoder"} if amortized else {},
        settings=SimpleNamespace(diagnostics=DiagnosticsSettings(True, 1000, 4, 0, 2)),
        keys=SimpleNamespace(inference=jax.random.key(0)),
        model=SimpleNamespace(
            log_prior=log_prior, prior=None, latent_dim=K, log_prior_of_levels=None, given=None
        ),
    )


def fit():
    """The posterior's mean moved, with another scale; its bound in closed form."""
    means = np.stack([MODEL.posterior(x)[0] for x in X]) + 0.1
    phi = np.float32(np.concatenate([means, np.tile(SCALE.reshape(-1), (N, 1))], axis=1))
    elbo = np.array([MODEL.elbo(x, mean, SCALE) for x, mean in zip(X, means, strict=True)])
    bound = Estimate(elbo, np.zeros(N))
    inference = SimpleNamespace(phi_P=phi)
    return SimpleNamespace(phi_start=phi, elbo_start=bound, elbo_optimal=bound, inference=inference)


def points():
    return Measured(Inputs(X, np.arange(N)))


def diagnosed(**changes):
    return diagnose(subject(FULL, **changes), points(), "full", fit())


def test_rate_and_distortion_are_the_closed_forms_and_add_up_to_the_bound():
    one, fitted = diagnosed(), fit()
    row, arrays = entry(one), columns(one)
    rate_N = np.array([kl_to_prior(phi[:K], SCALE) for phi in np.float64(fitted.phi_start)])
    np.testing.assert_allclose(arrays["rate"], rate_N, rtol=1e-5)
    np.testing.assert_allclose(arrays["distortion"] + arrays["rate"], -fitted.elbo_start.value, rtol=1e-5)
    spread = np.sum((MODEL.weight @ SCALE) ** 2, axis=1) / MODEL.variance
    residual = X - MODEL.bias - np.float64(fitted.phi_start[:, :K]) @ MODEL.weight.T
    constant = np.log(2 * np.pi * MODEL.variance) + spread
    distortion_N = 0.5 * np.sum(constant + residual**2 / MODEL.variance, axis=1)
    np.testing.assert_allclose(arrays["distortion"], distortion_N, rtol=1e-4)
    assert row["rate"]["mean"] == pytest.approx(np.mean(rate_N), rel=1e-5)
    assert row["distortion"]["mean"] == pytest.approx(np.mean(distortion_N), rel=1e-4)
    parts = sum(part["mean"] for part in row["kl_by_dimension"]) + row["kl_within"]["mean"]
    assert parts == pytest.approx(row["rate"]["mean"])
    assert (row["of"], row["num_points"], row["rate_by"]) == ("encoder", N, "closed form")
    assert row["active_units"]["by_variance"]["count"] == K


def test_the_information_of_each_datapoint_is_behind_its_mean():
    one = diagnosed()
    lower = entry(one)["aggregate"]["mutual_information"]["lower"]
    assert np.mean(columns(one)["information"]) == pytest.approx(lower["mean"], rel=1e-5)


def test_without_a_known_prior_nothing_is_said_of_it():
    one = diagnosed(log_prior=lambda theta, z_K: 0.0)
    assert set(entry(one)) & {"rate", "distortion", "kl_by_dimension"} == set()
    assert set(columns(one)) == {"information"}
    assert "marginal_kl" not in entry(one)["aggregate"]
    assert entry(one)["active_units"]["by_kl"] is None


def test_without_an_encoder_it_is_of_the_optimum():
    assert entry(diagnosed(amortized=False))["of"] == "q*"


def test_a_flow_is_measured_by_draws_and_says_so():
    flow = posterior.iaf(K, num_layers=1, hidden=4)
    rng = np.random.default_rng(3)
    phi = np.tile(np.asarray(flow.init()), (N, 1))
    phi[:, :K], phi[:, K : 2 * K] = rng.normal(size=(N, K)), -0.5
    bound = Estimate(np.full(N, -5.0), np.zeros(N))
    one = diagnose(subject(flow), points(), "iaf", SimpleNamespace(phi_start=phi, elbo_start=bound))
    row = entry(one)
    assert row["rate_by"] == "4 draws a datapoint"
    assert "kl_by_dimension" not in row
    # init() is T = identity: q is Gaussian.
    exact = np.mean([kl_to_prior(mean, np.exp(-0.5) * np.eye(K)) for mean in np.float64(phi[:, :K])])
    noise = np.std(columns(one)["rate"] - one.encoded.kl_N.mean()) / np.sqrt(N)
    assert row["rate"]["mean"] == pytest.approx(exact, abs=FIVE * noise)
    phi = phi + np.float32(rng.normal(size=phi.shape))
    one = diagnose(subject(flow), points(), "iaf", SimpleNamespace(phi_start=phi, elbo_start=bound))
    assert "not the same" in entry(one)["aggregate"]["none"]


def test_bits_of_levels_have_the_constant_of_their_width():
    """A uniform density of x in [0, 1) and equal probabilities are both log2 L bits for each dimension."""
    assert bits_per_dim({"mean": 0.0, "stderr": 0.0}, Quantized(256, 12, True))["mean"] == pytest.approx(8.0)
    nats = {"mean": -12 * np.log(256.0), "stderr": 12 * np.log(2.0)}
    assert bits_per_dim(nats, Quantized(256, 12, False)) == pytest.approx({"mean": 8.0, "stderr": 1.0})
    row = {"elbo_amortized": None, "elbo_optimal": nats, "log_evidence": nats}
    bits = diagnostics.bits(row, Quantized(256, 12, False))
    assert set(bits) == {"levels", "dequantized", "elbo_optimal", "log_evidence"}


def test_a_dequantised_bound_is_above_the_bits_of_the_levels():
    """Jensen's inequality for a density that is piecewise linear in x, both sides by sums."""
    levels, rng = 16, np.random.default_rng(4)
    knots = rng.gamma(2.0, size=levels + 1)
    u = (np.arange(2000) + 0.5) / 2000
    density = knots[:-1, None] * (1 - u) + knots[1:, None] * u  # at (level + u) / levels
    density /= np.mean(density)
    probability = np.mean(density, axis=1) / levels
    exact = -np.sum(probability * np.log2(probability))
    nats = {"mean": np.sum(probability[:, None] * np.log(density)) / 2000, "stderr": 0.0}
    bound = bits_per_dim(nats, Quantized(levels, 1, True))["mean"]
    assert exact < bound < exact + 0.2


def test_under_a_condition_nothing_is_held_against_the_prior():
    """q(z) over all y is not what stands against p(z given one y)."""
    conditional = subject(FULL)
    conditional.model.given = SimpleNamespace(kind="label")
    assert entry(diagnose(conditional, points(), "full", fit()))["aggregate"] == {
        "none": "q(z) over all y does not stand against p(z) given one y"
    }
