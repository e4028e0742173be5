"""The data of a config, and the x that is observed of them."""

import numpy as np
import pytest

from tests.support.configs import changed, refused
from vaelab import data
from vaelab.config import data as reading
from vaelab.config import defaults
from vaelab.config.section import Section
from vaelab.data.rows import rows_of


def section(**changes):
    config = defaults.data()
    for name, value in changes.items():
        changed(config, name, value)
    return Section(config, "config.data")


def made(max_value=255):
    pixels_NxD = np.arange(24, dtype=np.uint8).reshape(12, 2)
    splits = {
        name: data.Split(pixels_NxD[rows], np.zeros(4, np.int32), np.arange(12, dtype=np.int32)[rows])
        for name, rows in zip(data.SPLITS, (slice(0, 4), slice(4, 8), slice(8, 12)), strict=True)
    }
    return data.DataSet("made", (2,), max_value, splits)


def test_num_train_keeps_the_first_training_examples_and_all_others():
    whole = reading.dataset(section(name="given"), made())
    few = reading.dataset(section(name="given", num_train=3), made())
    assert [len(split.index_N) for split in few.splits.values()] == [3, 4, 4]
    for kept, all_of_them in zip(few.splits["train"], whole.splits["train"], strict=True):
        np.testing.assert_array_equal(kept, all_of_them[:3])
    refused(
        lambda: reading.dataset(section(name="given", num_train=5), made()),
        "num_train=5: made has 4 training",
    )


def test_what_is_given_and_what_is_named_are_one():
    refused(
        lambda: reading.dataset(section(name="digits"), made()),
        "name='digits': stands for data that were given",
    )
    refused(lambda: reading.dataset(section(name="given")), "give data=")


@pytest.mark.parametrize(
    ("setting", "value", "fix"),
    [
        ("path", "a.npy", "take data.name=file"),
        ("label", "kind", "leave it out"),
        ("max_value", 16, "leave it out"),
        ("image_shape", (8, 8), "leave it out"),
        ("fractions", (0.5, 0.25, 0.25), "leave it out"),
    ],
)
def test_a_setting_of_ones_own_data_has_no_effect_on_a_named_set(setting, value, fix):
    line = f"{setting}={value!r}: has no effect on digits; {fix}"
    refused(lambda: reading.dataset(section(**{setting: value})), line)


def test_what_is_wrong_with_data_begins_with_the_setting_that_names_them(tmp_path):
    def line(**changes):
        with pytest.raises(data.DataError) as caught:
            reading.dataset(section(**changes))
        assert caught.value.setting in {f"data.{name}" for name in changes}
        return str(caught.value)

    path = tmp_path / "a.npz"
    np.savez(path, train=np.eye(9), validation=np.eye(9))
    begins = f"--config.data.path='{path}': {path} holds train and validation, and no test: add it"
    assert line(name="file", path=str(path)) == begins
    np.savez(path, train=np.eye(20))
    assert line(name="file", path=str(path), image_shape=(3, 7)).startswith(
        "--config.data.image_shape=(3, 7): does not hold an example of the shape (20,)"
    )
    assert line(name="file", path=str(path), label="kind", max_value=300).startswith(
        "--config.data.max_value=300: "
    )
    prepared = line(name="mnist", data_dir=str(tmp_path))
    assert prepared.startswith(f"--config.data.name='mnist': mnist is not prepared in {tmp_path}: run `")
    assert line(name="mnits").endswith("; did you mean 'mnist'?")
    assert line(name="mnist", data_dir="gs://a/b").startswith(
        "--config.data.data_dir='gs://a/b': is an address"
    )


def test_a_path_is_a_text():
    config = defaults.data().to_dict() | {"name": "file", "path": 3}
    refused(lambda: reading.dataset(Section(config, "config.data")), "path=3: must be a text")


@pytest.mark.parametrize(
    ("name", "max_value", "says"),
    [
        ("binarize", data.REAL, "x of made are real numbers; take identity"),
        ("identity", 255, "levels in 0..255, and identity is for real numbers; take binarize"),
    ],
)
def test_an_observation_is_for_levels_or_for_real_numbers(name, max_value, says):
    refused(lambda: reading.observation(section(observation=name), made(max_value)), says)


def test_the_largest_level_of_the_data_is_that_of_the_observation():
    rescale = reading.observation(section(observation="rescale"), made(max_value=5))
    np.testing.assert_allclose(rescale(None, np.array([0, 5], np.uint8)), [0.0, 1.0])


def test_a_batch_may_be_the_training_set_and_no_more():
    reading.check_batch(section(), 12, 12)
    refused(
        lambda: reading.check_batch(section(), 13, 12),
        "larger than the training set, of 12 examples; take 12",
    )


def test_gains_are_told_from_their_errors_by_two_validation_datapoints_or_more():
    reading.check_validation(section(), 0, 1)
    reading.check_validation(section(), 3, 2)
    refused(
        lambda: reading.check_validation(section(), 3, 1),
        "stop_after: needs 2 validation datapoints or more, and there is 1",
    )


def test_the_first_of_what_is_on_the_disk_stay_there():
    array = np.arange(8).reshape(4, 2)
    unread = rows_of(array, lambda part: part, size=2, dtype=np.int64)
    few = reading.first(unread, 3)
    assert not isinstance(few, np.ndarray)
    np.testing.assert_array_equal(few[:], array[:3])
    np.testing.assert_array_equal(reading.first(array, 3), array[:3])
