"""A run of a model that is conditional on labels: its gaps by label, and what is loaded of it takes y."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

import vaelab
from tests.support.configs import smoke_with
from vaelab.errors import ConfigError

pytestmark = pytest.mark.slow  # a training and a fit of every datapoint

SETTINGS = {
    "model.condition.name": "label",
    "model.condition.prior": True,
    "model.latent_dim": 2,
    "model.hidden": (16,),
    "encoder.hidden": (16,),
    "train.num_steps": 400,
    "train.chunk_size": 200,
    "train.evaluate_every": 400,
    "train.checkpoint_every": 400,
    "train.optimizer.learning_rate": 1e-2,
    "inference.families": ("diagonal",),
    "inference.modes.num_starts": 0,
    "evaluate.splits": ("test",),
    "evaluate.max_points": 60,
    "evaluate.diagnostics.enabled": False,
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "conditional"
    vaelab.run(smoke_with(SETTINGS), path, Console(quiet=True))
    return path


@pytest.fixture(scope="module")
def loaded(directory):
    return vaelab.load(directory)


def test_a_chosen_y_is_seen_in_what_is_drawn_for_it(loaded):
    """The mean of the draws of each digit is nearest to the mean of its own training images."""
    from vaelab.data.digits import load

    train = load("").splits["train"]
    means_CxD = np.stack([np.mean(train.pixels_NxD[train.label_N == c], axis=0) / 16.0 for c in range(10)])
    for label in range(10):
        x_NxD = np.asarray(loaded.sample(jax.random.key(label), 200, y=label))
        assert x_NxD.shape == (200, 64)
        distance_C = np.sum((means_CxD - np.mean(x_NxD, axis=0)) ** 2, axis=1)
        assert np.argmin(distance_C) == label
    each = loaded.sample(jax.random.key(0), 10, y=np.arange(10))
    np.testing.assert_array_equal(each[3], loaded.sample(jax.random.key(0), 10, y=3)[3])
    assert loaded.sample(jax.random.key(0), 5).shape == (5, 64)


def test_what_is_loaded_takes_y_beside_x_and_z(loaded):
    model, theta = loaded.model, loaded.theta
    x_D, z_K = np.zeros(64, np.float32), np.float32([0.3, -0.2])
    row_R = jnp.concatenate([x_D, jnp.eye(10)[7]])
    exact = model.log_likelihood(theta, row_R, z_K)
    np.testing.assert_allclose(loaded.log_likelihood(x_D, z_K, y=7), exact, rtol=1e-6)
    np.testing.assert_allclose(
        loaded.log_joint(x_D, z_K, y=7), exact + model.log_prior(theta, z_K), rtol=1e-6
    )
    assert abs(loaded.log_likelihood(x_D, z_K, y=1) - exact) > 0.1
    mean_NxD = loaded.decode(np.tile(z_K, (2, 1)), y=[7, 1])
    np.testing.assert_allclose(mean_NxD[1], loaded.decode(z_K, y=1), rtol=1e-5)
    assert np.abs(mean_NxD[0] - mean_NxD[1]).max() > 0.1
    mu_NxK, _ = loaded.encode(np.tile(x_D, (3, 1)), y=4)
    np.testing.assert_allclose(mu_NxK[2], loaded.encode(x_D.reshape(8, 8), y=4)[0], rtol=1e-5, atol=1e-6)
    assert np.abs(mu_NxK[0] - loaded.encode(x_D, y=5)[0]).max() > 1e-3


@pytest.mark.parametrize(
    ("y", "says"),
    [
        (10, "y=10: a label is an integer from 0 to 9"),
        (-1, "y=-1: a label is an integer from 0 to 9"),
        (0.5, "a label is an integer from 0 to 9"),
        ([1, 2, 3], "y has the shape (3,): give one, or one for each datapoint"),
    ],
)
def test_labels_outside_of_the_range_of_y_are_one_line(loaded, y, says):
    for call in (
        lambda: loaded.sample(jax.random.key(0), 2, y=y),
        lambda: loaded.encode(np.zeros((2, 64)), y=y),
        lambda: loaded.decode(np.zeros((2, 2)), y=y),
    ):
        with pytest.raises(ConfigError) as caught:
            call()
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)


def test_y_is_asked_for_where_there_is_one(loaded):
    with pytest.raises(ConfigError, match="conditional on a label: give y=; a label is"):
        loaded.encode(np.zeros(64))
    with pytest.raises(ConfigError, match="conditional on a label: give y=; a label is"):
        loaded.decode(np.zeros(2))


def test_the_gaps_are_there_by_y_and_brightness_is_of_x_alone(directory):
    (row,) = json.loads((directory / "gap.json").read_text())["rows"]
    assert set(row["by_label"]) == {str(c) for c in range(10)}
    edges = [float(name.split(" to ")[0]) for name in row["by_brightness"]]
    assert min(edges) > 0.1  # of 64 pixels about a third is ink; one of ten in 74 would lower it
    assert not (directory / "samples.png").exists()
    assert row["amortization_gap"]["mean"] > 0.0
    assert row["given"] == "label"
