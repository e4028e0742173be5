"""Real-valued data from tables, and from matrices of counts of cells."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.data.arrays import make
from vaelab.data.settings import Settings
from vaelab.data.sources import DataError, DataSet, first_line, folder

LABEL = "label"  # the column of the labels where none is named
INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")  # of a column that pandas writes its index into
SEPARATORS = {";": "semicolons", "\t": "tabs"}


def load_table(settings: Settings) -> DataSet:
    """A csv or parquet file: a row for each example, a column of numbers for each dimension.

    The column settings.label, or `label` where there is one, holds the classes. Raises DataError.
    """
    path = folder(settings.path, "path")
    columns = _columns(path)
    name = _label_name(list(columns), settings.label, path)
    label_N = np.array(columns.pop(name).to_pylist(), object) if name else None
    columns, notes = _without_index({name: _numbers(path, name, each) for name, each in columns.items()})
    if not columns:
        raise DataError(f"{path} has no columns of numbers: give one for each dimension")
    return _made(np.stack(list(columns.values()), axis=1), label_N, settings, notes)


def _numbers(path: Path, name: str, column: Any) -> np.ndarray:
    """float64 [N], missing ones as nan. Raises DataError for a column of anything else."""
    import pyarrow

    kind, types = column.type, pyarrow.types
    if types.is_floating(kind) or types.is_integer(kind) or types.is_null(kind):
        return column.to_numpy().astype(np.float64)
    if types.is_boolean(kind) or types.is_decimal(kind):
        return np.array([np.nan if one is None else float(one) for one in column.to_pylist()])
    fix = f"leave it out, or name it by --config.data.label={name} if it is the label"
    what = f"of type {kind}"
    if types.is_string(kind) or types.is_large_string(kind):
        text = next((one for one in column.to_pylist() if one is not None and not _is_number(one)), "")
        what = repr(text if len(text) < 40 else f"{text[:36]}...")
    elif types.is_nested(kind):
        fix = "give a column for each number"
    raise DataError(f"{path}: the column {name!r} holds no numbers ({what}): {fix}")


def _without_index(columns: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """(the columns but for the index of pandas, notes on what was left out, and on what looks like one)."""
    kept, notes = {}, []
    for name, values_N in columns.items():
        whole = len(np.unique(values_N)) == len(values_N) > 1 and np.array_equal(values_N, np.rint(values_N))
        if INDEX.fullmatch(name) and whole:
            notes.append(f"the column {name!r} is an index of the rows, and left out")
            continue
        if whole and (np.diff(values_N) == 1).all():
            notes.append(
                f"the column {name!r} counts the rows, and is taken into x: if it is an index, leave it out"
            )
        kept[name] = values_N
    return kept, tuple(notes)


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
    label_N = np.array(cells.obs[name].tolist(), object) if name else None
    # Integers would be levels of pixels.
    return _made(x_NxD if x_NxD.dtype.kind == "f" else x_NxD.astype(np.float64), label_N, settings)


def _made(
    x_NxD: np.ndarray, label_N: np.ndarray | None, settings: Settings, notes: Sequence[str] = ()
) -> DataSet:
    return make(
        "file",
        {"train": x_NxD},
        {"train": label_N},
        fractions=settings.fractions,
        image_shape=settings.image_shape,
        max_value=settings.max_value,
        memory_bytes=settings.memory_bytes,
        notes=notes,
    )


def _label_name(columns: Sequence[str], label: str, path: Path) -> str | None:
    """The column with the labels, if there is one. Raises DataError where one is named that is not there."""
    if label and label not in columns:
        few = ", ".join(columns[:8])
        fix = f"there are {few}{', ...' * (len(columns) > 8)}"
        raise DataError.of(setting="data.label", value=label, problem=f"{path} has no such column", fix=fix)
    return label or (LABEL if LABEL in columns else None)


def _columns(path: Path) -> dict[str, Any]:
    """The columns by name, without spaces around it."""
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
    names = [name.strip() for name in table.column_names]
    for separator, called in SEPARATORS.items():
        if len(names) == 1 and separator in names[0]:
            raise DataError(f"{path} has its columns apart by {called}: write it anew, with commas")
    if len(set(names)) < len(names):
        raise DataError(f"{path} has two columns of one name: give each its own")
    if not table.num_rows:
        raise DataError(f"{path} holds no examples")
    return dict(zip(names, table.columns, strict=True))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
