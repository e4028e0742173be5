"""Data sets that the library of Hugging Face has saved."""

import numpy as np
import pytest

from tests.support.files import COLOUR, LABEL, NAMES, REAL, whole
from vaelab import data
from vaelab.data import huggingface


def test_data_sets_of_hugging_face(tmp_path):
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    features = datasets.Features(
        {
            "image": datasets.Image(),
            "kind": datasets.ClassLabel(names=["cat", "dog"]),
            "text": datasets.Value("string"),
        }
    )

    def rows(part):
        images = [Image.fromarray(image) for image in COLOUR[part]]
        columns = {"image": images, "kind": (np.arange(60) % 2)[part], "text": NAMES[part]}
        return datasets.Dataset.from_dict(columns, features=features)

    parts = {"train": rows(slice(0, 40)), "test": rows(slice(40, 60))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "d")
    dataset = data.load_own(f"hf:{tmp_path / 'd'}", data.Settings())
    assert (dataset.image_shape, dataset.label_names) == ((6, 5, 3), ("cat", "dog"))
    x, label = whole(dataset)
    np.testing.assert_array_equal(x, COLOUR.reshape(60, -1))
    np.testing.assert_array_equal(label, np.arange(60) % 2)
    np.testing.assert_array_equal(dataset.splits["test"].index_N, np.arange(40, 60))
    again = data.load_own("huggingface", data.Settings(path=str(tmp_path / "d")))
    assert data.fingerprint(again) == data.fingerprint(dataset)
    datasets.Dataset.from_dict({"x": REAL.tolist(), "y": LABEL}).save_to_disk(tmp_path / "x")
    real = data.load_own(f"hf:{tmp_path / 'x'}", data.Settings(label="y"))
    np.testing.assert_array_equal(whole(real)[0], REAL.astype(np.float32))
    np.testing.assert_array_equal(whole(real)[1], LABEL)
    ragged = [[1.0] * (3 + i % 2) for i in range(60)]
    datasets.Dataset.from_dict({"x": ragged}).save_to_disk(tmp_path / "r")
    with pytest.raises(data.DataError, match=r"r: x in train holds lists of several lengths"):
        data.load_own(f"hf:{tmp_path / 'r'}", data.Settings())
    one = datasets.Dataset.from_dict({"x": REAL.tolist()})
    datasets.DatasetDict({"train": one, "more": one}).save_to_disk(tmp_path / "s")
    assert data.load_own(f"hf:{tmp_path / 's'}", data.Settings()).notes == (
        f"the splits more of {tmp_path / 's'} are left out",
    )
    with pytest.raises(data.DataError, match=r"cannot be read by load_from_disk \(") as caught:
        data.load_own(f"hf:{tmp_path}", data.Settings())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "valid", "test"), {"train": "train", "validation": "valid", "test": "test"}),
        (("train", "dev"), {"train": "train", "test": "dev"}),  # what was held out is what is tested on
        (("unsupervised", "train"), {"train": "train"}),
    ],
)
def test_splits_of_other_names_are_ours(names, splits):
    assert huggingface._splits({name: name for name in names}, "d") == splits


def test_a_data_set_without_train_or_with_two_columns_of_arrays_is_one_line(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"x": REAL.tolist(), "z": REAL.tolist()})
    rows.save_to_disk(tmp_path / "two")
    datasets.DatasetDict({"test": rows}).save_to_disk(tmp_path / "test_alone")
    for name, says in (
        ("two", "must have one column of images, or of arrays: it has x ("),
        ("test_alone", "has no split train: it has test"),
    ):
        with pytest.raises(data.DataError) as caught:
            data.load_own(f"hf:{tmp_path / name}", data.Settings())
        assert says in str(caught.value)
