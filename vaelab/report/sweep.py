"""The table and the plot of a sweep."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape

from vaelab.measure.gap import half_width
from vaelab.report.fitted import FittedTable
from vaelab.report.plots import figure
from vaelab.report.quantities import COLOURS, SWEPT
from vaelab.report.tables import OF_NO_VALUE, OF_NO_VALUE_PLAIN, at_least, cell


def _name(row: dict[str, Any], names: list[str]) -> str:
    values = ((name, row["settings"].get(name, "")) for name in names)
    return ", ".join("affine" if name.endswith("hidden") and v == "none" else v for name, v in values)


def varied_settings(rows: list[dict[str, Any]]) -> list[str]:
    """The settings that tell the points apart, but for those that repeat another one's values."""
    names, columns = [], []
    for name in dict.fromkeys(name for row in rows for name in row["settings"]):
        column = [row["settings"].get(name, "") for row in rows]
        if column not in columns:
            names.append(name)
            columns.append(column)
    return names


def table(rows: list[dict[str, Any]], *, smoke: bool = False) -> FittedTable:
    """One line for each point, split and family: mean ± standard error over the seeds, nats a datapoint."""
    seeds = max(row["num_seeds"] for row in rows)
    over = "over the datapoints of one seed"
    if seeds > 1:
        over = f"over {seeds} seeds; 95% intervals are ± {half_width(1.0, seeds):.3g} of it (Student's t)"
    caption = f"nats per datapoint: mean ± standard error {over}" + f"\n{OF_NO_VALUE}" * smoke
    names = varied_settings(rows)
    drawn = FittedTable(keys=len(names) + 3, caption=caption)
    for name in names:
        drawn.add_column(name.split(".")[-1])
    for title in ("split", "family", "phi from"):
        drawn.add_column(title)
    for title in SWEPT.values():
        drawn.add_column(escape(title), justify="right")
    drawn.add_column("not converged", justify="right")
    for row in rows:
        about = [row["settings"].get(name, "") for name in names]
        if row["num_seeds"] == 0:
            drawn.add_row(*about, "no seed came to its end")
            continue
        of = (row["split"], row["family"], row["amortized_by"] or "-")
        cells = [at_least(row, name) + cell(row[name]) for name in SWEPT]
        total = row["num_seeds"] * row["num_points"]
        drawn.add_row(*about, *of, *cells, f"{row['num_unconverged']:,} of {total:,}")
    return drawn


def plot(path: Path, rows: list[dict[str, Any]], *, smoke: bool = False) -> None:
    """The gaps at each point with errors over seeds, one panel for each split and family.

    Where every point has a single family, and not all the same, the panels are the splits.
    """
    rows = [row for row in rows if row["num_seeds"]]
    if not rows:
        return
    names = varied_settings(rows)
    families_of = {}
    for row in rows:
        families_of.setdefault(tuple(row["settings"].values()), set()).add(row["family"])
    single = all(len(families) == 1 for families in families_of.values())
    by_split = single and len(set.union(*families_of.values())) > 1
    panel_of = [(row["split"],) if by_split else (row["split"], row["family"]) for row in rows]
    panels = list(dict.fromkeys(panel_of))
    count = max(panel_of.count(panel) for panel in panels)
    width = max(3.2, 0.9 + 0.8 * count)
    drawn, axes = figure(len(panels), width * len(panels), 4.0)
    for axis, panel in zip(axes, panels, strict=True):
        points = [row for row, of_row in zip(rows, panel_of, strict=True) if of_row == panel]
        for key, colour in COLOURS.items():
            # The line breaks at a point without the gap, as at NaN.
            gaps = [row[key] or {"mean": math.nan, "stderr": math.nan} for row in points]
            mean, stderr = (np.array([gap[part] for gap in gaps], float) for part in ("mean", "stderr"))
            if np.isfinite(mean).any():
                label = key.replace("_", " ")
                axis.errorbar(
                    range(len(points)), mean, stderr, fmt="o-", capsize=4, color=colour, label=label
                )
        axis.set_xticks(
            range(len(points)), [_name(row, names) for row in points], rotation=30, ha="right", fontsize=8
        )
        axis.set_xlim(-0.5, len(points) - 0.5)
        axis.set_title(", ".join(panel), fontsize=10)
    axes[0].set_ylabel("nats a datapoint")
    handle_of = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    drawn.legend(
        handle_of.values(),
        handle_of,
        loc="outside upper center",
        ncols=len(handle_of),
        frameon=False,
        fontsize=8,
    )
    lowest, highest = zip(*(axis.get_ylim() for axis in axes), strict=True)
    for axis in axes:
        axis.set_ylim(min(0.0, *lowest), max(highest))
    drawn.supxlabel(", ".join(names), fontsize=10)
    if smoke:
        drawn.suptitle(OF_NO_VALUE_PLAIN, color="#cc3311", fontsize=10, x=0.01, ha="left")
    drawn.savefig(path, dpi=120)
