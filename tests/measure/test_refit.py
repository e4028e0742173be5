"""Fits at other modes: which are worth one, and that a fit in the lesser of two modes ends in the other."""

import jax
import numpy as np
import pytest

from tests.measure.test_ended import by_hand
from tests.measure.test_few import FAMILY, MODEL, N, problem, settings, start
from vaelab import posterior
from vaelab.inference.loop import Inference
from vaelab.inference.modes import Modes
from vaelab.measure.few import score_rows
from vaelab.measure.fit import LocalFit
from vaelab.measure.refit import _targets, refit
from vaelab.objective.draws import Estimate

# Of N(z; 4, 1/4) N(z; 0, 1), normalised.
PLACE, SD = 3.2, 0.2**0.5


def modes_of(log_weight_NxM, log_bound_NxM=None):
    weight_NxM = np.float32(log_weight_NxM)
    bound_NxM = weight_NxM if log_bound_NxM is None else np.float32(log_bound_NxM)
    place = np.zeros((*weight_NxM.shape, 1), np.float32)
    return Modes(place, place + 0.5, weight_NxM, bound_NxM, None, None, None)


NONE = -np.inf
CASES = {
    "only the mode that it sits at": ([0.0, NONE, NONE], 0, True, [-1, -1]),
    "another that is heavier": ([0.0, 1.0, NONE], 0, True, [1, -1]),
    "the heavier first": ([0.0, 1.0, 2.0], 0, True, [2, 1]),
    "one a little lighter": ([0.0, -2.9, NONE], 0, True, [1, -1]),
    "one too light": ([0.0, -3.1, NONE], 0, True, [-1, -1]),
    "light beside the best": ([0.0, 1.5, -2.0], 0, True, [1, -1]),
    "a fit that failed is made again where it was": ([0.0, -2.0, NONE], 0, False, [0, 1]),
    "no mode at all": ([np.nan, NONE, NONE], 0, True, [-1, -1]),
}


@pytest.mark.parametrize("case", CASES)
def test_which_modes_are_worth_a_fit(case):
    weight_M, reached, sound, places = CASES[case]
    fit = by_hand() if sound else by_hand(phi=np.nan)
    modes = modes_of([weight_M])
    targets_NxJ = _targets(posterior.full(1), fit, modes, np.array([reached]), 2)
    assert targets_NxJ.tolist() == [places]


def test_the_diagonal_family_goes_by_its_own_bound_at_each_mode():
    modes = modes_of([[0.0, 9.0]], [[0.0, -9.0]])
    families = posterior.diagonal(2), posterior.full(2)
    wanted = [_targets(family, by_hand(), modes, np.array([0]), 1) for family in families]
    assert [places.tolist() for places in wanted] == [[[-1]], [[1]]]


def fit_at(phi_NxP):
    """A fit that has converged at these phi, with its bounds."""
    bound, _, _ = score_rows(MODEL, FAMILY, settings(), problem(phi_NxP), "score", (phi_NxP, phi_NxP), 128)
    nothing = Estimate(np.zeros(N, np.float32), np.full(N, 0.01, np.float32))
    inference = Inference(phi_NxP, nothing, np.ones(N, bool))
    return LocalFit(phi_NxP, bound, inference, bound, nothing, np.ones(N, int), np.zeros(N, bool))


def test_a_fit_in_the_lesser_mode_ends_in_the_other_and_what_was_lost_is_known():
    """Of weights 0.1 and 0.9: log 9 nats are lost. Of the last datapoint no other mode is known."""
    phi_NxP = np.tile(np.float32([[-PLACE, np.log(SD)]]), (N, 1))
    before = fit_at(phi_NxP)
    z_NxMx1 = np.tile(np.float32([[[-PLACE], [PLACE]]]), (N, 1, 1))
    weight_NxM = np.tile(np.float32([[np.log(0.1), np.log(0.9)]]), (N, 1))
    weight_NxM[-1, 1] = -np.inf
    modes = Modes(z_NxMx1, np.full((N, 2, 1), SD, np.float32), weight_NxM, weight_NxM, None, None, None)
    kept = jax.tree.map(np.array, before)
    after = refit(
        MODEL, FAMILY, settings(), problem(start(-3.0)), before, modes, np.zeros(N, int),
        num_refits=1, first_round=2, chunk_size=128,
    )  # fmt: skip
    jax.tree.map(np.testing.assert_array_equal, before, kept)
    assert after.again.tolist() == [True] * (N - 1) + [False]
    assert after.mode.tolist() == [1] * (N - 1) + [0]
    np.testing.assert_allclose(after.fit.inference.phi_P[:-1, 0], PLACE, atol=1e-3)
    assert np.all(np.abs(after.lost.value[:-1] - np.log(9.0)) < 5.0 * after.lost.stderr[:-1])
    assert (after.lost.value[-1], after.lost.stderr[-1]) == (0.0, 0.0)
    assert after.lost.stderr.max() < 0.05
    np.testing.assert_allclose(
        after.lost.value, after.fit.elbo_optimal.value - before.elbo_optimal.value, atol=1e-3
    )
    began = fit_at(start(-3.0)).elbo_optimal.value
    np.testing.assert_allclose(
        after.fit.gain.value[:-1], (after.fit.elbo_optimal.value - began)[:-1], atol=1e-3
    )
    np.testing.assert_array_equal(after.local.value, before.elbo_optimal.value)
    assert after.fit.rounds.tolist() == [3] * (N - 1) + [1]


def test_a_family_that_cannot_be_put_at_a_mode_keeps_its_fit_and_says_what_is_not_known():
    family = FAMILY._replace(gaussian=None)
    before = fit_at(start())
    modes = modes_of([[0.0, 1.0], [1.0, 0.0], [0.0, NONE], [NONE, NONE], [0.0, 2.0]])
    after = refit(
        MODEL, family, settings(), problem(start()), before, modes, np.array([0, 0, 0, 0, 1]),
        num_refits=1, first_round=2, chunk_size=128,
    )  # fmt: skip
    assert not after.again.any()
    np.testing.assert_array_equal(after.lost.value, [np.nan, 0.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(after.fit.inference.phi_P, before.inference.phi_P)
