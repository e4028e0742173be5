"""Where the encoder puts q and where q* is: rings, dots, and a diagonal on which they agree."""

import numpy as np
import pytest

from tests.support.page import elements, of_class, texts
from vaelab.report.page.latent import HALF, SIDE, Latents, deviations, means, widest


def latents(mean_amortized, mean_optimal, sd_amortized=None, sd_optimal=None):
    ones = np.ones_like(mean_optimal)
    return Latents(
        np.float32(mean_amortized),
        np.float32(mean_optimal),
        ones if sd_amortized is None else np.float32(sd_amortized),
        ones if sd_optimal is None else np.float32(sd_optimal),
    )


def positions(elements, *names):
    return np.array([[float(element.get(name)) for name in names] for element in elements])


def test_the_widest_dimensions_are_those_in_which_the_optimal_means_are_spread_most():
    mean_NxK = np.array([[0.0, -1.0, 5.0, -9.0], [0.1, 1.0, 5.0, 9.0]])
    assert widest(latents(100.0 * mean_NxK[:, ::-1], mean_NxK)) == [3, 1]
    assert widest(latents(mean_NxK[:, :1], mean_NxK[:, :1])) == [0]


def test_a_move_goes_from_the_encoders_mean_to_the_optimal_one_by_one_scale():
    """In the plane of z3 and z1, which of these three are spread most."""
    start = [[0.0, 7.0, 0.0], [2.0, 7.0, 10.0], [np.nan, 7.0, 1.0]]
    end = [[1.0, 7.0, 0.0], [2.0, 7.0, 9.0], [1.0, 7.0, 5.0]]
    tree = elements(means("m", "test, full", latents(start, end)))
    moves = positions(of_class(tree, "move"), "x1", "y1", "x2", "y2")
    assert len(moves) == 2  # what is not finite is not drawn
    np.testing.assert_array_equal(positions(of_class(tree, "amortized"), "cx", "cy"), moves[:, :2])
    np.testing.assert_array_equal(positions(of_class(tree, "optimal"), "cx", "cy"), moves[:, 2:])
    (right, up), (leftwards, level) = moves[:, 2:] - moves[:, :2]
    assert (right, level) == (0.0, 0.0)
    assert up == pytest.approx(
        leftwards, abs=0.02
    )  # one unit of z1 more is upwards, one of z3 less leftwards
    assert up < -SIDE / 15
    assert "z3 across, z1 upwards" in texts(tree, "text")


def test_one_dimension_alone_is_drawn_against_itself():
    tree = elements(means("m", "test, full", latents([[0.0], [1.0]], [[0.0], [1.0]])))
    points = positions(of_class(tree, "first"), "x", "y") + HALF
    np.testing.assert_allclose(points.sum(axis=1), SIDE, atol=0.02)
    assert texts(tree, "title") == ["Mean of q by the encoder and of q*, test, full"]


def test_an_encoder_that_is_too_wide_is_above_the_diagonal():
    mean_NxK = np.array([[0.0, 0.0], [1.0, 4.0]])
    optimal = [[0.5, 1.0], [0.5, np.nan]]
    tree = elements(deviations("d", "test, full", latents(mean_NxK, mean_NxK, np.full((2, 2), 0.8), optimal)))
    second, first = (positions(of_class(tree, kind), "x", "y") + HALF for kind in ("second", "first"))
    # z2, which is spread most, is first: 0.8 is below the 1 of the datapoint that is finite, and above 0.5.
    assert len(first) == 1
    assert first[0].sum() > SIDE
    assert all(second.sum(axis=1) < SIDE)
    assert texts(tree, "desc")[0].startswith("2 datapoints in z2 and z1;")
