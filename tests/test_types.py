"""What the records say of themselves."""

import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vaelab.types import SharedPhi


def test_a_phi_in_two_parts_is_flattened_to_its_own_part_and_then_the_shared_one():
    phi_P, back = ravel_pytree(SharedPhi(jnp.array([1.0, 2.0]), jnp.array([3.0])))
    np.testing.assert_array_equal(phi_P, [1.0, 2.0, 3.0])
    assert isinstance(back(phi_P), SharedPhi)
