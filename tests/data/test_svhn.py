"""SVHN: images of both MATLAB files, whose last axis counts them and whose 10 is the digit 0."""

import numpy as np
import pytest
from scipy.io import savemat

from tests.support import colour_archives as made
from vaelab import data


def loaded(folder, data_dir):
    source = made.believed("svhn_cropped", folder)
    source.prepare(data_dir, folder)
    return source.load(data_dir)


def test_images_are_those_of_the_files_in_their_order(tmp_path):
    parts = made.svhn_cropped(tmp_path / "archives")
    dataset = loaded(tmp_path / "archives", tmp_path)
    train, validation, test = (dataset.splits[split] for split in data.SPLITS)
    both = np.concatenate([train.pixels_NxD, validation.pixels_NxD])
    np.testing.assert_array_equal(both.reshape(-1, 32, 32, 3), parts["train"][0])
    np.testing.assert_array_equal(np.concatenate([train.label_N, validation.label_N]), parts["train"][1])
    np.testing.assert_array_equal(test.pixels_NxD.reshape(-1, 32, 32, 3), parts["test"][0])
    np.testing.assert_array_equal(test.label_N, [0, 1, 2, 3])
    np.testing.assert_array_equal(test.index_N, [20, 21, 22, 23])


FAULTS = {
    "other sides": ({"X": np.zeros((31, 32, 3, 4), np.uint8), "y": np.ones((4, 1))}, "(31, 32, 3, 4)"),
    "labels of another length": ({"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.ones((3, 1))}, "3 labels"),
    "real numbers": ({"X": np.zeros((32, 32, 3, 4)), "y": np.ones((4, 1))}, "float64"),
    "no images": ({"y": np.ones((4, 1))}, "cannot be read"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_file_is_one_line(name, tmp_path):
    content, said = FAULTS[name]
    folder = tmp_path / "archives"
    made.svhn_cropped(folder)
    savemat(folder / "test_32x32.mat", content)
    assert_refused(tmp_path, said)


def test_a_file_cut_short_is_one_line(tmp_path):
    folder = tmp_path / "archives"
    made.svhn_cropped(folder)
    path = folder / "test_32x32.mat"
    path.write_bytes(path.read_bytes()[:5000])
    assert_refused(tmp_path, "cannot be read")


def assert_refused(tmp_path, said):
    with pytest.raises(data.DataError) as error:
        loaded(tmp_path / "archives", tmp_path)
    line = str(error.value)
    assert said in line
    assert str(tmp_path / "archives" / "test_32x32.mat") in line
    assert "\n" not in line
