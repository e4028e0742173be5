"""The sampler of a second search is the first's, of more particles where these are of use."""

import pytest

from vaelab.config import defaults
from vaelab.config.evaluate import search_settings
from vaelab.config.section import Section
from vaelab.measure.subject import MOST_DIM


@pytest.mark.parametrize(("latent_dim", "particles"), [(1, 40), (MOST_DIM, 40), (MOST_DIM + 1, 8)])
def test_a_second_search_has_the_runs_and_moves_of_the_first(latent_dim, particles):
    config = defaults.modes(num_particles=8, growth=5, num_runs=3)
    settings = search_settings(Section(config), Section(defaults.evidence()))
    larger = settings.enlarged(latent_dim)
    assert larger == settings.tempering._replace(num_particles=particles)
    assert larger.num_runs == 3
