"""Whether splits that were given one by one share examples, and whether one holds some of them twice."""

from collections.abc import Mapping

import numpy as np

from vaelab.data.rows import blocks, release
from vaelab.data.sources import DataError

COLUMNS = 4096  # of a row at most, evenly spaced, are compared
SHARE = 0.05  # of a split that may be in another beyond what repeats within one


def check_overlap(arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Raises DataError where examples of one split are in another, too; a note where few are.

    Data of few values repeat by themselves: what counts is by how much more of the smaller split is in the
    larger one than of the larger one is in itself twice. Where one array is yet to be divided there is a note
    on those that repeat.
    """
    keys = {split: _keys(array) for split, array in arrays.items()}
    splits, notes = list(arrays), []
    if len(splits) == 1:
        (of_all,) = keys.values()
        repeated = len(of_all) - len(np.unique(of_all))
        line = f"{repeated} of the {len(of_all)} examples repeat others"
        return (f"{line}: splits drawn from them may share some",) if repeated else ()
    for i, one in enumerate(splits):
        for other in splits[i + 1 :]:
            small, large = sorted((one, other), key=lambda split: len(keys[split]))
            shared = int(np.isin(keys[small], keys[large]).sum())
            if shared > max(1.0, _expected(keys[large], len(keys[small]))):
                line = f"{shared} of the {len(keys[small])} {small} examples are in {large} too"
                raise DataError(f"{line}: splits must not overlap; leave them out of one")
            if shared:
                notes.append(f"{shared} of the {len(keys[small])} {small} examples are in {large} too")
    return tuple(notes)


def _expected(keys: np.ndarray, count: int) -> float:
    """The most of `count` other examples that may be among these as the data repeat, and a SHARE of them."""
    _, times = np.unique(keys, return_counts=True)
    repeated = (times[times > 1].sum() + 1) / (len(keys) + 2)
    stderr = np.sqrt(repeated * (1 - repeated) * (1 / count + 1 / len(keys)))
    return count * (repeated + 5 * stderr + SHARE)


def _keys(array: np.ndarray) -> np.ndarray:
    """A number for each row, the same for equal rows and for others, but for one pair in 2^50 or so, not."""
    size = int(np.prod(array.shape[1:]))
    columns = np.unique(np.linspace(0, size - 1, min(size, COLUMNS)).astype(int))
    random = np.random.RandomState(0)
    weights = random.randint(0, 2**62, len(columns), dtype=np.int64).astype(np.uint64) * np.uint64(
        2
    ) + np.uint64(1)
    keys = np.empty(len(array), np.uint64)
    for rows in blocks(len(array), 8 * len(columns)):
        part = np.asarray(array[rows]).reshape(rows.stop - rows.start, size)[:, columns]
        release(array)
        bits = part.astype(np.float64).view(np.uint64) if part.dtype.kind == "f" else part.astype(np.uint64)
        # Low bits of floats with few digits are 0, and would be so in each product.
        keys[rows] = ((bits ^ (bits >> np.uint64(33))) * weights).sum(axis=1, dtype=np.uint64)
    return keys
