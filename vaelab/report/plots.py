"""Plots of a run."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vaelab.report.quantities import COLOURS

if TYPE_CHECKING:  # JAX, which who draws runs that are finished need not wait for
    from vaelab.measure.pictures import Pictures

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


def plot_pictures(directory: Path, pictures: "Pictures") -> None:
    """Writes images.png, interpolation.png and traversals.png, the last two where there is any."""
    strips = dict(pictures.reconstructions)
    if len(pictures.samples):
        strips["from the prior"] = pictures.samples
    plot_images(directory / "images.png", strips)
    if pictures.paths:
        strips = {f"{first} to {last}": images for (first, last), images in pictures.paths.items()}
        plot_images(directory / "interpolation.png", strips, ("data", *_blank("centre of q"), "data"))
    if pictures.traversals:
        from vaelab.measure.pictures import NUM_VALUES, REACH

        strips = {f"z{unit + 1}": images for unit, images in pictures.traversals.items()}
        steps = np.linspace(-REACH, REACH, NUM_VALUES)
        headings = tuple(f"{step:+g} sd" if step else "mean" for step in steps)
        plot_images(directory / "traversals.png", strips, headings)


def _blank(text: str) -> tuple[str, ...]:
    """A heading of the first and of the last decoding of a path."""
    from vaelab.measure.pictures import NUM_STEPS

    return (text, *[""] * (NUM_STEPS - 2), text)


def plot_images(path: Path, strips: Mapping[str, np.ndarray], columns: Sequence[str] = ()) -> None:
    """One row for each named strip, `[n, height, width]` or `[n, height, width, 3]` with values from 0 to 1.

    columns: what stands above the images of all rows.
    """
    count, height, width = next(iter(strips.values())).shape[:3]
    drawn, (axis,) = figure(1, 11.0, 0.4 + 0.25 * bool(columns) + 10.2 * len(strips) * _tall(strips))
    rows = []
    for images in strips.values():
        border = ((0, 0), (1, 1), (1, 1), (0, 0))[: images.ndim]
        padded = np.pad(_finite(images), border, constant_values=0.5)
        rows.append(np.concatenate(list(padded), axis=1))
    axis.imshow(np.concatenate(rows), cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    axis.set_yticks([(height + 2) * (i + 0.5) for i in range(len(strips))], list(strips))
    if columns:
        axis.xaxis.tick_top()
    axis.set_xticks([(width + 2) * (i + 0.5) for i in range(count)] if columns else [], list(columns))
    axis.tick_params(length=0)
    drawn.savefig(path, dpi=120)


def _tall(strips: Mapping[str, np.ndarray]) -> float:
    """The height of a row of images over its width."""
    count, height, width = next(iter(strips.values())).shape[:3]
    return (height + 2) / (count * (width + 2))


def _finite(images: np.ndarray) -> np.ndarray:
    """Values from 0 to 1, as colours are cut there and greys are not; what is not finite is black."""
    return np.clip(np.nan_to_num(images), 0.0, 1.0)
