"""Starts of a search, and what a look tells."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from vaelab.inference.climb import Climb
from vaelab.inference.starts import KINDS, TOPS, dip_between, grid, kind_of_start, starting_points

CENTER = jnp.array([[1.0, -2.0, 0.5], [0.0, 3.0, 0.0]])


def test_starts_hold_the_centers_what_is_given_reflections_and_draws_of_every_reach():
    given = jnp.full((4, 3), jnp.nan).at[1].set(jnp.array([7.0, 8.0, 9.0]))
    z_SxK = np.asarray(
        starting_points(jax.random.key(0), CENTER, jnp.ones(3), given, num_starts=64, wide=True)
    )
    assert z_SxK.shape == (64, 3)
    assert np.isfinite(z_SxK).all()
    np.testing.assert_array_equal(z_SxK[:2], CENTER)
    rows = {tuple(row) for row in z_SxK.tolist()}
    assert {(7.0, 8.0, 9.0), (-1.0, 2.0, -0.5), (-1.0, -2.0, 0.5), (1.0, 2.0, 0.5)} <= rows
    size_S = np.abs(z_SxK[20:]).max(axis=1)
    assert (size_S < 3.0).sum() > 5
    assert (size_S > 30.0).sum() > 3


def test_where_the_prior_is_known_no_start_is_far_out_of_it():
    z_SxK = starting_points(
        jax.random.key(0), 0.1 * CENTER, jnp.ones(3), jnp.zeros((0, 3)), num_starts=300, wide=False
    )
    assert np.abs(z_SxK).max() < 15.0


def test_a_grid_has_the_narrow_modes_of_one_dimension_among_its_tops():
    """Widths down to 0.01 at 5 to 12, and one at 100."""
    means, widths = jnp.array([0.0, 5.0, -8.0, 12.0, 100.0]), jnp.array([1.0, 0.01, 0.03, 0.1, 1.0])

    def log_joint(z_K):
        return jax.nn.logsumexp(norm.logpdf(z_K[0], means, widths))

    tops_J = np.ravel(grid(log_joint, 1, num_nodes=4096, wide=True))
    assert len(tops_J) == TOPS
    nearest = np.abs(tops_J[:, None] - np.asarray(means)).min(axis=0) / np.asarray(widths)
    assert (nearest < 3.0).all()


def test_a_look_sees_a_dip_and_nothing_along_a_slope_or_too_far_below():
    def log_joint(z_K):
        near, far = norm.logpdf(z_K[0]), norm.logpdf(z_K[0], 8.0, 0.5)
        return jax.nn.logsumexp(jnp.stack([near, far, norm.logpdf(z_K[0], -20.0, 0.5) - 50.0]))

    z_SxK = jnp.array([[8.0], [-3.0], [-20.0], [0.5]])
    ends = Climb(z_SxK, jax.vmap(log_joint)(z_SxK), jnp.ones((4, 1)))
    dips_S = dip_between(log_joint, ends, jnp.zeros(1), jnp.ones(1))
    assert dips_S.tolist() == [True, False, False, False]


def test_the_kind_of_a_start_is_told_by_its_number():
    """Of three given at most, two are finite at the first datapoint and none at the second."""
    given = jnp.full((3, 3), jnp.nan).at[:2].set(jnp.array([[7.0, 8.0, 9.0], [70.0, 80.0, 90.0]]))
    z_SxK = np.asarray(
        starting_points(jax.random.key(0), CENTER, jnp.ones(3), given, num_starts=30, wide=True)
    )
    sizes = {"num_fits": 2, "num_more": 3, "num_starts": 30, "num_tops": TOPS}
    number_NxM = np.tile(np.arange(60), (2, 1))
    first, second = (
        [KINDS[kind] for kind in row] for row in kind_of_start(number_NxM, np.array([2, 0]), 3, **sizes)
    )
    kind_of = dict(zip(map(tuple, z_SxK.tolist()), first[:30], strict=True))
    assert kind_of[1.0, -2.0, 0.5] == kind_of[0.0, 3.0, 0.0] == "fit"
    assert kind_of[7.0, 8.0, 9.0] == kind_of[70.0, 80.0, 90.0] == "pilot"
    assert kind_of[-1.0, 2.0, -0.5] == kind_of[1.0, 2.0, 0.5] == "reflection"
    assert [first.count(kind) for kind in KINDS] == [2, 2, 4, 22, TOPS, 14]
    assert [second.count(kind) for kind in KINDS] == [2, 0, 4, 24, TOPS, 14]
    few = kind_of_start(number_NxM, np.array([2, 0]), 3, **(sizes | {"num_starts": 1, "num_tops": 0}))
    assert [KINDS[kind] for kind in few[0, :3]] == ["fit", "fit", "sampler"]


def test_draws_of_a_prior_that_can_be_sampled_stand_in_for_those_of_the_standard_one():
    own_SxK = 50.0 + jax.random.normal(jax.random.key(1), (60, 3))
    z_SxK = starting_points(
        jax.random.key(0),
        0.1 * CENTER,
        jnp.ones(3),
        jnp.zeros((0, 3)),
        num_starts=60,
        wide=False,
        prior_SxK=own_SxK,
    )
    assert 10 < np.sum(np.all(np.abs(z_SxK - 50.0) < 6.0, axis=1)) < 22  # a third
