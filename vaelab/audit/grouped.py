"""Means of an audit with weights, and one for each label."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vaelab.measure.gap import Gap, mean_and_stderr
from vaelab.report import MEASURED

MOST_LABELS = 50  # for which means are made


def weighted_mean(values_N: np.ndarray, weights_N: np.ndarray) -> dict[str, float]:
    """sum w v / sum w with its standard error, the weights taken as fixed, nats.

    stderr^2 = N / (N - 1) sum w^2 (v - mean)^2 / (sum w)^2: with equal weights that of the plain mean.
    """
    total, count = np.sum(weights_N), len(values_N)
    mean = float(np.sum(weights_N * values_N) / total)
    spread = np.sqrt(np.sum((weights_N * (values_N - mean)) ** 2)) / total
    return {"mean": mean, "stderr": float(spread * math.sqrt(count / (count - 1))) if count > 1 else math.nan}


def grouped(row: Mapping[str, Any], per_datapoint: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What a row has beside its means: `weighted` where weights were given, `by_label` where labels were.

    Over the datapoints at which all of its quantities are finite and the weight is positive. Each label has
    its number of datapoints, num_points, and the statistics of the row, nats; none for over MOST_LABELS.
    """
    split, family = row["split"], row["family"]
    columns = {name: per_datapoint.get(f"{split}/{name}") for name in ("weights", "labels")}
    if all(column is None for column in columns.values()):
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
    weights, labels, extra = columns["weights"], columns["labels"], {}
    if weights is not None and np.ndim(weights) == 1:
        used_N = finite_N & (np.float64(weights) > 0.0)
        if used_N.any():
            w_N = np.float64(weights)[used_N]
            extra["weighted"] = {
                name: weighted_mean(value_N[used_N], w_N) for name, value_N in values.items()
            }
    if labels is not None and np.ndim(labels) == 1 and len(np.unique(labels)) <= MOST_LABELS:
        extra["by_label"] = {
            str(label): {
                "num_points": int(np.sum(finite_N & (labels == label))),
                **{name: mean_and_stderr(v_N[finite_N & (labels == label)]) for name, v_N in values.items()},
            }
            for label in np.unique(labels)
            if np.any(finite_N & (labels == label))
        }
    return extra


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
