"""Which z a second search begins at, and that it shows the modes that a first one has missed."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab import model as models
from vaelab.config import defaults
from vaelab.config.evaluate import search_settings
from vaelab.config.section import Section
from vaelab.evidence.weights import Evidence
from vaelab.inference.modes import Modes
from vaelab.measure import search
from vaelab.measure.search import Fitted, farthest_from, search_pilot
from vaelab.measure.subject import Inputs

K = 4
MEAN_MxK = 6.0 * np.eye(3, K, dtype=np.float32)


def test_the_farthest_are_told_by_the_axes_of_the_nearest_mode():
    """Of two modes of sd 1 and 10, and one that is not there at all."""
    z_SxK = np.array([[[0.0, 0.5], [3.0, 0.0], [100.0, 20.0], [50.0, 0.0], [1000.0, 0.0]]], np.float32)
    place_MxK = np.array([[[0.0, 0.0], [100.0, 0.0], [1000.0, 0.0]]], np.float32)
    axis_MxK = np.array([[[1.0, 1.0], [10.0, 10.0], [1.0, 1.0]]], np.float32)
    weight_M = np.array([[0.0, -1.0, -np.inf]], np.float32)
    modes = Modes(place_MxK, axis_MxK, weight_M, weight_M, None, None, None)
    # 0.25, 9, 4, 25 and 8100 by the nearest of the first two.
    np.testing.assert_array_equal(farthest_from(modes, z_SxK, 2), z_SxK[:, [4, 3]])


@pytest.mark.modes
@pytest.mark.parametrize("growth", [1, 8])
def test_a_pilot_with_several_modes_is_searched_once_more(monkeypatch, growth):
    """Particles at two of three modes, and at the third among the many of the second sampler alone."""

    def log_joint(z_K):
        square_M = jnp.sum((z_K[None, :] - MEAN_MxK) ** 2, axis=1) / 0.3**2
        return jax.nn.logsumexp(-0.5 * square_M)

    def from_prior(subject, inputs, ends, key, tempering, *, wider=1.0):
        scales.append(wider)
        sizes.append(tempering.num_particles)
        runs.append(tempering.num_runs)
        keys.append(tuple(jax.random.key_data(key).tolist()))
        # A run after the other; one particle of the second sampler's last run alone is at the third mode.
        at = np.arange(tempering.num_runs * tempering.num_particles) % 2
        at[-1] = 2
        side = Evidence(*np.full((5, 1), len(sizes), np.float32))
        return side, MEAN_MxK[at][None] + np.float32(0.1)

    sizes, runs, keys, scales = [], [], [], []
    monkeypatch.setattr(search, "from_prior", from_prior)
    monkeypatch.setattr(search, "bind", lambda model, theta, x_D: log_joint)
    config = defaults.modes(num_starts=1, num_particles=8, growth=growth)
    settings = search_settings(Section(config), Section(defaults.evidence()))
    subject = SimpleNamespace(
        theta=(),
        model=models.linear_gaussian(K, (1.0,) * K, 1.0, 1),
        settings=SimpleNamespace(search=settings, memory=1, families={"diagonal": None}),
    )
    inputs = Inputs(np.zeros((1, 1), np.float32), np.zeros(1, np.int32))
    at = Fitted(MEAN_MxK[None, :1], np.full((1, K), 0.3, np.float32))
    searched = search_pilot(subject, inputs, at, jax.random.key(0))
    assert sizes == [8, 64][: 1 + (growth > 1)]
    assert scales == [1.0, 2.0][: 1 + (growth > 1)]
    # An error is that of the runs: a second sampler of fewer would be sure of chance.
    assert set(runs) == {config.num_runs}
    assert len(set(keys)) == len(keys)
    assert searched.num_modes.tolist() == [2 + (growth > 1)]
    assert searched.prior_side.log_evidence.tolist() == [len(sizes)]


def test_in_many_dimensions_more_particles_are_of_no_use():
    config = defaults.modes(num_particles=8, growth=4)
    settings = search_settings(Section(config), Section(defaults.evidence()))
    several = np.array([1, 2])
    assert settings.enlarged(20).num_particles == 32
    assert settings.enlarged(21) == settings.tempering
    assert [search.is_searched_twice(settings, K, several) for K in (20, 21)] == [True, False]
    assert not search.is_searched_twice(settings, 20, np.ones(2))
    assert not search.is_searched_twice(settings._replace(growth=1), 20, several)


def test_narrowest_is_the_width_that_one_particle_is_expected_to_meet():
    config = defaults.modes(num_runs=2, num_particles=4, growth=8)
    settings = search_settings(Section(config), Section(defaults.evidence()))
    assert search.narrowest(settings, 6, twice=True) == pytest.approx(0.5)  # 64 * 0.5^6 = 1
    assert search.narrowest(settings, 4, twice=False) == pytest.approx(0.5**0.5)  # 4 * 2^-2 = 1
    # In many dimensions the second sampler's runs are no larger, but all count; in a plane there is a grid.
    assert search.narrowest(settings, 30, twice=True) == pytest.approx(0.5**0.1)  # 8 * 2^-3 = 1
    assert search.narrowest(settings, 2, twice=True) is None
    nothing = settings._replace(tempering=settings.tempering._replace(num_runs=0))
    assert search.narrowest(nothing, 5, twice=True) is None
