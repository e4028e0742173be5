"""Corrupted datapoints: as many dimensions as asked for, each with a value that the data have there."""

import jax
import numpy as np

from tests.support import oracles
from vaelab.measure.datapoints import corrupted
from vaelab.measure.subject import Inputs

N, D = 200, 30
# The value says which datapoint and which dimension it is of.
INPUTS = Inputs(np.arange(N * D, dtype=np.float32).reshape(N, D), np.arange(1000, 1000 + N, dtype=np.int32))


def test_each_value_is_one_of_its_own_dimension_and_so_many_are_changed():
    found = corrupted(jax.random.key(0), INPUTS, 0.3)
    np.testing.assert_array_equal(found.x_NxD % D, INPUTS.x_NxD % D)
    changed_NxD = found.x_NxD != INPUTS.x_NxD
    # A draw of the datapoint itself, one in N, changes nothing.
    oracles.assert_mean(changed_NxD.mean(axis=1), 0.3 * (1.0 - 1.0 / N))
    np.testing.assert_array_equal(found.index_N, INPUTS.index_N)


def test_nothing_and_everything():
    np.testing.assert_array_equal(corrupted(jax.random.key(0), INPUTS, 0.0).x_NxD, INPUTS.x_NxD)
    assert (corrupted(jax.random.key(0), INPUTS, 1.0).x_NxD != INPUTS.x_NxD).mean() > 0.95
