"""Data that do not come with vaelab: which names they have, and what settings they take."""

import numpy as np
import pytest

from vaelab import data
from vaelab.data import own


def test_which_names_are_ones_own():
    names = ("file", "huggingface", "hf:/some/where", "tfds:cifar10", "mnist", "given", "files")
    assert [own.is_own(name) for name in names] == [True, True, True, True, False, False, False]
    assert not any(map(own.is_own, data.SOURCES))


@pytest.mark.parametrize("name", ["hf:/some/where", "tfds:cifar10"])
def test_a_path_beside_a_name_that_has_one_is_refused(name):
    with pytest.raises(data.DataError, match=rf"data.path='a.npy': has no effect on {name}; leave it out"):
        own.load_own(name, data.Settings(path="a.npy"))


def test_a_sequence_is_read_by_the_settings_and_a_data_set_is_itself():
    settings = data.Settings(fractions=(0.5, 0.25, 0.25), image_shape=(2, 2), max_value=9)
    pairs = [(np.full(4, i % 10, np.uint8), i % 2) for i in range(20)]
    made = own.given(pairs, settings)
    assert made[:3] == (own.OF_PYTHON, (2, 2), 9)
    assert [len(split.index_N) for split in made.splits.values()] == [10, 5, 5]
    for split in made.splits.values():
        np.testing.assert_array_equal(split.pixels_NxD[:, 0], split.index_N % 10)
        np.testing.assert_array_equal(split.label_N, split.index_N % 2)
    assert own.given(made, data.Settings(data_dir="elsewhere", memory_bytes=1)) is made


@pytest.mark.parametrize("setting", [{"label": "y"}, {"max_value": 9}, {"image_shape": (2, 2)}])
def test_a_setting_that_a_data_set_does_not_take_is_named(setting):
    made = own.given(np.eye(20), data.Settings())
    ((name, value),) = setting.items()
    with pytest.raises(data.DataError) as caught:
        own.given(made, data.Settings(**setting))
    assert str(caught.value).startswith(f"--config.data.{name}={value!r}: has no effect on a data set")


def test_only_data_of_tensorflow_datasets_are_prepared(tmp_path):
    assert own.prepare_own("file", tmp_path, None) is False
    assert own.prepare_own("hf:/some/where", tmp_path, None) is False
