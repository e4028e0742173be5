"""The rows of a sweep: what the runs of each point say together."""

import csv
import io
import math
from typing import Any

import numpy as np

from vaelab import report
from vaelab.config.sweep import Point, text
from vaelab.measure.gap import mean_and_stderr

QUANTITIES = (*report.QUANTITIES.values(), "generalization_gap")


def rows_of(point: Point, runs: list[list[dict[str, Any]] | str]) -> list[dict[str, Any]]:
    """A row for each split and family: every quantity's mean over the seeds with its standard error."""
    good = [rows for rows in runs if not isinstance(rows, str)]
    settings = {name: text(value) for name, value in point.settings.items()}
    failed = [line for line in runs if isinstance(line, str)]
    if not good:
        nothing = {"split": None, "family": None, "num_seeds": 0, "broken_orders": []}
        return [{"settings": settings, "failed": failed, **nothing}]
    found = []
    for same in zip(*good, strict=True):
        row: dict[str, Any] = {
            "settings": settings,
            "split": same[0]["split"],
            "family": same[0]["family"],
            "amortized_by": same[0]["amortized_by"],
            "num_seeds": len(same),
            "num_points": same[0]["num_points"],
            "failed": failed,
            "broken_orders": list(dict.fromkeys(problem for r in same for problem in r["broken_orders"])),
        }
        for quantity in report.QUANTITIES.values():
            values = [r[quantity]["mean"] if r[quantity] else None for r in same]
            missing = any(value is None for value in values)
            row[quantity] = None if missing else _over_seeds(np.float64(values), same, quantity)
        row["generalization_gap"] = None
        if row["split"] == "test":
            row["generalization_gap"] = _generalization(good, row["family"])
        for count in ("num_unconverged", "num_broken_orders"):
            row[count] = sum(_count(r[count]) for r in same)
        found.append(row)
    return found


def _generalization(runs: list[list[dict[str, Any]]], family: str) -> dict[str, float] | None:
    """What L[q_phi] is lower by on test data than on training data; both are of each seed's own run.

    None where phi comes from elsewhere on the one than on the other, as a table's does.
    """
    found = []
    for rows in runs:
        mine = [row for row in rows if row["family"] == family]
        of = {row["split"]: row["elbo_amortized"] for row in mine}
        sources = {row["amortized_by"] for row in mine if row["split"] in ("train", "test")}
        if not of.get("train") or not of.get("test") or len(sources) > 1:
            return None
        difference = of["train"]["mean"] - of["test"]["mean"]
        found.append((difference, math.hypot(of["train"]["stderr"], of["test"]["stderr"])))
    differences = np.array([difference for difference, _ in found])
    if len(found) > 1:
        return mean_and_stderr(differences)
    return {"mean": float(differences[0]), "stderr": found[0][1]}


def _over_seeds(values_R: np.ndarray, same: tuple[dict[str, Any], ...], quantity: str) -> dict[str, float]:
    """mean and stderr over seeds; of a single seed the error is that over its datapoints."""
    if len(values_R) > 1:
        return mean_and_stderr(values_R)
    return {"mean": float(values_R[0]), "stderr": same[0][quantity]["stderr"]}


def _count(value: int | dict[str, int]) -> int:
    return sum(value.values()) if isinstance(value, dict) else value


def to_csv(rows: list[dict[str, Any]]) -> bytes:
    """A line for each row: the settings, then each quantity with its standard error."""
    buffer = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row["settings"]))
    errors = [f"{quantity}{part}" for quantity in QUANTITIES for part in ("", "_stderr")]
    writer = csv.writer(buffer)
    counts = ("num_seeds", "num_points", "num_unconverged", "num_broken_orders")
    writer.writerow([*names, "split", "family", *counts, "num_failed", *errors])
    for row in rows:
        statistics = [row.get(quantity) or {"mean": "", "stderr": ""} for quantity in QUANTITIES]
        cells = [cell for s in statistics for cell in (s["mean"], s["stderr"])]
        about = [row["settings"].get(name, "") for name in names]
        about += [row["split"], row["family"], *(row.get(count, "") for count in counts)]
        writer.writerow([*about, len(row["failed"]), *cells])
    return buffer.getvalue().encode()
