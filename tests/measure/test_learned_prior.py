"""What is said of q against a learned prior: the rate by quadrature, and what is left out by name."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import oracles
from vaelab import model as models
from vaelab import posterior
from vaelab.measure import diagnostics, learned_prior
from vaelab.measure.subject import DiagnosticsSettings, Inputs, Measured
from vaelab.objective.draws import Estimate

N, MEANS, SCALES = 300, np.array([-2.0, 1.5]), np.array([0.4, 0.9])
PARAMS = {
    "logit_M": np.log(np.float32([0.35, 0.65])),
    "mean_MxK": np.float32(MEANS)[:, None],
    "log_scale_MxK": np.log(np.float32(SCALES))[:, None],
}
MODEL = models.mixture_linear_gaussian(1, (1.0,), 1.0, 2, num_components=2)
PHI_NxP = np.float32(
    np.stack([np.random.default_rng(0).normal(0.0, 2.0, N), np.full(N, np.log(0.5))], axis=1)
)
DIAGONAL = posterior.diagonal(1)


def log_mixture(z):
    density = np.exp(-0.5 * ((z[..., None] - MEANS) / SCALES) ** 2) / (SCALES * np.sqrt(2.0 * np.pi))
    return np.log(density @ np.array([0.35, 0.65]))


def exact_rate():
    """KL(N(mu, sigma^2) || p) of each datapoint, by quadrature."""
    eps = np.linspace(-8.0, 8.0, 2001)
    weight = np.exp(-0.5 * eps**2) / np.sum(np.exp(-0.5 * eps**2))
    mu_N, log_sd_N = np.float64(PHI_NxP).T
    entropy_N = 0.5 * (1.0 + oracles.LOG_2PI) + log_sd_N
    return -entropy_N - log_mixture(mu_N[:, None] + np.exp(log_sd_N)[:, None] * eps) @ weight


def subject(family=DIAGONAL, model=MODEL, num_draws=4):
    return SimpleNamespace(
        families={family.name: family},
        amortized={family.name: "encoder"},
        settings=SimpleNamespace(diagnostics=DiagnosticsSettings(True, 200, num_draws, 0, 2), memory=64),
        keys=SimpleNamespace(inference=jax.random.key(0)),
        model=model,
        theta={"likelihood": None, "prior": PARAMS},
    )


def diagnosed(**changes):
    bound = Estimate(np.full(N, -5.0), np.zeros(N))
    fit = SimpleNamespace(phi_start=PHI_NxP, elbo_start=bound)
    points = Measured(Inputs(np.zeros((N, 2), np.float32), np.arange(N)))
    return diagnostics.diagnose(subject(**changes), points, "diagonal", fit)


def test_a_prior_is_learned_unless_it_is_standard_or_not_known():
    linear = models.linear_gaussian(1, (1.0,), 1.0, 2)
    unknown = linear._replace(log_prior=lambda theta, z_K: 0.0, prior=None)
    assert [learned_prior.is_learned(model) for model in (MODEL, linear, unknown)] == [True, False, False]


def test_its_density_is_that_at_each_z():
    z_NxSxK = np.float32(np.random.default_rng(1).normal(size=(5, 3, 1)))
    got = learned_prior.log_prior_at(subject(), z_NxSxK)
    np.testing.assert_allclose(got, log_mixture(np.float64(z_NxSxK)[..., 0]), rtol=1e-5, atol=1e-6)


def test_the_rate_is_the_kl_to_the_learned_prior_of_every_datapoint():
    """Of those beyond the first 200, which alone are looked at in detail, too; without bias."""
    one = diagnosed(num_draws=16)
    error_N = diagnostics.columns(one)["rate"] - exact_rate()
    oracles.assert_mean(error_N, 0.0, rounding=1e-5)
    assert np.std(error_N) < 0.3
    row = diagnostics.entry(one)
    assert row["num_points"] == N
    stderr = np.std(error_N) / np.sqrt(N)
    assert row["rate"]["mean"] == pytest.approx(np.mean(exact_rate()), abs=5.0 * stderr)
    assert row["rate_by"] == "closed-form entropy, log p(z) at 32 draws a datapoint"
    assert row["distortion"]["mean"] == pytest.approx(5.0 - row["rate"]["mean"], rel=1e-5)


def test_what_needs_the_marginals_of_the_prior_is_left_out_by_name():
    row, arrays = diagnostics.entry(diagnosed()), diagnostics.columns(diagnosed())
    assert row["left_out"] == dict.fromkeys(
        ("kl_by_dimension", "kl_within", "active_units.by_kl", "aggregate.dimension_wise_kl"),
        "the marginals of the prior mixture have no closed form",
    )
    assert "kl_by_dimension" not in row
    assert "kl_by_dimension" not in arrays
    assert row["active_units"]["by_kl"] is None
    assert row["active_units"]["by_variance"]["count"] == 1
    assert {"marginal_kl", "mutual_information", "total_correlation"} <= set(row["aggregate"])
    assert "dimension_wise_kl" not in row["aggregate"]


def test_surgery_is_against_the_learned_prior():
    """q(z) is near N(0, 2^2 + 0.5^2), so that KL(q(z) || p) is known; its parts add up to the rate."""
    aggregate = diagnostics.entry(diagnosed(num_draws=16))["aggregate"]
    z = np.linspace(-14.0, 14.0, 4001)
    log_q = -0.5 * z**2 / 4.25 - 0.5 * np.log(2.0 * np.pi * 4.25)
    truth = np.sum(np.exp(log_q) * (log_q - log_mixture(z))) * (z[1] - z[0])
    lower, upper = (aggregate["marginal_kl"][side] for side in ("lower", "upper"))
    # The means are 200 draws of that N(0, 4): the aggregate is not quite it.
    assert lower["mean"] - 5.0 * lower["stderr"] < truth < upper["mean"] + 5.0 * upper["stderr"]
    assert truth > 0.3
    total = upper["mean"] + aggregate["mutual_information"]["lower"]["mean"]
    assert total == pytest.approx(np.mean(exact_rate()[:200]), abs=0.1)


def test_a_flow_is_measured_at_its_own_draws():
    flow = posterior.FAMILIES["real_nvp"].make(2, num_layers=1, hidden=3)
    model = models.mixture_linear_gaussian(2, (1.0, 0.5), 1.0, 2, num_components=1)
    params = {
        "logit_M": jnp.zeros(1),
        "mean_MxK": jnp.ones((1, 2)),
        "log_scale_MxK": jnp.zeros((1, 2)),
    }
    phi_NxP = np.tile(np.asarray(flow.init()), (N, 1))
    given = subject(flow, model, num_draws=8)
    given.theta["prior"] = params
    bound = Estimate(np.full(N, -5.0), np.zeros(N))
    fit = SimpleNamespace(phi_start=phi_NxP, elbo_start=bound)
    points = Measured(Inputs(np.zeros((N, 2), np.float32), np.arange(N)))
    one = diagnostics.diagnose(given, points, "real_nvp", fit)
    # KL(N(0, I) || N(1, I)) = K / 2, of the first 200.
    rate_N = diagnostics.columns(one)["rate"]
    oracles.assert_mean(rate_N[:200], 1.0)
    assert np.isnan(rate_N[200:]).all()
    assert one.rate_by == "8 draws a datapoint"
