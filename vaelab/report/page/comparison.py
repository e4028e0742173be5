"""The page of a comparison: what each run has more than the first, with intervals, and what it is."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaelab.report.page.document import write_document
from vaelab.report.page.markup import Markup, join, table, tag
from vaelab.report.page.plots import across
from vaelab.report.page.summary import as_number, read_first, shown
from vaelab.report.page.svg import AXIS, horizontal_axis, plot, span, whisker
from vaelab.report.quantities import COMPARED, HTML
from vaelab.report.tables import OF_NO_VALUE_PLAIN

LINE = 24  # pixels, for a run
Row = Mapping[str, Any]


def write_comparison(path: Path, *, rows: Sequence[Row], about: Mapping[str, str]) -> None:
    """Writes the page.

    rows: of `paired.compare`. about: of each run but the first, what its config has other than the first's.
    """
    first = rows[0]["run"]
    smoke = [OF_NO_VALUE_PLAIN] if any(row["smoke"] for row in rows) else []
    lead = tag(
        "p",
        f"Every run against the first, {first}: differences in nats a datapoint, with half of the 95%"
        " interval by Student's t. Where both measured the same datapoints, or seeds, it is paired.",
        class_="lead",
    )
    items = (tag("li", tag("b", run), f": {text}") for run, text in about.items())
    sections = {
        f"What is other than in {first}": tag("ul", *items) if about else Markup(),
        "Differences": _differences(rows, first),
        "In numbers": _numbers(rows),
    }
    write_document(path, f"Compared with {first}", read_first(smoke), lead, sections)


def _differences(rows: Sequence[Row], first: str) -> Markup:
    """For each split and family a drawing of each quantity, and its numbers."""
    parts, panels = [], dict.fromkeys((row["split"], row["family"]) for row in rows)
    for number, panel in enumerate(panels):
        own = [row for row in rows if (row["split"], row["family"]) == panel and row["less_first"]]
        drawn, lines = [], []
        for key in COMPARED:
            leads = {row["run"]: row["less_first"][key] for row in own if row["less_first"][key] is not None}
            if leads:
                title = Markup(HTML[key])
                figure = _intervals(f"{key.replace('_', '-')}-{number}", COMPARED[key], leads, first)
                drawn.append(tag("figure", tag("figcaption", title), figure))
            lines += [[run, Markup(HTML[key]), *_cells(lead)] for run, lead in leads.items()]
        head = ["run", "quantity", f"more than {first}", "half of the interval", "over"]
        numbers = table(f"{', '.join(panel)}, nats", head, lines, words=(1, 4))
        inside = tag("details", tag("summary", "In numbers"), numbers)
        parts.append(join(tag("h3", ", ".join(panel)), tag("div", *drawn, class_="panels"), inside))
    return join(*parts)


def _cells(lead: Mapping[str, Any]) -> list[str]:
    over = str(lead["over"]) + ("" if lead["paired"] else ", unpaired")
    return [as_number(lead["mean"]), as_number(lead["half_width"]), over]


def _intervals(name: str, title: str, leads: Mapping[str, Mapping[str, Any]], first: str) -> Markup:
    """A point with its interval for each run; 0 is the first."""
    ends = [0.0]
    for lead in leads.values():
        half = lead["half_width"] if math.isfinite(lead["half_width"]) else 0.0
        ends += [lead["mean"] - half, lead["mean"] + half]
    x, bottom = across(*span(ends, margin=0.04)), 2 * LINE * len(leads)
    bands = [(2 * LINE * n + LINE, 2 * LINE * (n + 1)) for n in range(len(leads))]
    parts = [horizontal_axis(x, 0, bottom, f"nats more than {_short(first)}", bands=bands)]
    for number, (run, lead) in enumerate(leads.items()):
        middle = 2 * LINE * number + 1.5 * LINE
        parts.append(tag("text", _short(run), x="0", y=middle - LINE * 0.75))
        if math.isfinite(lead["mean"]):
            parts.append(whisker(x, lead["mean"], lead["half_width"], middle, 5))
            kind = "approximation" if lead["paired"] else "second"
            parts.append(tag("circle", cx=x.across(lead["mean"]), cy=middle, r=4, class_=kind))
    said = "; ".join(
        f"{run} {lead['mean']:.4g} ± {lead['half_width']:.2g}"
        for run, lead in leads.items()
        if math.isfinite(lead["mean"])
    )
    return plot(name, f"{title}: what each run has more", f"{said}.", *parts, height=bottom + AXIS)


def _short(run: str) -> str:
    return run if len(run) <= 34 else f"…{run[-33:]}"


def _numbers(rows: Sequence[Row]) -> Markup:
    lines = [
        [row["run"], row["split"], row["family"], *(shown(row[name]) for name in COMPARED)] for row in rows
    ]
    head = ["run", "split", "family", *(Markup(HTML[name]) for name in COMPARED)]
    return table("Nats a datapoint: mean ± standard error", head, lines, words=(1, 2))
