"""What an audit gives back: `Report`."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from vaelab import report
from vaelab.audit.weighted import label_rows
from vaelab.report.page import measured
from vaelab.report.page.run import write_page
from vaelab.runtime.directory import as_directory, write_whole
from vaelab.runtime.processes import is_first


@dataclass(frozen=True)
class Report:
    """What an audit measured.

    rows: one for each split ("given", and "simulated") and family, like those of `gap.json`: means with
        standard errors over the datapoints, in nats.
    per_datapoint: the arrays behind them, under "given/index", "given/diagonal/elbo_optimal", ...
    notes: what deserves a look: broken orders, and what the encoder seems to return in the place of sigma.
    remarks: whether the density was checked to be normalised, and by what.
    """

    rows: list[dict[str, Any]]
    per_datapoint: dict[str, np.ndarray]
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    shown: Mapping[str, Any] = field(default_factory=dict, repr=False)  # what `write_page` shows beside them

    def table(self, console: Console | None = None) -> None:
        """Prints the rows, the notes and the remarks."""
        console = console or Console()
        console.print(report.gap_table(self.rows))
        for row in self.rows:
            name = f"{row['split']}, {row['family']}"
            if "weighted" in row:
                means = [
                    f"{report.MEASURED[key]} {report.cell(part)}" for key, part in row["weighted"].items()
                ]
                console.print(f"{name}, weighted: {'; '.join(means)}", highlight=False, markup=False)
            if row.get("by_label"):
                console.print(report.plain_table(f"{name}, by label", label_rows(row)))
        for note in self.notes:
            console.print(note, style="red", highlight=False, markup=False)
        for remark in self.remarks:
            console.print(remark, style="dim", highlight=False, markup=False)

    def save(self, directory: str | Path) -> None:
        """Writes gap.json, per_datapoint.npz, gaps.png and report.html there; it is made if need be."""
        if not is_first():
            return
        directory = as_directory(directory)
        directory.mkdir(parents=True, exist_ok=True)
        report.plot_gaps(directory / "gaps.png", self.rows, self.per_datapoint)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **self.per_datapoint)
        write_whole(directory / "per_datapoint.npz", buffer.getvalue())
        write_page(
            directory / "report.html",
            title=directory.resolve().name,
            rows=self.rows,
            per_datapoint=self.per_datapoint,
            notes=self.notes,
            versions=measured.versions(),
            **self.shown,
        )
        write_whole(directory / "gap.json", report.to_json(self.rows, smoke=False))
