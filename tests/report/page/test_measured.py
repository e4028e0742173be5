"""What a page shows beside the figures: latent Gaussians, pictures of the worst datapoints, versions."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from vaelab import posterior
from vaelab.report.page.measured import NUM_POINTS, latents, pictures, versions
from vaelab.types import LatentModel


def test_latents_are_the_moments_of_the_distribution():
    family = posterior.full(3)
    phi_NxP = np.asarray(jax.random.normal(jax.random.key(0), (4, family.param_size)))
    fitted = SimpleNamespace(phi_start=phi_NxP, inference=SimpleNamespace(phi_P=2 * phi_NxP))
    subject = SimpleNamespace(families={"full": family}, amortized={"full": "encoder"})
    found = latents(subject, "test", SimpleNamespace(fits={"full": fitted}))["test/full"]
    covariance = jax.vmap(lambda phi_P: family.dist(phi_P).covariance())
    for sd_NxK, phi in ((found.sd_amortized, phi_NxP), (found.sd_optimal, 2 * phi_NxP)):
        wanted = np.sqrt(np.diagonal(covariance(phi), axis1=1, axis2=2))
        np.testing.assert_allclose(sd_NxK, wanted, rtol=1e-5)  # float32
    np.testing.assert_array_equal(found.mean_optimal, 2 * phi_NxP[:, :3])


def test_latents_are_those_of_the_first_datapoints_and_of_families_with_an_encoder():
    family = posterior.diagonal(1)
    phi_NxP = np.float32(np.arange(2 * (NUM_POINTS + 5)).reshape(-1, 2)) / 100.0
    fitted = SimpleNamespace(phi_start=phi_NxP, inference=SimpleNamespace(phi_P=phi_NxP))
    families = {"diagonal": family, "full": posterior.full(1), "flow": SimpleNamespace(gaussian=None)}
    subject = SimpleNamespace(families=families, amortized={"diagonal": "encoder", "flow": "encoder"})
    shown = latents(subject, "train", SimpleNamespace(fits=dict.fromkeys(families, fitted)))
    assert list(shown) == ["train/diagonal"]
    np.testing.assert_allclose(shown["train/diagonal"].mean_optimal, phi_NxP[:NUM_POINTS, :1])
    np.testing.assert_allclose(
        shown["train/diagonal"].sd_amortized, np.exp(phi_NxP[:NUM_POINTS, 1:]), rtol=1e-6
    )


def test_pictures_are_the_worst_datapoints_and_the_centres_of_their_q():
    """The decoder multiplies z by theta: a centre mu is seen as theta mu."""
    family, theta = posterior.diagonal(2), jnp.float32(3.0)
    start_NxP, optimal_NxP = np.zeros((2, 3, 4), np.float32)
    start_NxP[:, 0], optimal_NxP[:, 1] = [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]
    subject = SimpleNamespace(
        model=LatentModel(2, *[None] * 3, mean=lambda theta, z_K: theta * z_K, sample=None),
        families={"diagonal": family},
        amortized={"diagonal": "encoder"},
        theta=theta,
    )
    x_NxD = np.arange(6.0).reshape(3, 2)
    outcome = SimpleNamespace(
        points=SimpleNamespace(inputs=SimpleNamespace(x_NxD=x_NxD)),
        fits={"diagonal": SimpleNamespace(phi_start=start_NxP, inference=SimpleNamespace(phi_P=optimal_NxP))},
    )
    arrays = {
        "test/index": np.array([50, 60, 70]),
        "test/log_evidence": np.array([-1.0, -1.0, -1.0]),
        "test/diagonal/elbo_optimal": np.array([-2.0, -2.0, -2.0]),
        "test/diagonal/elbo_amortized": np.array([-3.0, -9.0, -5.0]),
    }
    rows = [{"split": split, "family": "diagonal"} for split in ("train", "test")]
    shown = pictures(subject, "test", outcome, rows, arrays, (1, 2))
    assert list(shown) == ["test/diagonal"]
    assert list(shown["test/diagonal"]) == [60, 70, 50]  # what loses the most first
    strip = shown["test/diagonal"][60]
    assert list(strip) == ["data", "by the encoder", "by q*"]
    np.testing.assert_array_equal(strip["data"], [[2.0, 3.0]])
    np.testing.assert_allclose(strip["by the encoder"], [[6.0, 0.0]])
    np.testing.assert_allclose(strip["by q*"], [[0.0, 15.0]])


def test_versions_say_how_many_devices_of_which_kind_there_are():
    kind = jax.devices()[0].device_kind
    assert versions()["device"] == f"{jax.device_count()} {kind}"
    assert versions()["jax"] == jax.__version__
