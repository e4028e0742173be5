"""Counts of genes in cells, made as single-cell data are modelled: what made them is known."""

import os

import numpy as np

from vaelab.data.sources import REAL, DataSet, Split

NUM_CELLS, NUM_GENES, NUM_TYPES = 2000, 80, 5


def load(data_dir: str | os.PathLike[str]) -> DataSet:
    """1,200 cells to train on, 400 for validation and 400 to test, of 80 genes; data_dir is not used.

    x_j ~ Poisson(l p_j g_j), g_j ~ Gamma of mean 1 and shape t_j: negative binomial with mean l p_j. l is
    log-normal, about 600; p is the softmax of a gene's level, an effect of the cell's type (the label) on
    one gene in five, and two continuous factors of a cell.
    """
    del data_dir
    random = np.random.RandomState(0)  # whose stream is frozen for good
    label_N = random.randint(0, NUM_TYPES, NUM_CELLS).astype(np.int32)
    level_G = random.normal(0.0, 1.0, NUM_GENES)
    touched_TxG = random.random_sample((NUM_TYPES, NUM_GENES)) < 0.2
    effect_TxG = np.where(touched_TxG, random.normal(0.0, 1.2, (NUM_TYPES, NUM_GENES)), 0.0)
    factor_NxF = random.normal(0.0, 1.0, (NUM_CELLS, 2))
    loading_FxG = random.normal(0.0, 0.3, (2, NUM_GENES))
    logit_NxG = level_G + effect_TxG[label_N] + factor_NxF @ loading_FxG
    part_NxG = np.exp(logit_NxG - logit_NxG.max(axis=1, keepdims=True))
    part_NxG /= part_NxG.sum(axis=1, keepdims=True)
    size_N = np.exp(random.normal(np.log(600.0), 0.4, NUM_CELLS))
    shape_G = np.exp(random.normal(1.0, 0.5, NUM_GENES))
    gamma_NxG = random.standard_gamma(np.broadcast_to(shape_G, part_NxG.shape)) / shape_G
    x_NxD = random.poisson(size_N[:, None] * part_NxG * gamma_NxG).astype(np.float32)
    index_N = np.arange(NUM_CELLS, dtype=np.int32)
    rows = {"train": slice(0, 1200), "validation": slice(1200, 1600), "test": slice(1600, NUM_CELLS)}
    splits = {name: Split(x_NxD[at], label_N[at], index_N[at]) for name, at in rows.items()}
    return DataSet("made_cells", (NUM_GENES,), REAL, splits)
