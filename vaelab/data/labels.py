"""Labels as class numbers."""

from collections.abc import Mapping

import numpy as np

from vaelab.data.sources import DataError

NONE = -1  # of an example without a label


def class_numbers(
    counts: Mapping[str, int], labels: Mapping[str, np.ndarray | None]
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """(label_N int32 of each split, the names of the classes where labels are names).

    counts: how many examples each split has. labels: integers, or names, which are numbered in their order.
    Raises DataError for labels of another length, for what is no class, and for a class for each example.
    """
    given = {split: np.asarray(label) for split, label in labels.items() if label is not None}
    for split, label_N in given.items():
        given[split] = _checked(split, label_N, counts[split])
    names: tuple[str, ...] = ()
    if any(label_N.dtype.kind in "SUO" for label_N in given.values()):
        texts = {split: label_N.astype(str) for split, label_N in given.items()}
        classes = np.unique(np.concatenate(list(texts.values())))
        names = tuple(map(str, classes))
        given = {split: np.searchsorted(classes, text_N) for split, text_N in texts.items()}
    if given:
        _check_number(np.concatenate(list(given.values())))
    return {
        split: np.asarray(given.get(split, np.full(count, NONE)), np.int32) for split, count in counts.items()
    }, names


def _checked(split: str, label_N: np.ndarray, count: int) -> np.ndarray:
    """The labels as [N], of integers or texts."""
    if label_N.ndim == 2 and label_N.shape[1] == 1:
        label_N = label_N[:, 0]
    if label_N.ndim != 1:
        line = f"the labels of {split} have the shape {label_N.shape}"
        raise DataError(f"{line}: give the number of a class for each example, [{count}]")
    if len(label_N) != count:
        raise DataError(f"{split} has {count} examples and {len(label_N)} labels: give a label for each")
    if label_N.dtype.kind == "f":
        if not np.array_equal(label_N, np.rint(label_N)):
            bad = label_N[label_N != np.rint(label_N)][0]
            raise DataError(f"the labels of {split} are no classes ({bad:g}): give integers, or names")
        label_N = label_N.astype(np.int64)
    if label_N.dtype.kind in "iu" and (label_N.min() < NONE or label_N.max() >= 2**31):
        bad = label_N.min() if label_N.min() < NONE else label_N.max()
        raise DataError(f"the labels of {split} hold {bad}: classes are 0 or more, and -1 is no label")
    return label_N


def _check_number(label_N: np.ndarray) -> None:
    """Raises DataError where there are as many classes as examples."""
    classes = np.unique(label_N[label_N != NONE])
    if len(label_N) > FEW and len(classes) >= len(label_N):
        line = f"{len(label_N)} examples have {len(classes)} different labels"
        raise DataError(f"{line}, one each: labels are classes of several examples; leave them out")


FEW = 10  # examples that may well have a class each
