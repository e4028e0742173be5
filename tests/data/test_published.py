"""The true archives of MNIST and Fashion-MNIST, where there are some: every image, under a fixed index."""

import gzip
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.images import VERSIONS, digest
from vaelab import data
from vaelab.data import archives, tfds

ROOT = Path(__file__).parents[2]
SPLITS = ("train", "validation", "test")

# Computed once: whoever changes one of these changes which image an index means.
PUBLISHED_GOLDEN = {
    "mnist": "9b391daa586b58df330afafc28340379044d8d13c86409b114b507f6e7bd9c01",
    "fashion_mnist": "32d4bb4e2c864fb200d0d96e5bdae40ac39326d8e1459a7aadf1377d59629b41",
}
PUBLISHED = tuple(PUBLISHED_GOLDEN)


@pytest.fixture(scope="session")
def published():
    folder = Path(os.environ.get("VAELAB_ARCHIVES", ""))
    if "VAELAB_ARCHIVES" not in os.environ or not all((folder / name).is_dir() for name in PUBLISHED):
        pytest.skip("no archives: set VAELAB_ARCHIVES to a folder that holds mnist/ and fashion_mnist/")
    return folder


@pytest.fixture(scope="session")
def prepared_dir(published, tmp_path_factory):
    if "VAELAB_DATA_DIR" in os.environ:
        return Path(os.environ["VAELAB_DATA_DIR"])
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("not prepared: set VAELAB_DATA_DIR to a prepared data_dir, or install tensorflow-cpu")
    folder = tmp_path_factory.mktemp("prepared")
    for name in PUBLISHED:
        command = [
            sys.executable,
            "-m",
            "vaelab.prepare",
            name,
            "--manual_dir",
            published / name,
            "--data_dir",
            folder,
        ]
        subprocess.run(command, cwd=ROOT, check=True)
    return folder


def raw_rows(folder: Path, prefix: str) -> np.ndarray:
    """uint8 [N, 785]: pixels and label from the IDX files, sorted, for TFDS shuffles them."""
    images = gzip.decompress((folder / f"{prefix}-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())[8:]
    pixels_NxD = np.frombuffer(images, np.uint8).reshape(-1, 784)
    return sorted_rows(pixels_NxD, np.frombuffer(labels, np.uint8))


def sorted_rows(pixels_NxD: np.ndarray, label_N: np.ndarray) -> np.ndarray:
    rows = np.concatenate([pixels_NxD, label_N[:, None].astype(np.uint8)], axis=1)
    return rows[np.argsort(rows.view(f"S{rows.shape[1]}")[:, 0], kind="stable")]


@pytest.mark.mnist_archives
@pytest.mark.parametrize("name", PUBLISHED)
def test_splits_hold_exactly_the_images_of_the_archives(name, published, prepared_dir):
    dataset = data.load(name, data_dir=prepared_dir)
    assert [len(dataset.splits[split].label_N) for split in SPLITS] == [55_000, 5_000, 10_000]
    train, validation, test = (dataset.splits[split] for split in SPLITS)
    together = sorted_rows(
        np.concatenate([train.pixels_NxD, validation.pixels_NxD]),
        np.concatenate([train.label_N, validation.label_N]),
    )
    np.testing.assert_array_equal(together, raw_rows(published / name, "train"))
    np.testing.assert_array_equal(sorted_rows(*test[:2]), raw_rows(published / name, "t10k"))
    index_N = np.concatenate([train.index_N, validation.index_N, test.index_N])
    np.testing.assert_array_equal(index_N, np.arange(70_000))


@pytest.mark.mnist_archives
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_data_sets_are_the_same_everywhere(name, prepared_dir):
    assert digest(data.load(name, data_dir=prepared_dir)) == PUBLISHED_GOLDEN[name]


@pytest.mark.mnist_archives
def test_archives_are_the_ones_that_the_builders_expect(published, tmp_path):
    for name in PUBLISHED:
        archives.check(tfds.builder(name, VERSIONS[name], tmp_path).url_infos, published / name)
