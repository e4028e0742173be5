"""The gaps of groups of datapoints: by label, by log p(x), by brightness; and which group stands out.

Each group is compared with all other datapoints by Welch's t, two-sided, with p-values for as many groups as
are compared (Holm 1979). The group of the greatest mean, and that of the least, is named where its p-value is
then below LEVEL.
"""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from vaelab.measure.gap import Gap, mean_and_stderr
from vaelab.measure.subject import Measured
from vaelab.types import Given

MOST_GROUPS = 50  # for which means are made
NUM_BINS = 5  # of log p(x) and of brightness, of equally many datapoints
FEWEST = 10  # datapoints of a group that is compared: the mean of fewer has no normal distribution
LEVEL = 0.05
GAPS = ("amortization_gap", "approximation_gap")


class Groups(NamedTuple):
    """names: in order; code_N: which of them each datapoint is in, -1 for none."""

    names: list[str]
    code_N: np.ndarray


def groups(points: Measured, log_evidence_N: np.ndarray, *, given: Given | None = None) -> dict[str, Groups]:
    """The groups by what they are made: label, log_evidence, library_size, brightness; those that can be.

    given: what the rows [x, y] of a conditional model are.
    """
    sizes_N = None
    if given is not None:
        row_NxR = points.inputs.x_NxD
        points = points._replace(inputs=points.inputs._replace(x_NxD=row_NxR[:, : given.data_dim]))
        sizes_N = np.exp(np.float64(row_NxR[:, -1])) if given.kind == "library_size" else None
    made = {
        "label": None if points.label_N is None else by_label(points.label_N),
        "log_evidence": by_quantile(log_evidence_N),
        "library_size": None if sizes_N is None else by_quantile(sizes_N),
        "brightness": None if (mean_N := brightness(points)) is None else by_quantile(mean_N),
    }
    return {name: groups for name, groups in made.items() if groups is not None}


def by_label(label_N: np.ndarray) -> Groups | None:
    """A group for each label; None for several numbers a label, or more than MOST_GROUPS labels."""
    if np.ndim(label_N) != 1:
        return None
    labels, code_N = np.unique(label_N, return_inverse=True)
    return Groups([str(label) for label in labels], code_N) if len(labels) <= MOST_GROUPS else None


def by_quantile(values_N: np.ndarray) -> Groups | None:
    """Bins of about equally many values, named "a to b"; None where there cannot be two of FEWEST."""
    values_N = np.float64(values_N)
    finite_N = np.isfinite(values_N)
    num_bins = min(NUM_BINS, int(np.sum(finite_N)) // FEWEST)
    if num_bins < 2:
        return None
    edges = np.unique(np.quantile(values_N[finite_N], np.linspace(0.0, 1.0, num_bins + 1)))
    if len(edges) < 3:
        return None
    code_N = np.clip(np.searchsorted(edges, values_N, side="right") - 1, 0, len(edges) - 2)
    # As many decimals as tell the edges apart: two digits of the narrowest bin.
    decimals = int(np.clip(1 - np.floor(np.log10(np.min(np.diff(edges)))), 0, 6))
    ends = [f"{edge:.{decimals}f}" for edge in edges]
    names = [f"{low} to {high}" for low, high in itertools.pairwise(ends)]
    return Groups(names, np.where(finite_N, code_N, -1)) if len(set(ends)) == len(ends) else None


def brightness(points: Measured) -> np.ndarray | None:
    """The mean of each x over its dimensions, `[N]`; None where x is no one array of values from 0 to 1."""
    leaves = jax.tree.leaves(points.inputs.x_NxD)
    if len(leaves) != 1 or np.ndim(leaves[0]) < 2 or leaves[0][0].size < 2:
        return None
    x_NxD = np.asarray(leaves[0]).reshape(len(leaves[0]), -1)
    if x_NxD.dtype.kind not in "fiub" or not (np.min(x_NxD) >= 0 and np.max(x_NxD) <= 1):
        return None
    return np.mean(x_NxD, axis=1, dtype=np.float64)


def entries(
    gap: Gap,
    used_N: np.ndarray,
    made: dict[str, Groups],
    *,
    has_encoder: bool,
    errors: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """What a row has of groups, over the datapoints that its means are over.

    errors: as `gap.summarize` takes them: the error of a group of one datapoint.

    Returns: by_label, by_log_evidence, by_brightness: of each group its num_points and the statistics of the
    row, nats; extremes: by label, ... and gap, what `extremes` says.
    """
    values = _values(gap, has_encoder=has_encoder)
    used_N = used_N & np.logical_and.reduce([np.isfinite(value_N) for value_N in values.values()])
    result: dict[str, Any] = {}
    size = float(np.mean(np.abs(values["log_evidence"][used_N]))) if used_N.any() else 0.0
    for kind, (names, code_N) in made.items():
        members = {name: used_N & (code_N == code) for code, name in enumerate(names)}
        result[f"by_{kind}"] = {
            name: {
                "num_points": int(np.sum(member_N)),
                **{
                    key: mean_and_stderr(value_N[member_N], errors_N=errors[key][member_N])
                    for key, value_N in values.items()
                },
            }
            for name, member_N in members.items()
            if member_N.any()
        }
        found = {
            key: extremes(values[key][used_N], code_N[used_N], names, size=size)
            for key in GAPS
            if key in values
        }
        result.setdefault("extremes", {})[kind] = found
    return result


def _values(gap: Gap, *, has_encoder: bool) -> dict[str, np.ndarray]:
    """The quantities of a row, `[N]` each."""
    gap = Gap(*(np.float64(values_N) for values_N in gap))
    of_encoder = {"elbo_amortized": gap.elbo_amortized} if has_encoder else {}
    with_encoder = {"amortization_gap": gap.amortization, "inference_gap": gap.inference}
    return {
        **of_encoder,
        "elbo_optimal": gap.elbo_optimal,
        "log_evidence": gap.log_evidence,
        "approximation_gap": gap.approximation,
        **(with_encoder if has_encoder else {}),
    }


def extremes(values_N: np.ndarray, code_N: np.ndarray, names: list[str], *, size: float) -> dict[str, Any]:
    """The groups whose means are the highest and the lowest, where they differ from all other datapoints.

    size: of the numbers that the values are differences of, whose rounding in float32 is no difference.

    Returns: num_compared (groups of FEWEST datapoints or more, with as many outside of them); highest and
    lowest: {group, difference {mean, stderr}, p_value}, or None where the p-value is not below LEVEL.
    """
    compared = {}
    for code, name in enumerate(names):
        inside, outside = values_N[code_N == code], values_N[code_N != code]
        if min(len(inside), len(outside)) >= FEWEST:
            compared[name] = float(np.mean(inside)), *_welch(inside, outside, size)
    result: dict[str, Any] = {"num_compared": len(compared), "highest": None, "lowest": None}
    if not compared:
        return result
    p_values = _holm({name: p_value for name, (*_, p_value) in compared.items()})
    for end, choose, sign in (("highest", max, 1.0), ("lowest", min, -1.0)):
        name = choose(compared, key=lambda name: compared[name][0])
        _, difference, _ = compared[name]
        if p_values[name] < LEVEL and sign * difference["mean"] > 0.0:
            result[end] = {"group": name, "difference": difference, "p_value": p_values[name]}
    return result


def _welch(one: np.ndarray, other: np.ndarray, size: float) -> tuple[dict[str, float], float]:
    """(mean(one) - mean(other) with its error, the two-sided p-value of Welch's t); 1 within rounding."""
    from scipy import special  # the one function of scipy.stats that is needed, without its third of a second

    parts = [np.var(values, ddof=1) / len(values) for values in (one, other)]
    difference, stderr = float(np.mean(one) - np.mean(other)), float(np.sqrt(sum(parts)))
    if abs(difference) <= 4.0 * np.finfo(np.float32).eps * size:
        return {"mean": difference, "stderr": stderr}, 1.0
    if stderr == 0.0:
        return {"mean": difference, "stderr": stderr}, 0.0
    freedoms = (len(values) - 1 for values in (one, other))
    freedom = sum(parts) ** 2 / sum(part**2 / free for part, free in zip(parts, freedoms, strict=True))
    p_value = 2.0 * float(special.stdtr(freedom, -abs(difference) / stderr))
    return {"mean": difference, "stderr": stderr}, p_value


def _holm(p_values: dict[str, float]) -> dict[str, float]:
    """p-values for all n hypotheses together: the i-th smallest times n - i + 1, and in the same order."""
    adjusted, most = {}, 0.0
    for place, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        most = max(most, min(1.0, p_value * (len(p_values) - place)))
        adjusted[name] = most
    return adjusted
