"""What holds for every data set of SOURCES, and what is said of a name that is not among them."""

import math
from functools import partial

import numpy as np
import pytest

from tests.support import colour_archives
from tests.support.images import assert_same, random_rows
from vaelab import data
from vaelab.data import tfds


@pytest.fixture
def data_dir_of(prepared, monkeypatch, tmp_path):
    """data_dir_of(name): where the data set can be read; made rows take the place of a download."""

    def make(name):
        source = data.SOURCES[name]
        if name in colour_archives.WRITERS:
            colour_archives.WRITERS[name](tmp_path / "archives")
            source = colour_archives.believed(name, tmp_path / "archives")
            monkeypatch.setitem(data.SOURCES, name, source)
            source.prepare(tmp_path, tmp_path / "archives")
            return tmp_path
        if source.prepare is None:
            return tmp_path
        (recipe,) = source.load.args
        # The digest of the published images is not that of made ones.
        monkeypatch.setitem(
            data.SOURCES, name, source._replace(load=partial(tfds.load, recipe._replace(digest=None)))
        )
        rows = {split: random_rows(24, seed) for seed, split in enumerate(recipe.splits)}
        if recipe.max_value == 1:
            rows = {split: [(pixels // 128, -1) for pixels, _ in some] for split, some in rows.items()}
        return prepared(name, rows).dir

    return make


@pytest.mark.parametrize("name", data.SOURCES)
def test_every_data_set_is_what_its_entry_says(name, data_dir_of):
    data_dir = data_dir_of(name)
    dataset = data.load(name, data_dir=data_dir)
    assert dataset.name == name
    assert data.describe(name) == (dataset.image_shape, dataset.max_value)
    stored = np.float32 if dataset.max_value == data.REAL else np.uint8
    assert tuple(dataset.splits) == data.SPLITS
    for split in dataset.splits.values():
        count = len(split.index_N)
        assert count > 0
        assert [field.dtype for field in split] == [stored, np.int32, np.int32]
        assert split.pixels_NxD.shape == (count, math.prod(dataset.image_shape))
        assert split.label_N.shape == (count,)
        assert split.label_N.min() >= -1
    if dataset.max_value != data.REAL:
        assert max(split.pixels_NxD.max() for split in dataset.splits.values()) == dataset.max_value
    assert_same(data.load(name, data_dir=str(data_dir)), dataset)


@pytest.mark.parametrize("name", data.SOURCES)
def test_an_index_is_given_once_over_all_splits(name, data_dir_of):
    splits = data.load(name, data_dir=data_dir_of(name)).splits
    index_N = np.concatenate([split.index_N for split in splits.values()])
    np.testing.assert_array_equal(np.sort(index_N), np.arange(index_N.size))


@pytest.mark.parametrize("name", [name for name, source in data.SOURCES.items() if source.prepare])
def test_what_is_prepared_is_not_prepared_again(name, data_dir_of):
    assert data.SOURCES[name].prepare(data_dir_of(name), None) is False


def test_a_data_set_is_described_without_being_read(monkeypatch):
    def load(data_dir):
        raise AssertionError("it is read")

    monkeypatch.setitem(data.SOURCES, "mnist", data.SOURCES["mnist"]._replace(load=load))
    assert data.describe("mnist") == data.Description((28, 28), 255)


@pytest.mark.parametrize(
    ("name", "near"), [("mnits", "mnist"), ("fashion-mnist", "fashion_mnist"), ("Digits", "digits")]
)
def test_unknown_name_suggests_the_nearest(name, near, tmp_path):
    with pytest.raises(data.DataError, match=f"did you mean {near!r}") as error:
        data.load(name, data_dir=tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [data.describe, lambda name: data.load(name, data_dir="unused")])
def test_a_name_that_is_near_none_is_told_which_there_are(read):
    with pytest.raises(data.DataError) as error:
        read("imagenet")
    line = str(error.value)
    assert line.startswith(
        f"name='imagenet': there is no such data set among {', '.join(data.SOURCES)}; take file and "
    )
    assert "did you mean" not in line
