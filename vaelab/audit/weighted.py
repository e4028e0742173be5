"""Means of an audit with weights, and those by label as rows of a table."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vaelab.measure.gap import Gap
from vaelab.report import MEASURED


def weighted_mean(values_N: np.ndarray, weights_N: np.ndarray) -> dict[str, float]:
    """sum w v / sum w with its standard error, the weights taken as fixed, nats.

    stderr^2 = N / (N - 1) sum w^2 (v - mean)^2 / (sum w)^2: with equal weights that of the plain mean.
    """
    total, count = np.sum(weights_N), len(values_N)
    mean = float(np.sum(weights_N * values_N) / total)
    spread = np.sqrt(np.sum((weights_N * (values_N - mean)) ** 2)) / total
    return {"mean": mean, "stderr": float(spread * math.sqrt(count / (count - 1))) if count > 1 else math.nan}


def weighted(row: Mapping[str, Any], per_datapoint: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What a row has beside its means where weights were given: `weighted`, the statistics of the row, nats.

    Over the datapoints at which all of its quantities are finite and the weight is positive.
    """
    split, family = row["split"], row["family"]
    weights = per_datapoint.get(f"{split}/weights")
    if weights is None or np.ndim(weights) != 1:
        return {}
    optimal = np.float64(per_datapoint[f"{split}/{family}/elbo_optimal"])
    amortized = per_datapoint.get(f"{split}/{family}/elbo_amortized")
    gap = Gap(
        optimal if amortized is None else np.float64(amortized),
        optimal,
        np.float64(per_datapoint[f"{split}/log_evidence"]),
    )
    names = [name for name in MEASURED if row.get(name) is not None]
    values = {name: getattr(gap, name.removesuffix("_gap")) for name in names}
    finite_N = np.logical_and.reduce([np.isfinite(value_N) for value_N in values.values()])
    used_N = finite_N & (np.float64(weights) > 0.0)
    if not used_N.any():
        return {}
    w_N = np.float64(weights)[used_N]
    return {"weighted": {name: weighted_mean(value_N[used_N], w_N) for name, value_N in values.items()}}


def label_rows(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The means by label as rows of a plain table: the label, its number of datapoints, and each gap."""
    from vaelab.report import cell

    gaps = [name for name in ("amortization_gap", "approximation_gap", "log_evidence") if row.get(name)]
    return [
        {
            "label": label,
            "datapoints": part["num_points"],
            **{MEASURED[name]: cell(part[name]) for name in gaps},
        }
        for label, part in row["by_label"].items()
    ]
