"""What a person sees: the table of gaps, the plots, `gap.json`."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from vaelab.processes import is_first

QUANTITIES = {
    "amortized L\\[q_phi]": "elbo_amortized",
    "optimal L\\[q*]": "elbo_optimal",
    "log p(x), lower bound": "log_evidence",
    "amortization gap": "amortization_gap",
    "approximation gap": "approximation_gap",
    "inference gap": "inference_gap",
}
HEAVY = "num_heavy_tailed"  # of log p(x)
COUNTS = {
    "datapoints": "num_points",
    "certified by": "certificate",
    "not converged": "num_unconverged",
    "negative gaps": "num_negative",
    "evaluations a point": "decoder_evaluations_per_point",
    "Pareto k over 0.7": HEAVY,
}
OF_NO_VALUE = "[bold red]smoke: these figures mean nothing[/]"


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that a reader, or a run after a kill, finds it whole or not at all.

    The first process does; the others write nothing.
    """
    if not is_first():
        return
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)


def cell(statistic: dict[str, Any] | None) -> str:
    """mean ± stderr to two digits of the error, between 2 and 4 decimals."""
    if statistic is None:
        return "-"
    # null in gap.json stands for what is not finite, as the error of a single datapoint.
    mean, stderr = (math.nan if statistic[k] is None else statistic[k] for k in ("mean", "stderr"))
    small = math.isfinite(stderr) and stderr > 0
    decimals = min(max(1 - math.floor(math.log10(stderr)), 2), 4) if small else 4
    return f"{mean:.{decimals}f} ± {stderr:.{decimals}f}"


def gap_table(rows: list[dict[str, Any]], *, smoke: bool = False) -> Table:
    """The rows of `gap.json` as columns: mean ± standard error over datapoints, nats per datapoint.

    Where a row has closed forms (`exact`), they stand in a column beside it.
    """
    caption = "nats per datapoint: mean ± standard error over datapoints" + f"\n{OF_NO_VALUE}" * smoke
    table = Table(caption=caption, box=SIMPLE_HEAD)
    table.add_column("")
    labels = [_label(label, key, rows) for label, key in QUANTITIES.items()] + list(COUNTS)
    two_sided = any("two_sided" in row for row in rows)
    labels += ["two-sided, lower", "two-sided, upper", "their width", "calibration, p"] if two_sided else []
    columns = []
    for row in rows:
        table.add_column(f"{row['split']}, {row['family']}", justify="right")
        bounds = [cell(row.get("two_sided", {}).get(key)) for key in ("lower", "upper", "width")]
        bounds.append(_plain(row.get("calibration", {}).get("p_value")))
        cells = [cell(row[key]) for key in QUANTITIES.values()] + _counts(row)
        columns.append(cells + (bounds if two_sided else []))
        if "exact" in row:
            table.add_column("closed form", justify="right")
            cells = [cell(row["exact"][key]) for key in QUANTITIES.values()]
            columns.append(cells + [""] * (len(labels) - len(cells)))
    for label, *cells in zip(labels, *columns, strict=True):
        table.add_row(label, *cells)
    return table


def _label(label: str, key: str, rows: list[dict[str, Any]]) -> str:
    unbiased = key == "log_evidence" and all(row[key]["bias"] == "none" for row in rows)
    return "log p(x), by quadrature" if unbiased else label


def plain_table(title: str, rows: list[dict[str, Any]], *, smoke: bool = False) -> Table:
    """Rows of the same keys under these keys; numbers to four digits."""
    caption = OF_NO_VALUE if smoke else None
    table = Table(title=title, title_justify="left", caption=caption, box=SIMPLE_HEAD)
    for number, name in enumerate(rows[0]):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(_plain(v) for v in row.values()))
    return table


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _counts(row: dict[str, Any]) -> list[str]:
    values = [row["log_evidence"][HEAVY] if key == HEAVY else row[key] for key in COUNTS.values()]
    return ["-" if value is None else value if type(value) is str else f"{value:,}" for value in values]


def figure(columns: int, width: float, height: float):
    """A matplotlib figure and its axes, in one row."""
    # Imported here: a second of start-up that only a run that draws should pay.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn, drawn.subplots(1, columns, squeeze=False)[0]


def plot_gaps(path: Path, rows: list[dict[str, Any]], per_datapoint: dict[str, np.ndarray]) -> None:
    """The decomposition of each row as stacked bars with errors, and the law of its amortization gap."""
    drawn, (left, right) = figure(2, 11.0, 0.9 + 0.55 * max(len(rows), 4))
    labels = [f"{row['split']}, {row['family']}" for row in rows]
    for position, row in enumerate(rows):
        start = 0.0
        for key, colour in (("approximation_gap", "#4477aa"), ("amortization_gap", "#ee8866")):
            if row[key] is None or not math.isfinite(row[key]["mean"]):
                continue
            mean, stderr = row[key]["mean"], row[key]["stderr"]
            label = key.replace("_", " ")
            shown = label in left.get_legend_handles_labels()[1]
            left.barh(
                position,
                mean,
                left=start,
                xerr=stderr,
                color=colour,
                capsize=3,
                label=None if shown else label,
            )
            start += mean
    left.set_yticks(range(len(rows)), labels)
    left.invert_yaxis()
    left.set_xlabel("nats below log p(x), mean and standard error over datapoints")
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    for row in rows:
        prefix = f"{row['split']}/{row['family']}/"
        amortized = per_datapoint.get(prefix + "elbo_amortized")
        if amortized is not None:
            gap_N = np.sort(per_datapoint[prefix + "elbo_optimal"] - amortized)
            right.step(
                gap_N,
                np.arange(1, gap_N.size + 1) / gap_N.size,
                where="post",
                label=prefix[:-1].replace("/", ", "),
            )
    right.set_xlabel("amortization gap of a datapoint, nats")
    right.set_ylabel("part of the datapoints below")
    right.set_ylim(0.0, 1.0)
    if right.get_legend_handles_labels()[0]:  # without an encoder there is no amortization gap
        right.legend(loc="lower right")
    drawn.savefig(path, dpi=120)


def plot_images(path: Path, strips: dict[str, np.ndarray], image_shape: tuple[int, int]) -> None:
    """One row of grey images for each named strip, `[count, D]` with values from 0 to 1."""
    drawn, (axis,) = figure(1, 11.0, 0.4 + 0.85 * len(strips))
    height, width = image_shape
    rows = []
    for images in strips.values():
        padded = np.pad(images.reshape(-1, height, width), ((0, 0), (1, 1), (1, 1)), constant_values=0.5)
        rows.append(np.concatenate(list(padded), axis=1))
    axis.imshow(np.concatenate(rows), cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    axis.set_yticks([(height + 2) * (i + 0.5) for i in range(len(strips))], list(strips))
    axis.set_xticks([])
    axis.tick_params(length=0)
    drawn.savefig(path, dpi=120)


def to_json(rows: list[dict[str, Any]], *, smoke: bool) -> bytes:
    """`gap.json`, `sweep.json`; a number that is not finite becomes null, as JSON has none."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [clean(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return (json.dumps({"smoke": smoke, "rows": clean(rows)}, indent=2) + "\n").encode()
