"""The rate-distortion curve of a sweep over the weight of the KL, and the limit for any q of its models.

Rate R = E KL(q || p(z)) and distortion D = -E E_q log p(x given z) of an encoder's q add up to minus its
ELBO, and the ELBO of any q is at most log p(x):

    R + D  >=  -E log p(x)  >=  -max over the models of E log p(x)

(Alemi et al. 2018, "Fixing a Broken ELBO", figure 1, with the entropy of the data, which -E log p(x) of no
model is below.) The log p(x) measured is a lower bound: the line is too high by what that one loses.
"""

from pathlib import Path
from typing import Any

import numpy as np
from rich.text import Text

from vaelab.report.fitted import FittedTable
from vaelab.report.plots import PALETTE, figure
from vaelab.report.tables import OF_NO_VALUE, cell, plain_table

FILE = "rate_distortion.png"
WEIGHT = "objective.beta"


def least_sum(rows: list[dict[str, Any]]) -> float | None:
    """The least R + D of any q of these rows' models: minus their best mean log p(x); None without any."""
    means = [row["log_evidence"]["mean"] for row in rows if row.get("log_evidence")]
    finite = [mean for mean in means if mean is not None and np.isfinite(mean)]
    return -max(finite) if finite else None


def table(rows: list[dict[str, Any]], *, smoke: bool = False) -> FittedTable | None:
    """A line for each point of a sweep over WEIGHT, means over the seeds; None of another sweep."""
    rows = _traded(rows)
    if not rows:
        return None
    lines = [
        {
            **{name.split(".")[-1]: value for name, value in row["settings"].items()},
            "split": row["split"],
            "family": row["family"],
            "rate": cell(row["rate"]),
            "distortion": cell(row["distortion"]),
            "rate + distortion": row["rate"]["mean"] + row["distortion"]["mean"],
        }
        for row in rows
    ]
    return plain_table("rate and distortion, nats a datapoint", lines, smoke=smoke)


def plot(path: Path, rows: list[dict[str, Any]], *, smoke: bool = False) -> None:
    """D against R with errors over seeds, a panel a split and a line a family; nothing of another sweep."""
    rows = _traded(rows)
    if not rows:
        return
    splits = list(dict.fromkeys(row["split"] for row in rows))
    drawn, axes = figure(len(splits), 5.5 * len(splits), 4.6)
    for axis, split in zip(axes, splits, strict=True):
        here = [row for row in rows if row["split"] == split]
        for colour, family in zip(PALETTE, dict.fromkeys(row["family"] for row in here), strict=False):
            curve = [row for row in here if row["family"] == family]
            (x, x_error), (y, y_error) = (
                ([row[name]["mean"] for row in curve], [row[name]["stderr"] for row in curve])
                for name in ("rate", "distortion")
            )
            axis.errorbar(x, y, y_error, x_error, fmt="o-", capsize=3, color=colour, label=family)
            for row, *place in zip(curve, x, y, strict=True):
                weight = row["settings"][WEIGHT]
                axis.annotate(f"β = {weight}", place, (6, 6), textcoords="offset points", fontsize=8)
        axis.margins(0.15)  # room for the labels
        _shade(axis, least_sum(here))
        axis.set_title(split, fontsize=10)
        axis.set_xlabel("rate, nats a datapoint")
        axis.legend(loc="best", fontsize=8)
    axes[0].set_ylabel("distortion, nats a datapoint")
    if smoke:
        drawn.suptitle(Text.from_markup(OF_NO_VALUE).plain, color="#cc3311", fontsize=10)
    drawn.savefig(path, dpi=120)


def _shade(axis: Any, least: float | None) -> None:
    """The region below R + D = least, with all of that line in view."""
    if least is None:
        return
    limits = axis.get_xlim(), axis.get_ylim()
    rate = np.array(limits[0])
    lowest = min(limits[1][0], least - rate[1])
    limits = limits[0], (lowest, limits[1][1])
    axis.plot(rate, least - rate, "--", color="#555555", label="R + D = -log p(x), the best measured")
    axis.fill_between(
        rate,
        limits[1][0],
        least - rate,
        color="#dddddd",
        label="beyond it: no q, but for the error of log p(x)",
        zorder=0,
    )
    axis.set_xlim(*limits[0])
    axis.set_ylim(*limits[1])


def _traded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with a rate, of a sweep over WEIGHT."""
    return [row for row in rows if WEIGHT in row["settings"] and "rate" in row]
