"""Plots of a run."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.report.quantities import COLOURS

PALETTE = ("#4477aa", "#ee8866", "#228833", "#aa3377", "#777777")  # of what is no quantity


def figure(columns: int, width: float, height: float):
    """A matplotlib figure and its axes, in one row."""
    # Imported in the function: a second of start-up that only a run that draws should pay.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn, drawn.subplots(1, columns, squeeze=False)[0]


def plot_gaps(path: Path, rows: list[dict[str, Any]], per_datapoint: dict[str, np.ndarray]) -> None:
    """The parts of each row as stacked bars with errors, and the distribution of its amortization gap."""
    drawn, (left, right) = figure(2, 11.0, 0.9 + 0.55 * max(len(rows), 4))
    labels = [f"{row['split']}, {row['family']}" for row in rows]
    for position, row in enumerate(rows):
        start = 0.0
        for key in ("approximation_gap", "amortization_gap"):
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
                color=COLOURS[key],
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
