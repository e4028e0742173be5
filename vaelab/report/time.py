"""ELBO against time: the table and the plot of `measure.time`."""

from pathlib import Path
from typing import Any

from vaelab.measure.time import STARTS
from vaelab.report.plots import PALETTE, figure


def flat(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows as a table takes them."""
    return [
        {
            "start": row["start"],
            "steps": row["num_steps"],
            "ms a datapoint": row["milliseconds"],
            **{f"{name}{part}": row[name][key] for name in ("elbo", "gained") for part, key in PARTS.items()},
        }
        for row in rows
    ]


PARTS = {"": "mean", " ±": "stderr"}


def plot(path: Path, rows: list[dict[str, Any]]) -> None:
    drawn, (axis,) = figure(1, 7.0, 4.2)
    for start, colour in zip(STARTS, PALETTE, strict=False):
        of_start = [row for row in rows if row["start"] == start]
        axis.errorbar(
            [row["milliseconds"] for row in of_start],
            [row["gained"]["mean"] for row in of_start],
            [row["gained"]["stderr"] for row in of_start],
            fmt="o-",
            capsize=3,
            color=colour,
            label=f"steps from the {start}",
        )
    axis.axhline(0.0, color="#777777", linewidth=1.0)
    (encoder,) = [row for row in rows if row["start"] == "encoder" and row["num_steps"] == 0]
    axis.plot(encoder["milliseconds"], 0.0, "D", color="black", label="the encoder alone", zorder=5)
    axis.set_xscale("log")
    axis.set_yscale("symlog", linthresh=1.0, subs=(2, 5))
    axis.set_ylim(bottom=1.3 * min(row["gained"]["mean"] - row["gained"]["stderr"] for row in rows))
    for ticks in (axis.xaxis, axis.yaxis):
        ticks.set_major_formatter("{x:g}")
    axis.set_xlabel("milliseconds a datapoint")
    axis.set_ylabel("ELBO less the encoder's, nats")
    axis.legend(frameon=False)
    drawn.savefig(path, dpi=120)
