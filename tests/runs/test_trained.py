"""What training leaves: which encoder gives phi of a datapoint, or the table, and from where fits start."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab import posterior
from vaelab.keys import run_keys
from vaelab.measure.subject import Inputs
from vaelab.runs.trained import Ended, Trained, points_of, subject_of
from vaelab.training.regime import Table, amortized
from vaelab.training.step import TrainState
from vaelab.types import Encoder

K = 2
FAMILIES = {"diagonal": posterior.diagonal(K), "full": posterior.full(K), "cholesky": posterior.cholesky(K)}
ENCODER = Encoder(init=lambda key: jnp.float32(1.0), apply=lambda psi, x_D: psi * x_D)
X = np.float32([[1.0, -1.0, 0.0, 0.5], [2.0, 3.0, -0.5, 0.0], [0.0, 1.0, 0.2, -0.2]])
INPUTS = Inputs(X, np.array([30, 10, 20]))


def stage(name, *, refined=False):
    regime = amortized(ENCODER, FAMILIES[name])._replace(refined=refined)
    system = SimpleNamespace(family=FAMILIES[name], regime=regime)
    return SimpleNamespace(name=f"of_{name}", family=name, system=system)


def experiment(*stages):
    return SimpleNamespace(
        latent_model=None,
        families=FAMILIES,
        stages=stages,
        evaluate=SimpleNamespace(max_points=0, corruption=0.5),
        keys=run_keys(0),
        quantized="levels",
        inputs={"test": INPUTS},
        labels={"test": np.array(["a", "b", "c"])},
        train_split=SimpleNamespace(index_N=np.array([20, 30, 40, 10])),
    )


def ended(theta, psi):
    return Ended(TrainState(0, theta, psi, None), 60, 40, "stop_after")


def test_each_stage_adds_its_encoder_and_a_table_takes_the_place_of_all():
    trained = Trained(0.0, {}).after(stage("diagonal"), ended(1.0, 2.0)).after(stage("full"), ended(1.5, 3.0))
    assert (trained.theta, list(trained.encoders), trained.table) == (1.5, ["diagonal", "full"], None)
    assert (trained.encoders["diagonal"].psi, trained.encoders["full"].psi) == (2.0, 3.0)
    assert trained.encoders["full"].family is FAMILIES["full"]
    said = {"last_step": 60, "measured_step": 40, "ended_by": "stop_after"}
    assert trained.stages == tuple({"stage": name, **said} for name in ("of_diagonal", "of_full"))
    table = Table(np.zeros((4, 4)), None)
    with_table = trained.after(stage("diagonal"), ended(2.0, table))
    assert (with_table.theta, with_table.encoders, with_table.table) == (2.0, {}, table)


def test_what_gives_phi_is_named_for_the_families_that_have_one():
    stages = stage("diagonal"), stage("full", refined=True)
    trained = Trained(0.0, {}).after(stages[0], ended(0.0, 1.0)).after(stages[1], ended(0.0, 1.0))
    subject = subject_of(experiment(*stages), "test", trained)
    assert subject.amortized == {"diagonal": "encoder", "full": "encoder and steps"}
    assert subject.quantized == "levels"
    assert subject_of(experiment(*stages), "simulated", trained).quantized is None


def test_a_table_gives_phi_of_the_training_data_alone():
    trained = Trained(0.0, {}, Table(np.zeros((4, 4)), None))
    made = experiment(stage("diagonal"))
    assert subject_of(made, "train", trained).amortized == {"diagonal": "table"}
    assert subject_of(made, "test", trained).amortized == {}
    assert subject_of(experiment(stage("full")), "train", trained).amortized == {"full": "table"}


def test_fits_start_at_the_encoders_q_or_at_its_projection():
    trained = Trained(0.0, {}).after(stage("diagonal"), ended(0.0, jnp.float32(2.0)))
    subject = subject_of(experiment(stage("diagonal")), "test", trained)
    np.testing.assert_allclose(subject.start("diagonal", INPUTS), 2.0 * X, rtol=1e-6)
    phi_NxP = subject.start("full", INPUTS)
    mu_NxK, scale_NxKxK = map(np.asarray, jax.vmap(FAMILIES["full"].gaussian.location_scale)(phi_NxP))
    np.testing.assert_allclose(mu_NxK, 2.0 * X[:, :K], rtol=1e-6)
    covariance_NxKxK = scale_NxKxK @ np.swapaxes(scale_NxKxK, 1, 2)
    np.testing.assert_allclose(
        covariance_NxKxK, np.exp(4.0 * X[:, K:])[:, None] * np.eye(K), rtol=1e-5, atol=1e-6
    )


def test_without_an_encoder_fits_start_at_the_prior():
    subject = subject_of(experiment(stage("diagonal")), "test", Trained(0.0, {}))
    phi_NxP = subject.start("cholesky", INPUTS)
    np.testing.assert_array_equal(phi_NxP, np.tile(FAMILIES["cholesky"].init(), (3, 1)))
    assert float(FAMILIES["cholesky"].kl_to_prior(phi_NxP[0])) == pytest.approx(0.0, abs=1e-6)


def test_rows_of_the_table_are_known_by_their_index_whatever_the_order():
    """The rows are in the order of the training data: those of the indices 20, 30, 40, 10."""
    rows_NxP = np.arange(16.0, dtype=np.float32).reshape(4, 4)
    subject = subject_of(experiment(stage("diagonal")), "train", Trained(0.0, {}, Table(rows_NxP, None)))
    np.testing.assert_array_equal(subject.start("diagonal", INPUTS), rows_NxP[[1, 3, 0]])


def test_the_datapoints_of_a_split_have_their_labels():
    points = points_of(experiment(stage("diagonal")), "test", None)
    assert points.inputs is INPUTS
    assert list(points.label_N) == ["a", "b", "c"]
