"""Differences of runs and of audits: paired where they share datapoints, over seeds where they have several.

Where two runs measured the same datapoints, a difference is the mean of per-datapoint differences, and its
error is that of this mean, which is much smaller than what the errors of the two means would give.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vaelab.data.sources import MADE_SPLITS, SPLITS
from vaelab.measure.gap import Gap, half_width, mean_and_stderr
from vaelab.report.quantities import COMPARED

ORDER = (*SPLITS, "given", *MADE_SPLITS)  # "given" are the datapoints of an audit
NEED_ENCODER = ("elbo_amortized", "amortization_gap")

Part = tuple[str, str]
"""(split, family)"""


class CompareError(ValueError):
    """What was given cannot be compared; one line."""


class Measured(NamedTuple):
    """What a run, an audit, or the seeds of one point of a sweep have measured.

    configs, arrays: each one's config and per-datapoint arrays, by its seed; an audit's by the digest of
        its key.
    smoke: whether any of them is of a smoke run, whose figures mean nothing.
    """

    name: str
    configs: dict[int | str, dict[str, Any]]
    arrays: dict[int | str, dict[str, np.ndarray]]
    smoke: bool = False


def compare(runs: Sequence[Measured]) -> list[dict[str, Any]]:
    """A row for each split and family that the first and another share, and for each that has it.

    Each has its quantities' {mean, stderr}, and under "less_first" those of `difference`. Raises CompareError
    where nothing is shared.
    """
    first, *others = runs
    rows = []
    for part in parts(first):
        having = [run for run in others if part in parts(run)]
        for run in [first, *having] if having else []:
            row = {"split": part[0], "family": part[1], "run": run.name, "smoke": run.smoke}
            row |= {name: _over_all(run, part, name) for name in COMPARED}
            row["less_first"] = None
            if run is not first:
                row["less_first"] = {name: difference(first, run, part, name) for name in COMPARED}
            rows.append(row)
    if not rows:
        raise CompareError("the runs have no split and family in common")
    return rows


def parts(run: Measured) -> list[Part]:
    """(split, family) of everything that every seed has measured."""
    of_seeds = [
        {tuple(key.split("/")[:2]) for key in arrays if key.endswith("/elbo_optimal")}
        for arrays in run.arrays.values()
    ]
    return sorted(set.intersection(*of_seeds), key=lambda part: (_place(part[0]), *part))


def _place(split: str) -> int:
    return ORDER.index(split) if split in ORDER else len(ORDER)


def quantity(run: Measured, seed: int | str, part: Part, name: str) -> np.ndarray | None:
    """One number for each datapoint; None for what needs an encoder, where the family has none."""
    (split, family), arrays = part, run.arrays[seed]
    amortized = arrays.get(f"{split}/{family}/elbo_amortized")
    if amortized is None and name in NEED_ENCODER:
        return None
    optimal = np.float64(arrays[f"{split}/{family}/elbo_optimal"])
    gap = Gap(
        optimal if amortized is None else np.float64(amortized),
        optimal,
        np.float64(arrays[f"{split}/log_evidence"]),
    )
    return getattr(gap, name.removesuffix("_gap"))


def _over_all(run: Measured, part: Part, name: str) -> dict[str, float] | None:
    """mean and stderr, over the datapoints of a single seed or over several seeds."""
    values = [quantity(run, seed, part, name) for seed in run.arrays]
    if any(value is None for value in values):
        return None
    if len(values) == 1:
        return mean_and_stderr(values[0])
    return mean_and_stderr(np.array([np.mean(value) for value in values]))


def difference(first: Measured, other: Measured, part: Part, name: str) -> dict[str, Any] | None:
    """How much more `other` has than `first`: mean, stderr, whether paired, and over how many of what.

    half_width: of the 95% interval by Student's t; see `half_width`. Where both means have errors of their
    own, with the degrees of freedom of the one of fewer values, which is too wide rather than too narrow.

    Paired over datapoints where a single seed of each measured the same ones, over seeds where both have the
    same several; else the errors of both means are added as independent ones.
    """
    one, two = _over_all(first, part, name), _over_all(other, part, name)
    if one is None or two is None:
        return None
    single = len(first.arrays) == len(other.arrays) == 1
    seeds = [(seed, seed) for seed in sorted(first.arrays.keys() & other.arrays.keys())]
    pairs = [(next(iter(first.arrays)), next(iter(other.arrays)))] if single else seeds
    shared = [_shared(first, other, pair, part[0]) for pair in pairs]
    if not pairs or any(positions is None for positions in shared) or (not single and len(pairs) < 2):
        error = math.hypot(one["stderr"], two["stderr"])
        count = min(_count(run, part) for run in (first, other))
        lead = {"mean": two["mean"] - one["mean"], "stderr": error, "half_width": half_width(error, count)}
        return {**lead, "paired": False, "over": "both means"}
    leads = [
        quantity(other, b, part, name)[of_other] - quantity(first, a, part, name)[of_first]
        for (a, b), (of_first, of_other) in zip(pairs, shared, strict=True)
    ]
    values, what = leads[0], f"{len(leads[0]):,} datapoints"
    if not single:
        values, what = np.array([np.mean(lead) for lead in leads]), f"{len(leads)} seeds"
    lead = mean_and_stderr(values)
    return {**lead, "half_width": half_width(lead["stderr"], len(values)), "paired": True, "over": what}


def _count(run: Measured, part: Part) -> int:
    """The values behind a run's mean: its seeds, or the datapoints of a single one."""
    arrays = list(run.arrays.values())
    return len(arrays) if len(arrays) > 1 else len(arrays[0][f"{part[0]}/index"])


def _shared(
    first: Measured, other: Measured, pair: tuple[int | str, int | str], split: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """Positions in both of the datapoints that both measured; None for fewer than two, or other data."""
    a, b = pair
    source = _data_of(first.configs[a], split)
    if source is None or source != _data_of(other.configs[b], split):
        return None
    _, of_first, of_other = np.intersect1d(
        first.arrays[a][f"{split}/index"], other.arrays[b][f"{split}/index"], return_indices=True
    )
    return (of_first, of_other) if len(of_first) > 1 else None


def _data_of(config: dict[str, Any], split: str) -> dict[str, Any] | None:
    """What an index names a datapoint of; None where each run or audit has datapoints of its own."""
    if split in MADE_SPLITS:
        return None
    if "given" in config:
        return {"x": config["given"]["x"]}
    data = {key: config["data"].get(key) for key in ("name", "observation", "seed")}
    # Of one's own data the fingerprint, which `compare` reads beside the config: a path says nothing.
    data["examples"] = config["data"].get("splits", {}).get(split)
    return None if data["name"] == "simulated" else data
