"""What a model of a config is conditional on: rows of x and y, and what cannot be."""

import jax
import numpy as np
import pytest

from experiments import counts, digits_gap, linear_gaussian
from tests.support.configs import changed, refused
from vaelab import data
from vaelab.config import condition as reading
from vaelab.config import defaults
from vaelab.config.experiment import build
from vaelab.config.section import Section
from vaelab.data.rows import Rows

D = 3


def dataset(**labels):
    given = {"train": [0, 1, 1, 2], "validation": [0, 1], "test": [2, 0]} | labels
    splits, start = {}, 0
    for name, label in given.items():
        pixels = np.uint8(np.arange(len(label) * D).reshape(-1, D) % 4)
        index_N = start + np.arange(len(label), dtype=np.int32)
        splits[name] = data.Split(pixels, np.array(label, np.int32), index_N)
        start += len(label)
    return data.DataSet("made", (D,), 3, splits)


def section(name="label", prior=False):
    config = defaults.model()
    config.condition.name, config.condition.prior = name, prior
    return Section(config, "config.model")


def conditional(**changes):
    config = digits_gap.get_config("smoke")
    for name, value in {"model.condition.name": "label", **changes}.items():
        changed(config, name, value)
    return config


def test_classes_are_those_of_the_training_data_as_often_as_they_are_there():
    assert reading.read_condition(section("none"), dataset()) is None
    read = reading.read_condition(section(prior=True), dataset())
    assert (read.kind, read.data_dim, read.weight_M, read.in_prior) == ("label", D, (0.25, 0.5, 0.25), True)
    assert (read.size, read.log_total_M) == (3, ())
    described = data.Known((D,), 3, (1, 2, 1))
    assert reading.read_condition(section(prior=True), described) == read


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({"test": [2, 5]}, "name='label': test has the label 5, which no training example has; take none"),
        ({"train": [0, 2, 2, 2]}, "validation has the label 1, which no training example has"),
        ({"validation": [0, -1]}, "needs a label of each example, and 1 of validation have none; take none"),
        ({name: [-1, -1] for name in ("train", "validation", "test")}, "needs a label of each example"),
        ({name: [0, 0] for name in ("train", "validation", "test")}, "needs labels of two classes or more"),
        ({"train": [0, 1, 10_001]}, "is of labels from 0 to 9,999; number the classes 0, 1, ..."),
        ({"test": [0, 10_000]}, "is of labels from 0 to 9,999; number the classes 0, 1, ..."),
    ],
)
def test_labels_that_cannot_be_a_condition_are_one_line(labels, says):
    refused(lambda: reading.read_condition(section(), dataset(**labels)), says)


def test_a_prior_given_y_needs_a_label():
    says = "prior=True: needs model.condition.name=label; take False"
    refused(lambda: reading.read_condition(section("none", prior=True), dataset()), says)
    config = linear_gaussian.get_config("smoke")
    changed(config, "model.condition", {"name": "none", "prior": True})
    refused(lambda: build(config), says)


def test_rows_are_x_as_it_is_observed_without_a_condition_and_y_beside_it():
    made = dataset()
    condition = reading.read_condition(section(), made)
    rows = reading.with_condition(section(), made, condition).splits["train"]
    np.testing.assert_array_equal(rows.pixels_NxD[:, :D], made.splits["train"].pixels_NxD)
    np.testing.assert_array_equal(rows.pixels_NxD[:, D:].argmax(axis=1), rows.label_N)

    def observe(key, pixels_D):
        return data.dequantize(key, pixels_D, max_value=3)

    row_R = reading.beside(observe, condition)(jax.random.key(1), rows.pixels_NxD[2])
    x_D = observe(jax.random.key(1), made.splits["train"].pixels_NxD[2])
    np.testing.assert_array_equal(row_R, np.concatenate([x_D, [0.0, 1.0, 0.0]]))
    assert reading.beside(observe, None) is observe
    assert reading.with_condition(section("none"), made, None) is made


def test_examples_that_stay_on_the_disk_are_refused():
    made = dataset()
    train = made.splits["train"]
    unread = Rows(lambda rows_M: train.pixels_NxD[rows_M], train.pixels_NxD.shape, np.uint8)
    made.splits["train"] = train._replace(pixels_NxD=unread)
    condition = reading.read_condition(section(), made)
    refused(lambda: reading.with_condition(section(), made, condition), "raise data.memory_bytes")
    real = made._replace(max_value=data.REAL)
    refused(lambda: reading.read_condition(section("library_size"), real), "raise data.memory_bytes")


def test_an_experiment_has_y_in_encoder_decoder_and_prior():
    plain = build(digits_gap.get_config("smoke"))
    experiment = build(conditional(**{"model.condition.prior": True}))
    theta = experiment.theta
    assert theta["decoder"]["Dense_0"]["kernel"].shape[0] == 10 + 10
    assert theta["shift_CxK"].shape == (10, 10)
    psi = experiment.stages[0].system.regime.init(jax.random.key(0))
    assert psi["Dense_0"]["kernel"].shape[0] == 64 + 10
    one, other = (made.inputs["test"].x_NxD for made in (plain, experiment))
    np.testing.assert_array_equal(other[:, :64], one)
    np.testing.assert_array_equal(other[:, 64:].argmax(axis=1), experiment.labels["test"])
    assert experiment.image_shape == (8, 8)
    assert experiment.described == plain.described
    assert set(build(conditional()).theta) == {"decoder"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"evaluate.splits": ("test", "corrupted")}, "y would be corrupted too"),
        ({"model.prior.name": "vamp", "model.prior.num_components": 4}, "has pseudo-inputs x"),
        ({"encoder.network": "convolutional"}, "takes images alone, and y is beside x; take mlp"),
        ({"model.condition.name": "class"}, "unknown; there are none, label, library_size"),
    ],
)
def test_what_has_no_meaning_beside_a_condition_is_refused(changes, says):
    refused(lambda: build(conditional(**changes)), says)


def test_simulated_data_of_the_config_have_no_condition():
    config = linear_gaussian.get_config("smoke")
    changed(config, "model.condition", {"name": "label"})
    refused(lambda: build(config), "condition.name='label': data.name=simulated has none; take none")


def counted(values=(), max_value=data.REAL):
    """Counts of cells of 3 genes; values: of the last test cell."""
    made = dataset()
    for name, split in made.splits.items():
        x_NxD = np.float32(split.pixels_NxD) + 1.0
        if name == "test" and values:
            x_NxD[-1] = values
        made.splits[name] = split._replace(pixels_NxD=x_NxD)
    return made._replace(max_value=max_value)


def test_a_library_size_is_the_log_of_the_total_of_each_example():
    made = counted()
    read = reading.read_condition(section("library_size"), made)
    totals_N = np.sum(made.splits["train"].pixels_NxD, axis=1)
    assert (read.kind, read.data_dim, read.size, len(read.weight_M)) == ("library_size", D, 1, 100)
    # Four totals, each as often as it is there; between them only what interpolation gives.
    size_M, least, largest = np.exp(read.log_total_M), np.min(totals_N), np.max(totals_N)
    assert least < size_M[0] < size_M[-1] < largest
    assert np.mean(size_M) == pytest.approx(
        np.mean(np.quantile(totals_N, np.linspace(0, 1, 10_001))), rel=1e-3
    )
    rows = reading.with_condition(section("library_size"), made, read)
    np.testing.assert_allclose(np.exp(rows.splits["train"].pixels_NxD[:, D]), totals_N, rtol=1e-6)
    assert reading.read_condition(section("library_size"), rows) == read  # of x alone, whatever stands beside


@pytest.mark.parametrize(
    ("made", "prior", "says"),
    [
        (counted((0.0, 0.0, 0.0)), False, "needs a count in each example, and 1 of test have none; leave"),
        (counted(max_value=3), False, "is of counts, and these data are levels"),
        (counted(), True, "is for labels: a library size scales x"),
    ],
)
def test_a_library_size_that_cannot_be_is_one_line(made, prior, says):
    refused(lambda: reading.read_condition(section("library_size", prior), made), says)


def test_logarithms_of_counts_are_for_counts():
    refused(lambda: build(conditional(**{"encoder.log1p": True})), "log1p=True: is for likelihoods of counts")
    simulated = changed(linear_gaussian.get_config("smoke"), "encoder.log1p", True)
    refused(lambda: build(simulated), "log1p=True: is for likelihoods of counts; take False")


def test_cells_have_their_library_size_in_encoder_and_decoder():
    config = counts.get_config("smoke")
    with config.unlocked():
        del config["sweep"]
    experiment = build(changed(config, "model.condition.name", "library_size"))
    row_NxR = experiment.inputs["test"].x_NxD
    np.testing.assert_allclose(np.exp(row_NxR[:, -1]), np.sum(row_NxR[:, :-1], axis=1), rtol=1e-5)
    model, theta = experiment.latent_model, experiment.theta
    y_C = row_NxR[0, -1:]
    mean_D = np.float64(model.given.mean(theta, np.ones(10, np.float32), y_C))
    assert np.sum(mean_D) == pytest.approx(np.exp(y_C[0]), rel=1e-4)
    psi = experiment.stages[0].system.regime.init(jax.random.key(0))
    assert psi["Dense_0"]["kernel"].shape == (81, 128)
    changed(config, "train.dtype", "bfloat16")
    assert build(config).stages[0].system.model.given.size == 1
    changed(config, "model.likelihood.name", "gaussian")
    config.encoder.log1p = False
    refused(lambda: build(config), "needs a likelihood of counts, and gaussian is none; take negative_bin")
