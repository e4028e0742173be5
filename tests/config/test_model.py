"""Models from a config, and data that are simulated from one."""

import numpy as np
import pytest

from experiments import linear_gaussian
from tests.support.configs import changed
from vaelab.config.experiment import build
from vaelab.types import ConfigError


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
