"""Pictures of what a model makes of z, with a decoder whose images are known: theta times z."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab import posterior
from vaelab.measure import pictures as made
from vaelab.model.prior import standard_normal_log_prior
from vaelab.types import LatentModel

K = 3  # an image of one pixel of three colours, or of three grey ones
MODEL = LatentModel(
    K, None, standard_normal_log_prior, None, mean=lambda theta, z_K: theta * z_K, sample=None
)
THETA, KEY = jnp.float32(0.5), jax.random.key(0)


def given(num_points, *, encoder=True):
    """A subject and its outcome; the centre of q is z_n = (n, 0, 0) by the encoder, (0, n, 0) for q*."""
    family, phi = posterior.diagonal(K), np.zeros((2, num_points, 2 * K), np.float32)
    phi[0, :, 0] = phi[1, :, 1] = np.arange(num_points)
    draws = np.random.default_rng(0).normal(size=(num_points, 2, K)) * [1.0, 2.0, 0.1] + [0.0, 5.0, 0.0]
    subject = SimpleNamespace(
        model=MODEL,
        theta=THETA,
        families={"diagonal": family},
        amortized={"diagonal": "encoder"} if encoder else {},
    )
    fit = SimpleNamespace(phi_start=phi[0], inference=SimpleNamespace(phi_P=phi[1]))
    x_NxD = np.random.default_rng(1).random((num_points, K))
    encoded = SimpleNamespace(draws=SimpleNamespace(z_NxSxK=draws))
    outcome = SimpleNamespace(
        points=SimpleNamespace(inputs=(x_NxD, np.arange(100, 100 + num_points))),
        fits={"diagonal": fit},
        diagnostics={"diagonal": SimpleNamespace(encoded=encoded)},
    )
    return subject, outcome


DIAGNOSTICS = {
    "variance_of_means": [{"mean": 0.2}, {"mean": 0.7}, {"mean": 0.001}],
    "active_units": {"by_variance": {"units": [0, 1]}},
}


def pictures(num_points=20, shape=(1, 1, 3), diagnostics=DIAGNOSTICS, **changes):
    subject, outcome = given(num_points, **changes)
    return made.pictures(subject, "test", outcome, KEY, shape, diagnostics), outcome


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3), (3, 1, 1)])
def test_reconstructions_are_of_the_first_datapoints_and_the_centres_of_their_q(shape):
    drawn, outcome = pictures(shape=shape)
    assert list(drawn.reconstructions) == ["test data", "by the encoder", "by q*"]
    count = made.NUM_IMAGES
    drawn_shape = {3: (1, 1, 3), 2: (1, 3)}.get(len(shape)) if shape[-1] == 3 else (3, 1)
    assert {images.shape for images in drawn.reconstructions.values()} == {(count, *drawn_shape)}
    flat = {title: images.reshape(count, K) for title, images in drawn.reconstructions.items()}
    np.testing.assert_array_equal(flat["test data"], outcome.points.inputs[0][:count])
    numbers = np.arange(count)[:, None]
    np.testing.assert_allclose(flat["by the encoder"], 0.5 * numbers * [1, 0, 0])
    np.testing.assert_allclose(flat["by q*"], 0.5 * numbers * [0, 1, 0])
    np.testing.assert_array_equal(drawn.index_N, np.arange(100, 100 + count))
    assert drawn.of == "encoder"


def test_samples_are_decodings_of_draws_from_the_prior():
    drawn, _ = pictures()
    z_NxK = np.asarray(jax.random.normal(KEY, (made.NUM_IMAGES, K)))
    np.testing.assert_allclose(drawn.samples.reshape(-1, K), 0.5 * z_NxK, rtol=1e-6)


def test_a_path_goes_from_one_datapoint_to_another_in_equal_steps():
    drawn, outcome = pictures()
    assert list(drawn.paths) == [(100, 101), (102, 103), (104, 105), (106, 107)]
    images = drawn.paths[102, 103].reshape(-1, K)
    np.testing.assert_array_equal(images[[0, -1]], outcome.points.inputs[0][[2, 3]])
    steps = np.linspace(2.0, 3.0, made.NUM_STEPS)[:, None]
    np.testing.assert_allclose(images[1:-1], 0.5 * steps * [1, 0, 0], rtol=1e-6)


def test_a_traversal_moves_one_active_unit_over_the_aggregate_posterior():
    drawn, outcome = pictures()
    assert list(drawn.traversals) == [1, 0]  # the one whose mean varies most first; z3 is not active
    z_MxK = outcome.diagnostics["diagonal"].encoded.draws.z_NxSxK.reshape(-1, K)
    mean, sd = z_MxK[:, 1].mean(), z_MxK[:, 1].std()
    wanted = mean + np.linspace(-2.0, 2.0, made.NUM_VALUES) * sd
    np.testing.assert_allclose(drawn.values[1], wanted)
    images = drawn.traversals[1].reshape(-1, K)
    # The first datapoint's q is centred at 0.
    np.testing.assert_allclose(images, 0.5 * wanted[:, None] * [0, 1, 0], rtol=1e-6)


def test_no_more_units_are_traversed_than_fit_a_page(monkeypatch):
    monkeypatch.setattr(made, "MOST_UNITS", 1)
    assert list(pictures()[0].traversals) == [1]


def test_without_an_encoder_the_centres_are_those_of_the_optimum():
    drawn, _ = pictures(encoder=False)
    assert list(drawn.reconstructions) == ["test data", "by q*"]
    assert drawn.of == "q*"
    middle = drawn.paths[100, 101].reshape(-1, K)[1:-1]
    assert (middle[1:, 1] > 0).all()
    assert not middle[:, 0].any()


@pytest.mark.parametrize("diagnostics", [None, {}, {"rate": {"mean": 1.0}}])
def test_without_diagnostics_there_are_no_traversals(diagnostics):
    assert pictures(diagnostics=diagnostics)[0].traversals == {}


@pytest.mark.parametrize(("num_points", "paths"), [(1, 0), (2, 1), (3, 1)])
def test_few_datapoints_have_fewer_pictures(num_points, paths):
    drawn, _ = pictures(num_points)
    assert len(drawn.paths) == paths
    assert len(drawn.samples) == num_points


def test_what_is_an_image():
    assert [made.drawable(shape) for shape in [(8, 8), (8, 8, 3), (8, 8, 1)]] == [True] * 3
    assert [made.drawable(shape) for shape in [(8,), (8, 8, 2), (8, 8, 4), (2, 8, 8, 3), ()]] == [False] * 5


def test_what_is_shown_was_not_trained_on_where_there_is_such():
    assert made.held_out(["train", "test"]) == "test"
    assert made.held_out(["train", "validation"]) == "validation"
    assert made.held_out(["train"]) == "train"


def test_portions_are_one_program_and_the_rows_themselves():
    shapes = []

    def double(rows):
        shapes.append(rows.shape)
        return 2.0 * rows

    rows = np.arange(2.0 * (made.PORTION + 3)).reshape(-1, 2)
    np.testing.assert_array_equal(made._in_portions(double, rows), 2.0 * rows)
    assert shapes == [(made.PORTION, 2)] * 2


def test_images_that_cannot_be_drawn_are_said_not_to_be():
    assert made.said_of((8, 6, 4)) == (
        "no pictures are drawn: x of 8x6x4 has 4 channels, and not one or three"
    )
    assert [made.said_of(shape) for shape in [(8, 6), (8, 6, 3), (8, 6, 1), (64,), ()]] == [""] * 5
