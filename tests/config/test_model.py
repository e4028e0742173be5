"""Models from a config, and data that are simulated from one."""

import jax
import numpy as np
import pytest

from experiments import linear_gaussian
from tests.support.configs import changed, refused
from vaelab import data
from vaelab.config import defaults
from vaelab.config import model as reading
from vaelab.config.experiment import build
from vaelab.config.section import Section
from vaelab.errors import ConfigError


def test_bad_values_of_the_linear_gaussian_model():
    config = linear_gaussian.get_config("smoke")
    with pytest.raises(ConfigError, match="must be 5 numbers"):
        build(changed(config, "model.singular_values", (1.0, 2.0)))
    with pytest.raises(ConfigError, match="must be a tuple of numbers"):
        build(changed(config, "model.singular_values", ("a", 1.0, 1.0, 1.0, 1.0)))
    config = linear_gaussian.get_config("smoke")
    with pytest.raises(ConfigError, match="simulated needs"):
        build(changed(config, "model.name", "decoder"))


def test_simulated_examples_do_not_depend_on_the_sizes_of_the_splits():
    few, more = linear_gaussian.get_config("smoke"), linear_gaussian.get_config("smoke")
    more.data.num_train = few.data.num_train + 7
    few, more = build(few), build(more)
    np.testing.assert_array_equal(few.train_split.pixels_NxD, more.train_split.pixels_NxD[:-7])
    assert not np.array_equal(few.validation.x_NxD[0], more.validation.x_NxD[0])


def decoder(observation="binarize", image_shape=(2, 2), max_value=1, values=None, **changes):
    config = defaults.model()
    config.hidden, config.latent_dim = (), 3
    for name, value in changes.items():
        changed(config, name.replace("__", "."), value)
    splits = {}
    if values is not None:
        x_NxD = np.float32(values)[:, None]
        splits["train"] = data.Split(x_NxD, np.zeros(len(x_NxD), np.int32), np.arange(len(x_NxD)))
    described = data.DataSet("made", image_shape, max_value, splits)
    return reading.decoder_model(
        Section(config, "config.model"), described, observation, lambda network: network
    )


def test_a_decoder_has_the_sizes_of_its_section_and_its_data():
    model = decoder()
    assert model.latent_dim == 3
    theta = model.init(jax.random.key(0))
    assert model.mean(theta, np.zeros(3, np.float32)).shape == (4,)
    assert model.concavity is not None  # without hidden layers it is affine, and bernoulli is concave
    assert decoder(hidden=(5,)).concavity is None


@pytest.mark.parametrize("convolution", ["products", "conv"])
def test_a_decoder_has_the_residual_blocks_and_convolutions_of_its_section(convolution):
    changes = {"network": "convolutional", "channels": (2, 3), "residual": 1, "convolution": convolution}
    theta = decoder(image_shape=(5, 3, 3), **changes).init(jax.random.key(0))
    assert {"residual_0_0_first", "residual_1_0_second"} < set(theta)
    assert ("ConvTranspose_0" in theta) == (convolution == "conv")
    model = decoder(image_shape=(5, 3, 3), **changes)
    assert model.mean(theta, np.zeros(3, np.float32)).shape == (45,)
    assert model.concavity is None  # no dense layers, and yet not affine


@pytest.mark.parametrize("name", ["discretized_logistic", "discretized_logistic_mixture"])
def test_the_likelihood_is_of_the_levels_of_the_data(name):
    """The probabilities of levels sum to 1 over them."""
    model = decoder("rescale", (1,), 3, likelihood__name=name)
    theta = model.init(jax.random.key(0))
    levels = np.arange(4, dtype=np.float32)[:, None] / 3
    log_p = [float(model.log_likelihood(theta, x_D, np.ones(3, np.float32))) for x_D in levels]
    assert np.exp(log_p).sum() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            {"observation": "dequantize"},
            "bernoulli needs --config.data.observation=binarize, and it is dequantize",
        ),
        (
            {"observation": "identity"},
            "is for levels, and data.observation=identity gives real numbers; there are",
        ),
        ({"name": "linear_gaussian"}, "must be decoder, or linear_gaussian with data.name=simulated"),
        (
            {"network": "convolutional", "hidden": (4,), "image_shape": (5,)},
            "x of 5 is no image (height, width) or (height, width, channels): take mlp",
        ),
        ({"residual": 1}, "residual=1: an mlp has no residual blocks: take 0, or network=convolutional"),
        ({"convolution": "fft"}, "convolution='fft': unknown; there are products, conv"),
        ({"alignment": "left"}, "alignment='left': unknown; there are corner, centre"),
        ({"likelihood__min_variance": 0.0}, "above 0"),
        ({"likelihood__num_components": 0}, "likelihood.num_components=0: must be an integer of 1 or more"),
        (
            {"observation": "dequantize", "likelihood__name": "discretized_logistic_mixture"},
            "discretized_logistic_mixture needs --config.data.observation=rescale, and it is dequantize",
        ),
    ],
)
def test_a_model_that_cannot_be_is_one_line(arguments, says):
    refused(lambda: decoder(**arguments), says)


OUTSIDE = {
    "negative": (
        "poisson",
        [0.0, -1.0],
        "is of counts from 0 to 16,777,216, and 1 values of train are none, the first -1; give raw counts",
    ),
    "not whole": ("negative_binomial", [1.0, 2.5], "the first 2.5; give raw counts"),
    "beyond float32": (
        "zero_inflated_negative_binomial",
        [3.0, 2.0**25],
        "first 33554432; give raw",
    ),
    "above 1": ("beta", [0.5, 1.5], "is of values from 0 to 1, and those of train are from 0.5 to 1.5"),
    "below 0": ("continuous_bernoulli", [-0.1, 0.5], "those of train are from -0.1 to 0.5"),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_data_that_a_likelihood_has_no_density_at_are_one_line(case):
    name, values, says = OUTSIDE[case]
    arguments = {"observation": "identity", "image_shape": (1,), "max_value": 0, "likelihood__name": name}
    refused(lambda: decoder(**arguments, values=values), says)
    decoder(**arguments, values=[0.0, 1.0])
