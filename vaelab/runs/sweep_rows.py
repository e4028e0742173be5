"""The rows of a sweep: what the runs of each point say together."""

import csv
import io
import math
from collections import Counter
from typing import Any

import numpy as np

from vaelab import report
from vaelab.config.sweep import Point, text
from vaelab.measure.gap import half_width, mean_and_stderr


def rows_of(point: Point, runs: list[list[dict[str, Any]] | str]) -> list[dict[str, Any]]:
    """A row for each split and family: every quantity's mean over the seeds with its standard error."""
    good = [rows for rows in runs if not isinstance(rows, str)]
    settings = {name: text(value) for name, value in point.settings.items()}
    places = [f"{point.name}/seed={config.seed}" for config in point.configs]
    failed = [line for line in runs if isinstance(line, str)]
    if not good:
        nothing = {"split": None, "family": None, "num_seeds": 0, "broken_orders": [], "notes": []}
        return [{"settings": settings, "failed": failed, "runs": [], **nothing}]
    rows = []
    for same in zip(*good, strict=True):
        row: dict[str, Any] = {
            "settings": settings,
            "split": same[0]["split"],
            "family": same[0]["family"],
            "amortized_by": same[0]["amortized_by"],
            "num_seeds": len(same),
            "num_points": same[0]["num_points"],
            "runs": [place for place, run in zip(places, runs, strict=False) if not isinstance(run, str)],
            "failed": failed,
            "broken_orders": list(dict.fromkeys(problem for r in same for problem in r["broken_orders"])),
            "notes": list(dict.fromkeys(note for r in same for note in r.get("notes", ()))),
        }
        for name in report.MEASURED:
            values = [r[name]["mean"] if r[name] else None for r in same]
            missing = any(value is None for value in values)
            row[name] = None if missing else _over_seeds(np.float64(values), same, name)
        row |= _rate_distortion(same)
        row["generalization_gap"] = None
        if row["split"] == "test":
            row["generalization_gap"] = _generalization(good, row["family"])
        for count in ("num_unconverged", "num_broken_orders", "num_left_out"):
            row[count] = sum(_count(r.get(count, 0)) for r in same)
        row["modes"] = {"may_lack": any(r.get("modes", {}).get("may_lack", False) for r in same)}
        row["ended"] = dict(sum((Counter(r.get("ended", {})) for r in same), Counter()))
        rows.append(row)
    return rows


def _rate_distortion(same: tuple[dict[str, Any], ...]) -> dict[str, dict[str, float]]:
    """rate and distortion over the seeds; nothing where a run does not have them."""
    diagnostics = tuple(row.get("diagnostics", {}) for row in same)
    if not all("rate" in each for each in diagnostics):
        return {}
    return {
        name: _over_seeds(np.float64([each[name]["mean"] for each in diagnostics]), diagnostics, name)
        for name in ("rate", "distortion")
    }


def _generalization(runs: list[list[dict[str, Any]]], family: str) -> dict[str, float] | None:
    """How much lower L[q_phi] is on test data than on training data, both of the same seed.

    None where phi comes from elsewhere on the one than on the other, as a table's does.
    """
    differences, stderrs = [], []
    for rows in runs:
        of_family = [row for row in rows if row["family"] == family]
        elbo = {row["split"]: row["elbo_amortized"] for row in of_family}
        sources = {row["amortized_by"] for row in of_family if row["split"] in ("train", "test")}
        if not elbo.get("train") or not elbo.get("test") or len(sources) > 1:
            return None
        differences.append(elbo["train"]["mean"] - elbo["test"]["mean"])
        stderrs.append(math.hypot(elbo["train"]["stderr"], elbo["test"]["stderr"]))
    if len(runs) > 1:
        return mean_and_stderr(np.array(differences))
    return {"mean": float(differences[0]), "stderr": stderrs[0]}


def _over_seeds(values_R: np.ndarray, same: tuple[dict[str, Any], ...], name: str) -> dict[str, float]:
    """mean and stderr over seeds, and half of the 95% interval; with a single seed the error is that over its
    datapoints.
    """
    if len(values_R) > 1:
        mean = mean_and_stderr(values_R)
        return {**mean, "half_width": half_width(mean["stderr"], len(values_R))}
    return {"mean": float(values_R[0]), "stderr": same[0][name]["stderr"]}


def _count(value: int | dict[str, int]) -> int:
    return sum(value.values()) if isinstance(value, dict) else value


def to_csv(rows: list[dict[str, Any]]) -> bytes:
    """A line for each row: the settings, then each quantity with its standard error."""
    buffer = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row["settings"]))
    quantities = [quantity.name for quantity in report.QUANTITIES]
    errors = [f"{name}{part}" for name in quantities for part in ("", "_stderr")]
    writer = csv.writer(buffer)
    counts = ("num_seeds", "num_points", "num_left_out", "num_unconverged", "num_broken_orders")
    writer.writerow([*names, "split", "family", *counts, "num_failed", *errors])
    for row in rows:
        statistics = [row.get(name) or {"mean": "", "stderr": ""} for name in quantities]
        cells = [cell for s in statistics for cell in (s["mean"], s["stderr"])]
        about = [row["settings"].get(name, "") for name in names]
        about += [row["split"], row["family"], *(row.get(count, "") for count in counts)]
        writer.writerow([*about, len(row["failed"]), *cells])
    return buffer.getvalue().encode()
