"""Real-valued data from tables, and from matrices of counts of cells."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.data.arrays import make
from vaelab.data.settings import Settings
from vaelab.data.sources import DataError, DataSet, first_line, folder

LABEL = "label"  # the column of the labels where none is named


def load_table(settings: Settings) -> DataSet:
    """A csv or parquet file: a row for each example, a column of numbers for each dimension.

    The column settings.label, or `label` where there is one, holds the classes. Raises DataError.
    """
    path = folder(settings.path, "path")
    columns = _columns(path)
    name = _label_name(list(columns), settings.label, path)
    label_N = columns.pop(name) if name else None
    if not columns:
        raise DataError(f"{path} has no columns of numbers: give one for each dimension")
    for column, values_N in columns.items():
        if values_N.dtype.kind not in "buif":
            fix = f"leave it out, or name it by --config.data.label={column} if it is the label"
            raise DataError(f"{path}: the column {column!r} holds no numbers ({values_N[0]!r}): {fix}")
    x_NxD = np.stack([values_N.astype(np.float64) for values_N in columns.values()], axis=1)
    return _made(x_NxD, label_N, settings)


def load_cells(settings: Settings) -> DataSet:
    """An h5ad file of anndata: X, a row for each cell; the classes are the column settings.label of obs.

    Raises DataError, also where anndata is not installed.
    """
    path = folder(settings.path, "path")
    try:
        import anndata
    except ImportError:
        raise DataError(f"{path} needs anndata: run `pip install anndata`") from None
    try:
        cells = anndata.read_h5ad(path)
    except Exception as error:
        # Broad, for HDF5 raises exceptions of many kinds.
        raise DataError(f"{path} cannot be read ({first_line(error)}): write it anew, by anndata") from error
    if cells.X is None:
        raise DataError(f"{path} has no X: give the counts there")
    name = _label_name(list(cells.obs.columns), settings.label, path)
    x_NxD = cells.X.toarray() if hasattr(cells.X, "toarray") else np.asarray(cells.X)
    label_N = np.asarray(cells.obs[name].astype(str) if name else []) if name else None
    return _made(x_NxD.astype(np.float32), label_N, settings)


def _made(x_NxD: np.ndarray, label_N: np.ndarray | None, settings: Settings) -> DataSet:
    return make(
        "file",
        {"train": x_NxD},
        {"train": label_N},
        fractions=settings.fractions,
        image_shape=settings.image_shape,
        max_value=settings.max_value,
        memory_bytes=settings.memory_bytes,
    )


def _label_name(columns: Sequence[str], label: str, path: Path) -> str | None:
    """The column with the labels, if there is one. Raises DataError where one is named that is not there."""
    if label and label not in columns:
        few = ", ".join(columns[:8])
        fix = f"there are {few}{', ...' * (len(columns) > 8)}"
        raise DataError.of(setting="data.label", value=label, problem=f"{path} has no such column", fix=fix)
    return label or (LABEL if LABEL in columns else None)


def _columns(path: Path) -> dict[str, np.ndarray]:
    """The columns by name, missing numbers as nan."""
    try:
        import pyarrow
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError:
        raise DataError(f"{path} needs pyarrow: run `pip install pyarrow`") from None
    try:
        if path.suffix.lower() == ".parquet":
            table = pyarrow.parquet.read_table(path)
        else:
            table = pyarrow.csv.read_csv(path)
            if all(map(_is_number, table.column_names)):  # the first row of a file without names
                options = pyarrow.csv.ReadOptions(autogenerate_column_names=True)
                table = pyarrow.csv.read_csv(path, read_options=options)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({first_line(error)}): mend it") from error
    if len(set(table.column_names)) < len(table.column_names):
        raise DataError(f"{path} has two columns of one name: give each its own")
    if not table.num_rows:
        raise DataError(f"{path} holds no examples")
    return {name: _as_numpy(table[name]) for name in table.column_names}


def _as_numpy(column: Any) -> np.ndarray:
    return column.to_numpy()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
