"""Data sets with fixed splits and stable indices, and the observation x of a stored example."""

from vaelab.data.observe import batch_indices, binarize, dequantize, identity, rescale
from vaelab.data.sources import (
    DEFAULT_DATA_DIR,
    NAMES,
    SPLITS,
    DataError,
    DataSet,
    Split,
    builder,
    check_name,
    first_line,
    is_prepared,
    load,
)

__all__ = [
    "DEFAULT_DATA_DIR",
    "NAMES",
    "SPLITS",
    "DataError",
    "DataSet",
    "Split",
    "batch_indices",
    "binarize",
    "builder",
    "check_name",
    "dequantize",
    "first_line",
    "identity",
    "is_prepared",
    "load",
    "rescale",
]
