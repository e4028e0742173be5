"""CelebA: the middle of each image at 64x64, in the published splits, from the zip or its folder."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.support import colour_archives as made
from tests.support.images import assert_same
from vaelab import data
from vaelab.data import celeba


def loaded(folder, data_dir):
    source = made.believed("celeba", folder)
    source.prepare(data_dir, folder)
    return source.load(data_dir)


def test_images_are_the_means_over_areas_of_their_middle(tmp_path):
    content = made.celeba_images()
    made.write_celeba(tmp_path / "archives", content)
    dataset = loaded(tmp_path / "archives", tmp_path)
    assert [len(dataset.splits[split].index_N) for split in data.SPLITS] == [4, 2, 2]
    assert (dataset.splits["train"].label_N == -1).all()
    validation = dataset.splits["validation"]
    np.testing.assert_array_equal(validation.index_N, [4, 5])
    whole = np.asarray(Image.open(io.BytesIO(content["000003.jpg"])))
    square = np.float64(whole[35 : 35 + 148, 15 : 15 + 148])
    # The mean over pixels of 148/64 each: exact sums by fractions of rows and columns.
    edges, weights = np.linspace(0, 148, 65), np.zeros((64, 148))
    for i in range(64):
        for j in range(148):
            weights[i, j] = max(0.0, min(edges[i + 1], j + 1) - max(edges[i], j)) * 64 / 148
    means = np.einsum("ia,jb,abc->ijc", weights, weights, square)
    np.testing.assert_allclose(
        validation.pixels_NxD[0].reshape(64, 64, 3), means, atol=2.0
    )  # PIL rounds twice


def test_the_folder_in_the_zip_will_do(tmp_path):
    content = made.celeba_images()
    made.write_celeba(tmp_path / "zipped", content)
    made.write_celeba(tmp_path / "unpacked", content, zipped=False)
    zipped, unpacked = (loaded(tmp_path / name, tmp_path / f"{name}_data") for name in ("zipped", "unpacked"))
    assert_same(zipped, unpacked)


def test_an_image_of_another_size_or_none_is_one_line(tmp_path):
    content = made.celeba_images()
    content["000005.jpg"] = made.jpeg(made.images(1, (178, 178, 3))[0])
    assert_refused(tmp_path / "size", content, "000005.jpg", "it has 178x178 pixels")
    content["000005.jpg"] = b"no image"
    assert_refused(tmp_path / "none", content, "000005.jpg", "cannot be read")
    del content["000005.jpg"]
    assert_refused(tmp_path / "missing", content, "000005.jpg", "cannot be read")


def assert_refused(place, content, *said):
    made.write_celeba(place / "archives", content)
    with pytest.raises(data.DataError) as error:
        loaded(place / "archives", place)
    assert all(part in str(error.value) for part in said)
    assert "\n" not in str(error.value)
    assert list((place / "vaelab").iterdir()) == []


def test_a_partition_without_a_split_is_one_line(tmp_path):
    folder = tmp_path / "archives"
    made.write_celeba(folder, made.celeba_images())
    (folder / celeba.PARTITION).write_text("000001.jpg 0\n000002.jpg 1\n")
    with pytest.raises(data.DataError, match="names no image of test"):
        loaded(folder, tmp_path)


def test_the_published_files_have_these_checksums(tmp_path):
    made.write_celeba(tmp_path, made.celeba_images())
    published = "46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74"
    with pytest.raises(data.DataError, match=f"expected sha256 {published}"):
        data.SOURCES["celeba"].prepare(tmp_path / "data", tmp_path)
