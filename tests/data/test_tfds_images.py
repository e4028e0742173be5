"""Image data sets of tensorflow-datasets by their names, without TensorFlow."""

import json
import sys

import numpy as np
import pytest

from tests.support.records import write_records
from tests.test_prepare import assert_refused, main
from vaelab import data

RANDOM = np.random.RandomState(0)
ROWS = [(RANDOM.randint(0, 256, (5, 4, 3)).astype(np.uint8), i % 2) for i in range(60)]


def load(name, data_dir, **settings):
    return data.load_own(name, data.Settings(data_dir=str(data_dir), **settings))


def whole(dataset):
    splits = dataset.splits.values()
    order = np.argsort(np.concatenate([split.index_N for split in splits]))
    x = np.concatenate([split.pixels_NxD for split in splits])[order]
    return x, np.concatenate([split.label_N for split in splits])[order]


def test_features_splits_and_classes_are_those_that_it_names(tmp_path):
    place = tmp_path / "mine" / "1.10.0"
    parts = {"train": ROWS[:40], "valid": ROWS[40:50], "test": ROWS[50:], "extra": ROWS[:3]}
    write_records(place, parts, image="photo", label="kind", names=("cat", "dog"))
    write_records(tmp_path / "mine" / "1.9.0", {"train": ROWS[:20]})
    dataset = load("tfds:mine", tmp_path)
    assert (dataset.name, dataset.image_shape, dataset.max_value) == ("tfds:mine", (5, 4, 3), 255)
    assert dataset.label_names == ("cat", "dog")
    x, label = whole(dataset)
    np.testing.assert_array_equal(x, [pixels.reshape(-1) for pixels, _ in ROWS])
    np.testing.assert_array_equal(label, np.arange(60) % 2)
    np.testing.assert_array_equal(dataset.splits["validation"].index_N, np.arange(40, 50))
    assert "tensorflow" not in sys.modules
    assert len(load("tfds:mine:1.9.0", tmp_path).splits["train"].index_N) == 16


def test_what_was_held_out_is_tested_on(tmp_path):
    write_records(
        tmp_path / "mine" / "small" / "1.0.0", {"validation": ROWS[40:], "train": ROWS[:40]}, label=None
    )
    dataset = load("tfds:mine/small", tmp_path, image_shape=(5, 4), fractions=(0.6, 0.2, 0.2))
    assert dataset.image_shape == (5, 4)
    assert [len(split.index_N) for split in dataset.splits.values()] == [30, 10, 20]
    assert set(whole(dataset)[1]) == {-1}
    assert data.fingerprint(load("tfds:mine", tmp_path, image_shape=(5, 4), fractions=(0.6, 0.2, 0.2))) == (
        data.fingerprint(dataset)
    )


def refused(name, data_dir, says, **settings):
    with pytest.raises(data.DataError) as caught:
        load(name, data_dir, **settings)
    assert "\n" not in str(caught.value)
    assert says in str(caught.value)


def test_what_cannot_be_read_is_one_line(tmp_path):
    refused(
        "tfds:mine",
        tmp_path,
        f"tfds:mine is not prepared in {tmp_path}: run `python -m vaelab.prepare tfds:mine",
    )
    for config in ("a", "b"):
        write_records(tmp_path / "mine" / config / "1.0.0", {"train": ROWS[:20]})
    refused("tfds:mine", tmp_path, "has several configurations: take tfds:mine/a, tfds:mine/b")
    refused(
        "tfds:mine/a",
        tmp_path,
        "--config.data.label='kind': tfds:mine/a has no such feature; there are image, label",
        label="kind",
    )
    refused("tfds:mine/a", tmp_path, "--config.data.path='x': has no effect on tfds:mine/a", path="x")
    write_records(tmp_path / "other" / "1.0.0", {"unsplit": ROWS[:20]})
    refused("tfds:other", tmp_path, "tfds:other has no split train: it has unsplit")
    write_records(tmp_path / "old" / "1.0.0", {"train": ROWS[:20]}, file_format="tfrecord")
    refused("tfds:old", tmp_path, "holds tfrecord files, which only TensorFlow reads")


def test_images_of_several_sizes_and_damaged_records_are_named(tmp_path):
    place = write_records(tmp_path / "mixed" / "1.0.0", {"train": [*ROWS[:20], (ROWS[0][0][:4], 0)]})
    refused(
        "tfds:mixed",
        tmp_path,
        f"as {place} train, row 0, 5x4 and {place} train, row 20, 4x4; give (height, width, 3)",
    )
    place = write_records(tmp_path / "cut" / "1.0.0", {"train": ROWS[:20]})
    (place / "features.json").write_text("{")
    refused("tfds:cut", tmp_path, f"{place} is damaged (")
    (place / "dataset_info.json").write_text("[")
    refused(
        "tfds:cut", tmp_path, f"delete it and run `python -m vaelab.prepare tfds:cut --data_dir={tmp_path}`"
    )


def test_prepare_says_what_it_is(tmp_path, capsys):
    write_records(tmp_path / "mine" / "1.0.0", {"train": ROWS})
    done = main(capsys, "tfds:mine", "--data_dir", tmp_path)
    assert (
        done.stdout == "tfds:mine: x of 5x4x3, levels 0 to 255, 2 classes: 48 train, 6 validation, 6 test\n"
    )
    assert_refused(
        main(capsys, "tfds:no_such", "--data_dir", tmp_path), "no data set of TFDS (Dataset no_such"
    )
    line = "features that are one image, and must have one: it has label (ClassLabel), text (Text)"
    assert_refused(main(capsys, "tfds:imdb_reviews", "--data_dir", tmp_path), line)
    wrong = main(capsys, "tfds:mine", "--data_dir", tmp_path, "--image_shape", "a,b")
    assert_refused(wrong, "--image_shape=a,b: give integers, as 32,32,3")
    assert json.loads((tmp_path / "mine" / "1.0.0" / "dataset_info.json").read_text())["name"] == "mine"
