"""The table, the CSV file and the plot of runs side by side: the rows of `report.paired`."""

import csv
import io
import math
from pathlib import Path
from typing import Any

from rich.markup import escape

from vaelab.report.fitted import FittedTable
from vaelab.report.plots import PALETTE, figure
from vaelab.report.quantities import COMPARED
from vaelab.report.tables import OF_NO_VALUE, OF_NO_VALUE_PLAIN, cell


def table(rows: list[dict[str, Any]]) -> FittedTable:
    """A line for each run, and below it what it has more than the first, which the caption names."""
    first = rows[0]["run"]
    drawn = FittedTable(
        keys=3,
        caption=f"nats per datapoint, mean ± standard error; below each run what it has more than {first}, "
        "± half of the 95% interval by Student's t over what both measured (~ where it is unpaired)",
    )
    for title in ("split", "family", "run"):
        drawn.add_column(title)
    for title in COMPARED.values():
        drawn.add_column(escape(title), justify="right")
    if any(row["smoke"] for row in rows):
        drawn.caption += f"\n{OF_NO_VALUE}"
    for row in rows:
        drawn.add_row(row["split"], row["family"], _run(row), *(cell(row[name]) for name in COMPARED))
        if row["less_first"] is not None:
            leads = [row["less_first"][name] for name in COMPARED]
            over = next(lead["over"] for lead in leads if lead is not None)
            drawn.add_row("", "", f"less the first, over {over}", *map(_signed, leads))
    return drawn


def _run(row: dict[str, Any]) -> str:
    return row["run"] + (" (smoke)" if row["smoke"] else "")


def _signed(statistic: dict[str, Any] | None) -> str:
    if statistic is None:
        return "-"
    text = cell({"mean": statistic["mean"], "stderr": statistic["half_width"]})
    sign = "" if text.startswith("-") or math.isnan(statistic["mean"]) else "+"
    return f"{'' if statistic['paired'] else '~'}{sign}{text}"


def to_csv(rows: list[dict[str, Any]]) -> bytes:
    """A line for each row: its quantities with their errors, then the differences to the first."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    values = [f"{name}{part}" for name in COMPARED for part in ("", "_stderr")]
    leads = [f"{name}_less_first{part}" for name in COMPARED for part in ("", "_stderr", "_paired")]
    writer.writerow(["split", "family", "run", "smoke", *values, *leads])
    for row in rows:
        less = row["less_first"] or {}
        cells = [v for name in COMPARED for v in _values(row[name], ("mean", "stderr"))]
        cells += [v for name in COMPARED for v in _values(less.get(name), ("mean", "stderr", "paired"))]
        writer.writerow([row["split"], row["family"], row["run"], row["smoke"], *cells])
    return buffer.getvalue().encode()


def _values(statistic: dict[str, Any] | None, keys: tuple[str, ...]) -> list[Any]:
    return ["" if statistic is None else statistic[key] for key in keys]


def plot(path: Path, rows: list[dict[str, Any]]) -> None:
    """The difference of every run to the first, with its error, one panel for each split and family."""
    panels = list(dict.fromkeys((row["split"], row["family"]) for row in rows))
    runs = list(dict.fromkeys(row["run"] for row in rows if row["less_first"] is not None))
    drawn, axes = figure(len(panels), 4.0 * len(panels) + 1.0, 1.6 + 0.35 * len(COMPARED) * len(runs))
    bar_of: dict[str, Any] = {}
    for axis, panel in zip(axes, panels, strict=True):
        less_first = {row["run"]: row["less_first"] for row in rows if (row["split"], row["family"]) == panel}
        for number, run in enumerate(runs):
            bars = _bars(axis, less_first.get(run), 0.6 * (number + 0.5) / len(runs) - 0.3, number)
            if bars:
                bar_of.setdefault(run, bars[0])
        axis.axvline(0.0, color="#777777", linewidth=1.0)
        axis.set_yticks(range(len(COMPARED)), list(COMPARED.values()))
        axis.set_ylim(len(COMPARED) - 0.5, -0.5)
        axis.set_title(", ".join(panel), fontsize=10)
        axis.locator_params(axis="x", nbins=5)
    drawn.supxlabel(f"nats more than {rows[0]['run']}; bars: 95% intervals by Student's t", fontsize=10)
    if any(row["smoke"] for row in rows):
        drawn.suptitle(OF_NO_VALUE_PLAIN, color="#cc3311", fontsize=10, x=0.01, ha="left")
    legend = {"frameon": False, "fontsize": 8, "loc": "lower left", "bbox_to_anchor": (0.0, 1.06)}
    axes[0].legend(list(bar_of.values()), list(bar_of), **legend)
    drawn.savefig(path, dpi=120)


def _bars(axis: Any, leads: dict[str, Any] | None, offset: float, number: int) -> list[Any]:
    """Draws one run's differences, those that are not finite left out; squares where unpaired."""
    drawn = []
    for position, name in enumerate(COMPARED):
        lead = None if leads is None else leads[name]
        if lead is None or not math.isfinite(lead["mean"]):
            continue
        bar = axis.errorbar(
            lead["mean"],
            position + offset,
            xerr=lead["half_width"] if math.isfinite(lead["half_width"]) else 0.0,
            fmt="o" if lead["paired"] else "s",
            capsize=3,
            color=PALETTE[number % len(PALETTE)],
        )
        drawn.append(bar)
    return drawn
