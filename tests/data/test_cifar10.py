"""CIFAR-10: every image of the archive under its index, and a pickle that runs nothing."""

import pickle

import numpy as np
import pytest

from tests.support import colour_archives as made
from vaelab import data


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "archives"


def loaded(name, archive, data_dir):
    source = made.believed(name, archive)
    source.prepare(data_dir, archive)
    return source.load(data_dir)


def test_images_are_those_of_the_batches_in_their_order(archive, tmp_path):
    parts = made.cifar10(archive)
    dataset = loaded("cifar10", archive, tmp_path)
    train, validation, test = (dataset.splits[split] for split in data.SPLITS)
    assert [len(split.index_N) for split in (train, validation, test)] == [18, 2, 6]
    pixels, label_N = parts["train"]
    both = np.concatenate([train.pixels_NxD, validation.pixels_NxD])
    np.testing.assert_array_equal(both.reshape(-1, 32, 32, 3), pixels)
    np.testing.assert_array_equal(np.concatenate([train.label_N, validation.label_N]), label_N)
    np.testing.assert_array_equal(test.pixels_NxD.reshape(-1, 32, 32, 3), parts["test"][0])
    index_N = np.concatenate([split.index_N for split in (train, validation, test)])
    np.testing.assert_array_equal(index_N, np.arange(26))
    assert dataset.label_names[3] == "cat"


def test_three_bits_are_the_upper_halves_of_the_levels_from_the_same_arrays(archive, tmp_path):
    parts = made.cifar10(archive)
    bits = loaded("cifar10_3bit", archive, tmp_path)
    assert bits.max_value == 1
    wanted = parts["test"][0].reshape(6, -1) >= 128
    np.testing.assert_array_equal(bits.splits["test"].pixels_NxD, wanted)
    assert made.believed("cifar10", archive).prepare(tmp_path, archive) is False


class Harmful:
    def __reduce__(self):
        return (print, ("run",))


def faults():
    pixels, label = made.images(2), np.arange(2)
    good = {f"data_batch_{number}": made.batch(pixels, label) for number in range(1, 6)}
    return {
        "no test batch": (good, "test_batch"),
        "a row too short": (good | {"test_batch": made.batch(pixels[:, :31], label)}, "(2, 2976)"),
        "a label too few": (good | {"test_batch": made.batch(pixels, label, labels=[1])}, "1 labels"),
        "cut short": (good | {"test_batch": made.batch(pixels, label)[:-40]}, "cannot be read"),
        "code": (good | {"test_batch": pickle.dumps(Harmful(), 2)}, "print, of which images have no need"),
    }


@pytest.mark.parametrize("name", faults())
def test_a_bad_archive_is_one_line(name, archive, tmp_path, capsys):
    batches, said = faults()[name]
    path = made.write_cifar10(archive, batches)
    with pytest.raises(data.DataError) as error:
        loaded("cifar10", archive, tmp_path)
    line = str(error.value)
    assert said in line
    assert str(path) in line
    assert "\n" not in line
    assert "run" not in capsys.readouterr().out.split()


def test_what_is_no_archive_is_one_line(archive, tmp_path):
    archive.mkdir()
    path = archive / "cifar-10-python.tar.gz"
    path.write_bytes(b"<html>not here</html>")
    with pytest.raises(data.DataError, match="cannot be read") as error:
        loaded("cifar10", archive, tmp_path)
    assert str(path) in str(error.value)


def test_the_published_archive_has_this_checksum_and_made_ones_are_refused(archive, tmp_path):
    made.cifar10(archive)
    published = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
    with pytest.raises(data.DataError, match=f"expected sha256 {published}"):
        data.SOURCES["cifar10"].prepare(tmp_path, archive)
