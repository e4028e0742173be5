"""A run whose prior is made of its encoder: what it leaves needs no encoder, and says which prior it is."""

import json

import jax
import numpy as np
import pytest
from rich.console import Console

import vaelab
from tests.support.configs import smoke_with

QUIET = Console(quiet=True)
M = 6
SETTINGS = {
    "model.prior.name": "vamp",
    "model.prior.num_components": M,
    "model.latent_dim": 3,
    "model.hidden": (16,),
    "encoder.hidden": (16,),
    "inference.families": ("diagonal",),
    "evaluate.splits": ("test",),
    "evaluate.max_points": 8,
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "vamp"
    vaelab.run(smoke_with(SETTINGS), path, QUIET)
    return path


def test_a_loaded_vamp_prior_is_of_the_encoder_at_the_end_of_training(directory):
    loaded = vaelab.load(directory)
    prior = loaded.theta["prior"]
    mean_MxK, sd_MxK = map(np.asarray, loaded.encode(prior["pseudo_inputs_MxD"]))
    np.testing.assert_allclose(
        prior["phi_MxP"], np.concatenate([mean_MxK, np.log(sd_MxK)], axis=1), atol=1e-5
    )
    x_D, z_K = np.zeros(64, np.float32), np.float32([0.3, -0.2, 0.5])
    terms_M = -0.5 * ((z_K - mean_MxK) / sd_MxK) ** 2 - np.log(sd_MxK) - 0.5 * np.log(2.0 * np.pi)
    log_prior = np.logaddexp.reduce(np.float64(terms_M).sum(axis=1)) - np.log(M)
    exact = loaded.log_likelihood(x_D, z_K) + log_prior
    np.testing.assert_allclose(loaded.log_joint(x_D, z_K), exact, rtol=1e-5)


def test_a_loaded_model_is_sampled_through_its_prior(directory):
    loaded = vaelab.load(directory)
    far = loaded.theta["prior"] | {"phi_MxP": loaded.theta["prior"]["phi_MxP"].at[:, :3].set(40.0)}
    moved = vaelab.load(directory)
    object.__setattr__(moved, "theta", loaded.theta | {"prior": far})
    one, other = (np.mean(run.sample(jax.random.key(0), 50), axis=0) for run in (loaded, moved))
    assert one.shape == (64,)
    assert np.abs(one - other).max() > 0.3


def test_rows_and_page_name_the_prior_and_what_is_left_out(directory):
    rows = json.loads((directory / "gap.json").read_text())["rows"]
    assert {row["prior"] for row in rows} == {"vamp"}
    assert all("kl_by_dimension" in row["diagnostics"]["left_out"] for row in rows)
    assert all(np.isfinite(row["diagnostics"]["rate"]["mean"]) for row in rows)
    assert "p(z) is learned: the prior is vamp." in (directory / "report.html").read_text()


def test_the_same_command_again_does_nothing_twice(directory):
    before = (directory / "gap.json").stat().st_mtime_ns
    vaelab.run(smoke_with(SETTINGS), directory, QUIET)
    assert (directory / "gap.json").stat().st_mtime_ns == before
