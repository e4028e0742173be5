"""The 1,797 handwritten digits of 8x8 pixels that come with scikit-learn."""

import os

import numpy as np

from vaelab.data.sources import DataSet, Split


def load(data_dir: str | os.PathLike[str]) -> DataSet:
    """1,257 examples to train on, 180 for validation and 360 to test; data_dir is not used."""
    del data_dir
    from sklearn.datasets import load_digits

    pixels_NxD, label_N = load_digits(return_X_y=True)
    # RandomState's stream is frozen for good, unlike that of numpy's newer Generator.
    order_N = np.random.RandomState(0).permutation(len(label_N)).astype(np.int32)
    rows = {"train": order_N[540:], "validation": order_N[360:540], "test": order_N[:360]}
    splits = {
        split: Split(pixels_NxD[rows_M].astype(np.uint8), label_N[rows_M].astype(np.int32), rows_M)
        for split, rows_M in rows.items()
    }
    return DataSet("digits", (8, 8), 16, splits)
