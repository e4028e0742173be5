"""Studies: their claims hold at sizes that take seconds, and bad settings are refused."""

import jax
import numpy as np
import pytest

from experiments import full_covariance_kl, gradient_variance, reparameterization
from vaelab import study
from vaelab.config.study import build_study
from vaelab.types import ConfigError


def tables(finding):
    return list(finding.tables.values())


def test_draws_have_the_gaussian_distribution_and_only_they():
    finding = study.reparameterization(jax.random.key(1), latent_dim=3, num_draws=20_000, num_projections=5)
    moments, correlations, ranks = tables(finding)
    *gaussian, uniform = moments
    for row in moments:
        assert max(row["mean_error_stderrs"], row["covariance_error_stderrs"]) < 5
    assert min(row["normality_p_value"] for row in gaussian) > 1e-3
    assert uniform["normality_p_value"] < 1e-6
    for row in correlations:
        assert row["of S"] == pytest.approx(row["of S Q"], abs=1e-6)
    assert [row["KL to the prior"] for row in ranks] == sorted(row["KL to the prior"] for row in ranks)
    assert ranks[-1]["KL to the prior"] == np.inf
    assert ranks[-1]["spread of the draws there"] < 1e-6


def test_closed_form_kl_agrees_with_everything():
    finding = study.full_covariance_kl(
        jax.random.key(0), latent_dims=(2, 16), num_draws=5000, batch_size=4, repeats=1
    )
    errors, costs = tables(finding)
    for row in errors:
        # K eps cond, the backward error of a float32 factorisation.
        bound = row["K"] * np.finfo(np.float32).eps * row["condition number"]
        assert max(row["relative error"], row["distrax, relative"]) < max(1e-5, bound)
        assert row["gradient, relative"] < max(1e-5, bound)
        assert row["draws, stderrs"] < 5
    assert all(row[name] > 0 for row in costs for name in ("diagonal", "cholesky", "full"))


@pytest.mark.slow
def test_variances_have_the_published_order():
    finding = study.gradient_variance(
        jax.random.key(0), singular_values=(2.0, 1.0, 0.5), distances=(0.0, 0.01), num_samples=8, repeats=1000
    )
    (at, near), (_, error) = tables(finding)
    for row in (at, near):
        assert row["stick_the_landing"] < 0.1 * row["elbo"]
        assert row["dreg"] < row["stick_the_landing"]
        assert row["iwae"] > row["elbo"]
    # Float rounding of gradients of order 10, squared, and no more.
    assert max(at["stick_the_landing"], at["dreg"]) < 1e-9
    assert all(error[name] < 0.2 * near[name] for name in ("elbo", "stick_the_landing", "dreg"))


@pytest.mark.parametrize(
    "experiment",
    [
        reparameterization,
        *(pytest.param(one, marks=pytest.mark.slow) for one in (full_covariance_kl, gradient_variance)),
    ],
)
def test_every_study_draws_its_figure(experiment, tmp_path):
    build_study(experiment.get_config("smoke"))().plot(tmp_path / "study.png")
    assert (tmp_path / "study.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("name", "reparametrization", "did you mean 'reparameterization'"),
        ("latent_dim", 1, "2 or more"),
        ("num_draws", 99, "100 or more"),
    ],
)
def test_bad_settings_are_one_line(key, value, says):
    config = reparameterization.get_config()
    with config.unlocked():
        config.study[key] = value
    with pytest.raises(ConfigError, match=says):
        build_study(config)
