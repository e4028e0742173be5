"""Images of tensorflow-datasets: their splits, levels and order, and what is said of damage."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.support.images import KMNIST, png, random_rows
from vaelab import data
from vaelab.data import tfds

ROOT = Path(__file__).parents[2]
SPLITS = ("train", "validation", "test")


def test_last_twelfth_of_train_is_validation_in_prepared_order(prepared):
    dataset = data.load("kmnist", data_dir=prepared("kmnist", KMNIST).dir)
    assert (dataset.name, dataset.image_shape, dataset.max_value) == ("kmnist", (28, 28), 255)
    expected = {
        "train": (KMNIST["train"][:33], range(33)),
        "validation": (KMNIST["train"][33:], range(33, 36)),
        "test": (KMNIST["test"], range(36, 41)),
    }
    assert tuple(dataset.splits) == SPLITS
    for name, (rows, index) in expected.items():
        split = dataset.splits[name]
        assert [field.dtype for field in split] == [np.uint8, np.int32, np.int32]
        np.testing.assert_array_equal(split.pixels_NxD, [pixels.reshape(-1) for pixels, _ in rows])
        np.testing.assert_array_equal(split.label_N, [label for _, label in rows])
        np.testing.assert_array_equal(split.index_N, index)


def test_binarized_mnist_keeps_its_own_splits_and_levels(prepared):
    rows = {name: [((pixels > 127).astype(np.uint8), -1) for pixels, _ in random_rows(n, n)]
            for name, n in [("train", 6), ("validation", 3), ("test", 4)]}  # fmt: skip
    dataset = data.load("binarized_mnist", data_dir=prepared("binarized_mnist", rows).dir)
    assert dataset.max_value == 1
    for name, start in [("train", 0), ("validation", 6), ("test", 9)]:
        split = dataset.splits[name]
        np.testing.assert_array_equal(split.pixels_NxD, [pixels.reshape(-1) for pixels, _ in rows[name]])
        np.testing.assert_array_equal(split.index_N, start + np.arange(len(rows[name])))
        assert np.all(split.label_N == -1)
        x_D = data.binarize(jax.random.key(0), split.pixels_NxD[0], max_value=dataset.max_value)
        np.testing.assert_array_equal(x_D, split.pixels_NxD[0])


def test_omniglot_is_white_strokes_on_black_averaged_over_areas(prepared):
    blank = np.full((105, 105, 3), 255, np.uint8)
    stroke = blank.copy()
    stroke[30:75, 15:45] = 0
    rows = {"train": [(stroke, 7)] * 20, "test": [(blank, 3)]}
    dataset = data.load("omniglot", data_dir=prepared("omniglot", rows).dir)
    assert (dataset.image_shape, dataset.max_value) == ((28, 28), 255)
    assert [len(dataset.splits[name].label_N) for name in SPLITS] == [18, 2, 1]
    assert np.all(dataset.splits["test"].pixels_NxD == 0)
    # 105 / 28 = 3.75: the stroke's edges lie at the borders of pixels 8..19 and 4..11.
    expected = np.zeros((28, 28), np.uint8)
    expected[8:20, 4:12] = 255
    np.testing.assert_array_equal(dataset.splits["train"].pixels_NxD[0].reshape(28, 28), expected)
    assert dataset.splits["validation"].label_N.tolist() == [7, 7]


def test_omniglot_keeps_the_mean_of_a_fine_pattern(prepared):
    ink = np.random.RandomState(8).rand(105, 105) < 0.3
    image = np.where(ink, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    rows = {"train": [(image, 0)] * 10, "test": [(image, 0)]}
    pixels_D = data.load("omniglot", data_dir=prepared("omniglot", rows).dir).splits["test"].pixels_NxD[0]
    # A pixel of the result averages 9 to 16 of the source's.
    assert abs(pixels_D.mean() / 255 - ink.mean()) < 5 * np.sqrt(0.3 * 0.7 / (9 * 784))
    assert pixels_D.std() / 255 < 1.5 * np.sqrt(0.3 * 0.7 / 9)


# What a user gets wrong


def one_line(error: pytest.ExceptionInfo) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def test_data_not_prepared_names_the_command(tmp_path):
    with pytest.raises(data.DataError) as error:
        data.load("mnist", data_dir=tmp_path)
    assert f"`python -m vaelab.prepare mnist --data_dir={tmp_path}`" in one_line(error)


def test_data_prepared_in_another_format_is_refused(prepared):
    fake = prepared("kmnist", KMNIST, fileFormat="tfrecord")
    with pytest.raises(data.DataError, match=r"tfrecord.*another --data_dir") as error:
        data.load("kmnist", data_dir=fake.dir)
    one_line(error)


@pytest.mark.parametrize("info", [None, "", "{", "[]", "{}"])
def test_half_prepared_data_is_named_and_refused(info, tmp_path):
    folder = tmp_path / "kmnist" / "3.0.1"
    folder.mkdir(parents=True)
    if info is not None:
        (folder / "dataset_info.json").write_text(info)
    with pytest.raises(data.DataError) as error:
        data.load("kmnist", data_dir=tmp_path)
    assert f"{folder} has no readable dataset_info.json: delete it" in one_line(error)


def test_damaged_records_are_named_and_refused(prepared, monkeypatch):
    fake = prepared("kmnist", KMNIST)

    def read_rows(recipe, split, data_dir):
        yield png(KMNIST["train"][0][0]), 0
        raise RuntimeError("chunk header hash mismatch\nat byte 7")

    monkeypatch.setattr(tfds, "_read_rows", read_rows)
    with pytest.raises(data.DataError, match=r"damaged \(chunk header hash mismatch\): delete it") as error:
        data.load("kmnist", data_dir=fake.dir)
    one_line(error)
    assert not fake.cache.exists()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_images_other_than_the_published_ones_are_refused(name, prepared):
    fake = prepared(name, KMNIST)
    with pytest.raises(data.DataError, match="does not hold the images") as error:
        data.load(name, data_dir=fake.dir)
    one_line(error)
    assert not fake.cache.exists()


# Imports


def run_python(code: str, *args: object) -> str:
    command = [sys.executable, "-c", code, *map(str, args)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def write_array_records(data_dir: Path, images: dict[str, np.ndarray]) -> None:
    """A kmnist data set as TFDS prepares it; image i of a split has the label i."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    folder = data_dir / "kmnist" / "3.0.1"
    folder.mkdir(parents=True)
    prefix = "tensorflow_datasets.core.features."
    image = {"image": {"dtype": "uint8", "shape": {"dimensions": ["28", "28", "1"]}}}
    image["pythonClassName"] = prefix + "image_feature.Image"
    label = {"classLabel": {"numClasses": "10"}, "pythonClassName": prefix + "class_label_feature.ClassLabel"}
    features = {"featuresDict": {"features": {"image": image, "label": label}}}
    features["pythonClassName"] = prefix + "features_dict.FeaturesDict"
    (folder / "features.json").write_text(json.dumps(features))
    splits = []
    for split, images_Nx28x28 in images.items():
        writer = ArrayRecordWriter(
            str(folder / f"kmnist-{split}.array_record-00000-of-00001"), "group_size:1"
        )
        for i, pixels in enumerate(images_Nx28x28):
            example = tf_example_pb2.Example()
            example.features.feature["image"].bytes_list.value.append(png(pixels))
            example.features.feature["label"].int64_list.value.append(i)
            writer.write(example.SerializeToString())
        writer.close()
        template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        lengths = [str(len(images_Nx28x28))]
        splits.append({"name": split, "shardLengths": lengths, "numBytes": "1", "filepathTemplate": template})
    info = {"name": "kmnist", "version": "3.0.1", "fileFormat": "array_record", "splits": splits}
    (folder / "dataset_info.json").write_text(json.dumps(info))


def test_reading_array_records_needs_no_tensorflow_and_import_no_reader(tmp_path):
    images = {
        "train": np.stack([pixels for pixels, _ in random_rows(9, 2)]),
        "test": np.stack([pixels for pixels, _ in random_rows(4, 3)]),
    }
    write_array_records(tmp_path, images)
    code = """
import sys
import numpy as np
from vaelab import data
readers = {"sklearn", "PIL", "tensorflow_datasets", "array_record", "tensorflow"}
assert not readers & {name.split(".")[0] for name in sys.modules}
splits = data.load("kmnist", data_dir=sys.argv[1]).splits
assert "tensorflow" not in sys.modules
np.savez(sys.argv[2], **{f"{name}_{i}": field for name in splits for i, field in enumerate(splits[name])})
"""
    run_python(code, tmp_path, tmp_path / "read.npz")
    with np.load(tmp_path / "read.npz") as read:
        np.testing.assert_array_equal(read["train_0"], images["train"].reshape(9, 784))
        np.testing.assert_array_equal(read["train_1"], np.arange(9))
        np.testing.assert_array_equal(read["test_0"], images["test"].reshape(4, 784))
        np.testing.assert_array_equal(read["test_2"], np.arange(9, 13))


@pytest.mark.parametrize(
    ("data_dir", "line"),
    [
        ("gs://bucket/data", "data_dir='gs://bucket/data': is an address, which is not supported"),
        ("~nobody-of-this-name/data", "needs a home directory, and there is none; give a full path"),
    ],
)
def test_a_data_dir_that_is_no_folder_is_one_clear_line(data_dir, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(data.DataError, match=line) as caught:
        data.load("mnist", data_dir=data_dir)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
