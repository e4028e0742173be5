"""The digits of scikit-learn: the same images under the same indices on every machine."""

import numpy as np
import pytest

from tests.support.images import digest
from vaelab import data

# Computed once: whoever changes it changes which image an index means.
DIGITS_GOLDEN = "020c3dc57ee7df5052110a6c567f8db2c80f342997b89c73e481ebd82e03b5ba"


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", data_dir="unused")


def test_digits_splits_are_disjoint_and_complete(digits):
    assert {name: len(split.label_N) for name, split in digits.splits.items()} == {
        "train": 1257,
        "validation": 180,
        "test": 360,
    }
    index_N = np.concatenate([split.index_N for split in digits.splits.values()])
    np.testing.assert_array_equal(np.sort(index_N), np.arange(1797))
    assert (digits.image_shape, digits.max_value) == ((8, 8), 16)


def test_digits_are_the_indexed_images_of_their_source(digits):
    from sklearn.datasets import load_digits

    source = load_digits()
    for split in digits.splits.values():
        assert [field.dtype for field in split] == [np.uint8, np.int32, np.int32]
        np.testing.assert_array_equal(split.pixels_NxD, source.data[split.index_N])
        np.testing.assert_array_equal(split.label_N, source.target[split.index_N])


def test_digits_are_the_same_everywhere(digits):
    assert digest(digits) == DIGITS_GOLDEN


def nearest_centroid_accuracy(dataset: data.DataSet) -> float:
    train, test = dataset.splits["train"], dataset.splits["test"]
    labels = np.unique(train.label_N)
    centroids_CxD = np.stack([train.pixels_NxD[train.label_N == c].mean(0) for c in labels])
    scores_NxC = test.pixels_NxD @ centroids_CxD.T - (centroids_CxD**2).sum(1) / 2
    return float(np.mean(labels[scores_NxC.argmax(1)] == test.label_N))


def test_digits_labels_align_with_images(digits):
    assert nearest_centroid_accuracy(digits) > 0.8
