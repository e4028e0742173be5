"""Made counts of cells: overdispersed as they are said to be, with types and library sizes."""

import numpy as np
import pytest

from vaelab import data
from vaelab.data import made_cells


@pytest.fixture(scope="module")
def cells():
    return made_cells.load("")


def test_they_are_whole_counts_and_every_cell_has_some(cells):
    for split in cells.splits.values():
        x_NxD = split.pixels_NxD
        assert np.array_equal(x_NxD, np.rint(x_NxD))
        assert x_NxD.min() >= 0.0
        assert np.sum(x_NxD, axis=1).min() > 50.0
    assert cells.max_value == data.REAL


def test_counts_vary_more_than_poisson_and_library_sizes_by_a_factor(cells):
    train = cells.splits["train"]
    totals_N = np.sum(train.pixels_NxD, axis=1)
    low, high = np.quantile(totals_N, [0.05, 0.95])
    assert high / low > 2.5
    # Of one type, with the library size divided out.
    x_MxD = train.pixels_NxD[train.label_N == 0] / totals_N[train.label_N == 0][:, None] * np.mean(totals_N)
    mean_D, variance_D = np.mean(x_MxD, axis=0), np.var(x_MxD, axis=0)
    assert np.mean(variance_D[mean_D > 5.0] > 1.5 * mean_D[mean_D > 5.0]) > 0.9


def test_types_have_profiles_of_their_own(cells):
    train, test = cells.splits["train"], cells.splits["test"]

    def parts(split):
        return split.pixels_NxD / np.sum(split.pixels_NxD, axis=1, keepdims=True)

    means = np.stack([np.mean(parts(train)[train.label_N == t], axis=0) for t in range(5)])
    away_NxT = np.sum((np.sqrt(parts(test))[:, None] - np.sqrt(means)[None]) ** 2, axis=2)
    assert np.mean(np.argmin(away_NxT, axis=1) == test.label_N) > 0.9
