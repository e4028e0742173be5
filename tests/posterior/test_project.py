"""One distribution in the coordinates of another family."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.posterior.test_families import make, member
from vaelab.posterior import FAMILIES
from vaelab.posterior.project import has_projection, project, same_distribution, searched_as


@pytest.mark.parametrize("name", FAMILIES)
def test_a_distribution_is_carried_over_and_back(name):
    family, full = make(name), make("full")
    if family.gaussian is None:
        np.testing.assert_array_equal(project(member(family), family, full), full.init())
        np.testing.assert_array_equal(project(full.init(), full, family), family.init())
        return
    phi_P = member(family)
    mu_K, scale_KxK = family.gaussian.location_scale(phi_P)
    same_mu_K, same_KxK = full.gaussian.location_scale(project(phi_P, family, full))
    np.testing.assert_allclose(same_mu_K, mu_K, rtol=1e-6)
    np.testing.assert_allclose(same_KxK @ same_KxK.T, scale_KxK @ scale_KxK.T, rtol=1e-4, atol=1e-5)
    assert project(phi_P, family, family) is phi_P
    if searched_as(family) is not family:
        moved_P = same_distribution(phi_P, family, searched_as(family))
        back_P = same_distribution(moved_P, searched_as(family), family)
        np.testing.assert_allclose(back_P, phi_P, rtol=1e-4, atol=1e-5)
    if not has_projection(family):
        np.testing.assert_array_equal(project(full.init(), full, family), family.init())
    else:
        np.testing.assert_allclose(project(full.init(), full, family), family.init(), atol=1e-6)
    assert jnp.all(jnp.isfinite(project(member(full), full, family)))
