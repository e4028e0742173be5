"""Numbers in x that `sample` never gives: p(x given z) is 0 there, whatever the density says.

Compared with draws at the z of many datapoints, dimension by dimension. What is rare, or somewhat beyond the
draws, is no such number; what lies between the values of a lattice is, and what lies beyond an end at which
the draws pile up instead of thinning out.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.audit.checked import Check
from vaelab.audit.given import AuditError, Given
from vaelab.audit.marginals import lattice
from vaelab.audit.probes import Lines
from vaelab.runtime.chunks import map_datapoints
from vaelab.runtime.devices import take
from vaelab.runtime.memory import Memory
from vaelab.types import Array, Key, Params

DRAWS = 8192
NUMBERS = 20_000_000  # of all draws together
ENDED = 20.0  # draws beyond an end, had it been a tail: with none, the end is one
AT_ZERO = 10.0  # likewise at 0
# Gaps between the order statistics at an end: alike where the density ends there, shrinking along a tail.
HARD, HARD_AT_ZERO = 2.0, 3.0
REPEATS = 0.1  # share of draws that are equal to another: a smooth dimension has fewer


class Outside(NamedTuple):
    """A number of x that is never drawn, and how many such there are; what was drawn in its dimension."""

    value: float
    row: int
    dimension: int
    count: int
    drawn: str


def check_outside(
    given: Given, x: Any, z_NxK: np.ndarray, key: Key, lines: Lines, *, chunk_size: int | Memory = 1000
) -> None:
    """Compares x with draws of sample at the z of its datapoints and of N(0, I). Raises AuditError."""
    size = sum(a[0].size for a in jax.tree.leaves(x))
    num_draws = int(min(DRAWS, max(NUMBERS // max(size, 1), 256)))
    which_M = np.arange(num_draws) % len(z_NxK)

    def drawn(shared: tuple[Params, Key], row: tuple[Any, Array, Array]) -> Any:
        (params, key), (x_D, z_K, number) = shared, row
        key_z, key_x = jax.random.split(jax.random.fold_in(key, number))
        z_K = jnp.where(number % 2 == 0, z_K, jax.random.normal(key_z, z_K.shape))
        return given.draw(params, key_x, z_K, x_D)[0]

    rows = (take(x, which_M), z_NxK[which_M], np.arange(num_draws, dtype=np.int32))
    draws = map_datapoints(drawn, (given.params, key), rows, chunk_size=chunk_size)
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(draws), strict=True):
        outside = _outside(np.reshape(a, (len(a), -1)), np.reshape(b, (num_draws, -1)), which_M)
        if outside is not None:
            where = f"in dimension {outside.dimension}, " if a.ndim > 1 and a[0].size > 1 else ""
            raise AuditError(
                f"x holds what sample never gives: {outside.value:.6g} at datapoint {outside.row}, {where}"
                f"one of {outside.count:,} such numbers, where {num_draws:,} draws gave {outside.drawn}; "
                "p(x given z) is 0 there: bring x to the values of the model, or leave sample out"
            )
    at = f"{num_draws:,} draws of sample at the z of {min(num_draws, len(z_NxK)):,} datapoints"
    lines.append(Check("x against sample", at, "x holds no number that is never drawn"))


def _outside(x_NxD: np.ndarray, drawn_MxD: np.ndarray, which_M: np.ndarray) -> Outside | None:
    """The first number of x that is never drawn; None where there is none."""
    x_NxD, drawn_MxD = np.asarray(x_NxD, np.float64), np.asarray(drawn_MxD, np.float32)
    given_D = (drawn_MxD == np.float32(x_NxD[which_M])).all(axis=0)  # a covariate, or constant like the data
    kept = np.flatnonzero(~given_D & np.isfinite(drawn_MxD).all(axis=0))
    if not len(kept):
        return None
    x_NxD, sorted_MxD = x_NxD[:, kept], np.sort(np.float64(drawn_MxD[:, kept]), axis=0)
    known_NxD = np.isfinite(x_NxD)
    # What float32 makes of a number on both sides is the same number.
    room_NxD = 4.0 * np.finfo(np.float32).eps * np.abs(x_NxD)
    values = np.unique(sorted_MxD)
    step = lattice(values)
    step_D, origin_D = np.full(len(kept), step), np.full(len(kept), values[0])
    repeated_D = np.mean(np.diff(sorted_MxD, axis=0) == 0.0, axis=0) > REPEATS
    if not step:
        for d in np.flatnonzero(repeated_D):
            step_D[d], origin_D[d] = lattice(np.unique(sorted_MxD[:, d])), sorted_MxD[0, d]
    cells_NxD = (x_NxD - origin_D) / np.where(step_D > 0.0, step_D, 1.0)
    between_NxD = np.abs(cells_NxD - np.round(cells_NxD)) * step_D > 1e-3 * step_D + room_NxD
    least_D, most_D = (
        _ends(sorted_MxD, repeated_D, step_D > 0.0),
        _ends(-sorted_MxD[::-1], repeated_D, step_D > 0.0),
    )
    if step:
        least_D = np.maximum(least_D, _end_of_lattice(values[:2], sorted_MxD))
        most_D = np.maximum(most_D, _end_of_lattice(-values[:-3:-1], -sorted_MxD))
    beyond_NxD = (x_NxD < least_D - room_NxD) | (x_NxD > -most_D + room_NxD)
    bad_NxD = known_NxD & ((between_NxD & (step_D > 0.0)) | beyond_NxD)
    if not bad_NxD.any():
        return None
    row, d = np.argwhere(bad_NxD)[0]
    low, high = sorted_MxD[0, d], sorted_MxD[-1, d]
    kind = f"{low:.6g} and " if len(np.unique(sorted_MxD[:, d])) == 2 else f"numbers from {low:.6g} to "
    if bad_NxD[row, d] and between_NxD[row, d] and step_D[d] == 1.0 and kind.startswith("numbers"):
        kind = f"whole {kind}"
    return Outside(float(x_NxD[row, d]), int(row), int(kept[d]), int(bad_NxD.sum()), f"{kind}{high:.6g}")


def _ends(sorted_MxD: np.ndarray, repeated_D: np.ndarray, lattice_D: np.ndarray) -> np.ndarray:
    """What no x of a dimension is below, -inf where the draws, in ascending order, have a tail there."""
    end_D = np.full(sorted_MxD.shape[1], -np.inf)
    for d in np.flatnonzero(repeated_D):
        values, count = np.unique(sorted_MxD[:, d], return_counts=True)
        if lattice_D[d] and len(values) > 1:
            end_D[d] = _end(values[0], *count[:2])
        elif not lattice_D[d] and count[0] > 0.05 * len(sorted_MxD):
            end_D[d] = values[0]  # an atom beside a smooth part: zeros, or what is clipped
    if len(sorted_MxD) >= DRAWS // 2:
        k = len(sorted_MxD) // 80
        near_D, next_D = sorted_MxD[k] - sorted_MxD[0], sorted_MxD[2 * k] - sorted_MxD[k]
        hard_D = ~repeated_D & ~lattice_D & (near_D < HARD * next_D)
        margin_D = sorted_MxD[4 * k] - sorted_MxD[0]
        end_D = np.where(hard_D, sorted_MxD[0] - margin_D, end_D)
        at_zero_D = (sorted_MxD[0] > 0.0) & (sorted_MxD[0] < near_D) & (near_D < HARD_AT_ZERO * next_D)
        end_D = np.where(at_zero_D & ~repeated_D & ~lattice_D, 0.0, end_D)
    # Counts that are all far from 0, by more than they vary, do not reach below it.
    far_D = lattice_D & (sorted_MxD[0] > np.ptp(sorted_MxD, axis=0)) & (sorted_MxD[0] > 0.0)
    return np.where(far_D, np.maximum(end_D, 0.0), end_D)


def _end_of_lattice(values: np.ndarray, sorted_MxD: np.ndarray) -> float:
    """The end of the first of these two values, by all dimensions together."""
    return _end(values[0], *(int(np.sum(sorted_MxD == value)) for value in values))


def _end(value: float, count: int, following: int) -> float:
    """The value where draws end at it, else -inf.

    From n_1 to n_0 draws at its outermost values, a Poisson distribution thins out to about n_0^2 / 2 n_1 at
    the next, and a Gaussian of a third of the spacing, rounded, to n_0 (n_0 / n_1)^4: where that is many, and
    there is none, there is nothing beyond. At 0 counts end.
    """
    # By as much as both counts vary less than what was seen.
    count, following = max(count - 3.0 * count**0.5, 0.0), following + 3.0 * following**0.5 + 3.0
    ratio = count / following
    ended = 0.5 * count * ratio > AT_ZERO if value == 0.0 else count * ratio**4 > ENDED
    return float(value) if ended else -np.inf
