"""What a search costs: counted against what is really evaluated, and by hand."""

import jax
import jax.numpy as jnp
import pytest

from vaelab.config import defaults
from vaelab.config.evaluate import search_settings
from vaelab.config.section import Section
from vaelab.evidence import smc
from vaelab.inference.modes import polish
from vaelab.measure import search_cost

pytestmark = pytest.mark.modes


def search_of(**changes):
    return search_settings(Section(defaults.modes(**changes)), Section(defaults.evidence()))


def test_a_polished_end_costs_what_is_evaluated():
    K, num_steps, calls = 3, 2, []

    def log_joint(z_K):
        jax.debug.callback(lambda z_K: calls.append(1), z_K)  # of each z under vmap
        return -0.5 * jnp.sum((z_K - 1.0) ** 2)

    jax.block_until_ready(polish(log_joint, jnp.zeros(K), jnp.ones(K), num_steps=num_steps))
    jax.effects_barrier()
    assert len(calls) == search_cost.polish_evaluations(num_steps, K)


def test_the_sampler_counts_for_the_pilot_alone_and_twice_where_it_was():
    settings = search_of(num_starts=4, num_steps=5, num_particles=8, growth=2)
    whole = search_cost.evaluations(settings, 3, num_searched=6, num_pilot=2, twice=True)
    first, second = (
        smc.evaluations(tempering, search_cost.TEMPERATURES)
        for tempering in (settings.tempering, settings.enlarged(3))
    )
    told_apart = settings.max_modes * search_cost.polish_evaluations(settings.polish_steps, 3)
    told_apart += settings.max_modes * (40 + 3 * settings.max_modes)
    assert whole == 6 * (4 * 5 + told_apart) + 2 * (first + second + 2 * 8 * 5 + told_apart)
    off = settings._replace(tempering=settings.tempering._replace(num_runs=0))
    assert search_cost.evaluations(off, 3, num_searched=6, num_pilot=2) == 6 * (4 * 5 + told_apart)


def test_a_look_is_its_ascents_and_the_values_between():
    assert search_cost.look_evaluations(search_of(look_starts=2, look_steps=18)) == 44
