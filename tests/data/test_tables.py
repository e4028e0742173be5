"""Tables and counts of cells as real-valued data; what needs a package more."""

import builtins
import sys

import numpy as np
import pytest

from tests.support.files import LABEL, NAMES, REAL, load, one_line, whole
from vaelab import data


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
    one_line(path, f"--config.data.label='town': {path} has no such column; there are x0, x1", label="town")
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
    one_line(
        tmp_path / "a.h5ad",
        "--config.data.label='town': ",
        "has no such column; there are kind",
        label="town",
    )
    kinds = pandas.Categorical([None if i % 3 == 2 else name for i, name in enumerate(NAMES)])
    cells = anndata.AnnData(
        counts.astype(np.int64), obs=pandas.DataFrame({"kind": kinds}, map(str, range(60)))
    )
    cells.write_h5ad(tmp_path / "b.h5ad")
    dataset = load(tmp_path / "b.h5ad", label="kind")
    assert (dataset.max_value, dataset.label_names) == (data.REAL, ("a", "b"))
    np.testing.assert_array_equal(whole(dataset)[1] == -1, np.arange(60) % 3 == 2)
    (tmp_path / "a.h5ad").write_bytes((tmp_path / "a.h5ad").read_bytes()[:500])
    one_line(tmp_path / "a.h5ad", "a.h5ad cannot be read (")


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


def test_the_index_of_pandas_is_no_dimension(tmp_path):
    """As its to_csv and to_parquet write it, after a shuffle too."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    shuffled = np.random.RandomState(0).permutation(60)
    for name in ("", "Unnamed: 0", "__index_level_0__"):
        dataset = load(csv(tmp_path / "a.csv", {name: shuffled} | columns()))
        assert dataset.notes == (f"the column {name!r} is an index of the rows, and left out",)
        np.testing.assert_array_equal(whole(dataset)[0], REAL.astype(np.float32))
    parquet.write_table(pyarrow.table(columns(__index_level_0__=shuffled)), tmp_path / "a.parquet")
    np.testing.assert_array_equal(whole(load(tmp_path / "a.parquet"))[0], REAL.astype(np.float32))
    dataset = load(csv(tmp_path / "a.csv", columns(id=np.arange(1, 61))))
    assert dataset.image_shape == (8,)
    assert dataset.notes == (
        "the column 'id' counts the rows, and is taken into x: if it is an index, leave it out",
    )
    assert load(csv(tmp_path / "a.csv", {"": REAL[:, 0]} | columns())).image_shape == (8,)


def test_the_header_may_have_spaces_and_labels_may_be_missing(tmp_path):
    pytest.importorskip("pyarrow")
    names = [name if i % 5 else "" for i, name in enumerate(NAMES)]
    dataset = load(csv(tmp_path / "a.csv", {f" {name} ": c for name, c in columns(label=names).items()}))
    assert (dataset.image_shape, dataset.label_names) == ((7,), ("a", "b", "c"))
    assert dataset.notes == ("12 of the 60 examples have no label",)
    np.testing.assert_array_equal(whole(dataset)[1] == -1, np.arange(60) % 5 == 0)


def test_columns_that_are_no_numbers_are_named_with_what_they_are(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from decimal import Decimal

    from pyarrow import parquet

    holes = csv(tmp_path / "holes.csv", columns(y=["?" if i == 4 else i for i in range(60)]))
    one_line(holes, "the column 'y' holds no numbers ('?')")
    for separator, called in ((";", "semicolons"), ("\t", "tabs")):
        text = csv(tmp_path / "a.csv", columns()).read_text().replace(",", separator)
        (tmp_path / "b.csv").write_text(text)
        one_line(tmp_path / "b.csv", f"has its columns apart by {called}: write it anew, with commas")
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"e": [list(map(float, range(300)))] * 60}), path)
    one_line(path, "the column 'e' holds no numbers (of type list<", "give a column for each number")
    decimals = [Decimal(i).scaleb(-2) for i in range(60)]
    parquet.write_table(pyarrow.table({"a": REAL[:, 0], "b": decimals}), path)
    np.testing.assert_allclose(whole(load(path))[0][:, 1], np.arange(60) / 100, rtol=1e-6)
    parquet.write_table(pyarrow.table({"a": REAL[:, 0], "b": [True, None] * 30}), path)
    one_line(path, "row 1 holds 1 numbers that are nan")
