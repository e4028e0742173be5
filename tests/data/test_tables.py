"""Tables and counts of cells as real-valued data; data sets of Hugging Face; what needs a package more."""

import builtins
import sys

import numpy as np
import pytest

from tests.data.test_file import COLOUR, LABEL, REAL, load, one_line, whole
from vaelab import data

NAMES = np.array(["b", "a", "c"])[np.arange(60) % 3]


def csv(path, columns):
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def columns(**more):
    return {f"x{i}": REAL[:, i] for i in range(REAL.shape[1])} | more


def test_a_table_is_its_columns_of_numbers(tmp_path):
    pytest.importorskip("pyarrow")
    dataset = load(csv(tmp_path / "a.csv", columns(kind=NAMES)), label="kind")
    assert (dataset.image_shape, dataset.max_value, dataset.label_names) == ((7,), data.REAL, ("a", "b", "c"))
    x, label = whole(dataset)
    np.testing.assert_array_equal(x, REAL.astype(np.float32))
    np.testing.assert_array_equal(np.array(["a", "b", "c"])[label], NAMES)
    # Whole numbers of a table are numbers still, unless they are said to be levels.
    counts = csv(tmp_path / "counts.csv", {"a": LABEL * 70, "label": LABEL})
    assert load(counts).max_value == data.REAL
    assert load(counts, max_value=210).max_value == 210
    np.testing.assert_array_equal(whole(load(counts))[1], LABEL)


def test_parquet_is_the_same_table(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns(label=LABEL)), tmp_path / "a.parquet")
    other = load(csv(tmp_path / "a.csv", columns(label=LABEL)))
    assert data.fingerprint(load(tmp_path / "a.parquet")) == data.fingerprint(other)
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-10])
    one_line(tmp_path / "a.parquet", "a.parquet cannot be read (")


def test_the_first_row_of_a_table_without_names_is_an_example(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.csv"
    path.write_text("\n".join(",".join(map(str, row)) for row in REAL) + "\n")
    np.testing.assert_array_equal(whole(load(path))[0], REAL.astype(np.float32))


def test_tables_that_cannot_be_data(tmp_path):
    pytest.importorskip("pyarrow")
    path = csv(tmp_path / "a.csv", columns(city=NAMES))
    one_line(
        path, "the column 'city' holds no numbers ('b'): leave it out, or name it by --config.data.label=city"
    )
    one_line(path, "has no column --config.data.label=town: there are x0, x1", label="town")
    path = csv(tmp_path / "hole.csv", columns(y=["" if i == 4 else i for i in range(60)]))
    one_line(path, "row 4 holds 1 numbers that are nan")
    one_line(csv(tmp_path / "none.csv", {"a": [], "b": []}), "holds no examples")
    (tmp_path / "empty.csv").touch()
    one_line(tmp_path / "empty.csv", "empty.csv cannot be read (")
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3\n")
    one_line(tmp_path / "ragged.csv", "ragged.csv cannot be read (")


def test_counts_of_cells(tmp_path):
    anndata = pytest.importorskip("anndata")
    import pandas
    from scipy import sparse

    counts = np.random.RandomState(0).poisson(0.5, (60, 7)).astype(np.float32)
    cells = anndata.AnnData(
        sparse.csr_matrix(counts), obs=pandas.DataFrame({"kind": NAMES}, map(str, range(60)))
    )
    cells.write_h5ad(tmp_path / "a.h5ad")
    dataset = load(tmp_path / "a.h5ad", label="kind")
    assert (dataset.max_value, dataset.label_names) == (data.REAL, ("a", "b", "c"))
    x, label = whole(dataset)
    np.testing.assert_array_equal(x, counts)
    np.testing.assert_array_equal(np.array(["a", "b", "c"])[label], NAMES)
    one_line(tmp_path / "a.h5ad", "has no column --config.data.label=town: there are kind", label="town")
    (tmp_path / "a.h5ad").write_bytes((tmp_path / "a.h5ad").read_bytes()[:500])
    one_line(tmp_path / "a.h5ad", "a.h5ad cannot be read (")


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
    with pytest.raises(data.DataError, match=r"cannot be read by load_from_disk \(") as caught:
        data.load_own(f"hf:{tmp_path}", data.Settings())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "package"), [("a.csv", "pyarrow"), ("a.h5ad", "anndata"), ("a_folder", "datasets")]
)
def test_a_package_that_is_not_there_is_named(name, package, tmp_path, monkeypatch):
    path, original = tmp_path / name, builtins.__import__
    path.touch()

    def absent(module, *rest):
        if module.partition(".")[0] == package:
            raise ImportError(module)
        return original(module, *rest)

    for module in [module for module in sys.modules if module.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(data.DataError, match=rf"run `pip install {package}`"):
        data.load_own("huggingface" if package == "datasets" else "file", data.Settings(path=str(path)))
