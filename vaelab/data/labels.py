"""Labels as class numbers."""

from collections.abc import Mapping

import numpy as np

from vaelab.data.sources import DataError

NONE = -1  # of an example without a label


def class_numbers(
    counts: Mapping[str, int], labels: Mapping[str, np.ndarray | None]
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """(label_N int32 of each split, the names of the classes where labels are names).

    counts: how many examples each split has. labels: integers, or names, which are numbered in their order;
    -1, None and, among names, NaN and "" are no label. Raises DataError for labels of another length, for
    what is no class, and for a class for each example.
    """
    given = {split: np.asarray(label) for split, label in labels.items() if label is not None}
    for split, label_N in given.items():
        given[split] = _checked(split, label_N, counts[split])
    names: tuple[str, ...] = ()
    if any(label_N.dtype.kind == "O" for label_N in given.values()):
        known = {split: np.array([one is not None for one in label_N]) for split, label_N in given.items()}
        texts = [label_N[known[split]].astype(str) for split, label_N in given.items()]
        classes = np.unique(np.concatenate(texts))
        names = tuple(map(str, classes))
        for (split, label_N), text_M in zip(list(given.items()), texts, strict=True):
            given[split] = np.full(len(label_N), NONE)
            given[split][known[split]] = np.searchsorted(classes, text_M)
    if given:
        _check_number(np.concatenate(list(given.values())))
    return {
        split: np.asarray(given.get(split, np.full(count, NONE)), np.int32) for split, count in counts.items()
    }, names


def _checked(split: str, label_N: np.ndarray, count: int) -> np.ndarray:
    """The labels as [N], of integers, or of texts and None as objects."""
    if label_N.ndim == 2 and label_N.shape[1] == 1:
        label_N = label_N[:, 0]
    if label_N.ndim != 1:
        line = f"the labels of {split} have the shape {label_N.shape}"
        raise DataError(f"{line}: give the number of a class for each example, [{count}]")
    if len(label_N) != count:
        raise DataError(f"{split} has {count} examples and {len(label_N)} labels: give a label for each")
    label_N = _plain(label_N)
    if label_N.dtype.kind not in "biufO":
        raise DataError(f"the labels of {split} are {label_N.dtype}: give integers, or names")
    if label_N.dtype.kind == "f":
        whole_N = np.isfinite(label_N) & (label_N == np.rint(label_N))
        if not whole_N.all():
            bad = label_N[~whole_N][0]
            fix = "give integers, or names; -1 is no label"
            raise DataError(f"the labels of {split} are no classes ({bad:g}): {fix}")
        label_N = label_N.astype(np.int64)
    if label_N.dtype.kind in "iu" and (label_N.min() < NONE or label_N.max() >= 2**31):
        bad = label_N.min() if label_N.min() < NONE else label_N.max()
        raise DataError(f"the labels of {split} hold {bad}: classes are 0 or more, and -1 is no label")
    return label_N


def _plain(label_N: np.ndarray) -> np.ndarray:
    """Texts as objects, what is no label among them as None; integers among objects as integers."""
    if label_N.dtype.kind == "S":
        label_N = np.char.decode(label_N, "utf-8", "backslashreplace")
    if label_N.dtype.kind not in "UO":
        return label_N
    # A missing one is not equal to itself, as NaN, or says nothing of being so, as NA of pandas.
    objects_N = np.array([None if _is_missing(one) else one for one in label_N.tolist()], object)
    known = [one for one in objects_N if one is not None]
    if known and all(isinstance(one, int | np.integer) or _is_whole(one) for one in known):
        return np.array([NONE if one is None else int(one) for one in objects_N])
    return objects_N


def _is_whole(label: object) -> bool:
    return isinstance(label, float) and label.is_integer()


def _is_missing(label: object) -> bool:
    try:
        return label is None or bool(label == "") or bool(label != label)
    except TypeError:
        return True


def _check_number(label_N: np.ndarray) -> None:
    """Raises DataError where there are as many classes as examples."""
    classes = np.unique(label_N[label_N != NONE])
    if len(label_N) > FEW and len(classes) >= len(label_N):
        line = f"{len(label_N)} examples have {len(classes)} different labels"
        raise DataError(f"{line}, one each: labels are classes of several examples; leave them out")


FEW = 10  # examples that may well have a class each
