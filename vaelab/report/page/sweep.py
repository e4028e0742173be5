"""The page of a sweep: its gaps along what is varied, its table, and a link to every run."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.report.page import series
from vaelab.report.page.document import write_document
from vaelab.report.page.markup import Markup, join, table, tag
from vaelab.report.page.summary import Row, as_number, label, read_first
from vaelab.report.quantities import SWEPT
from vaelab.report.sweep import varied_settings
from vaelab.report.tables import OF_NO_VALUE_PLAIN, at_least, remarks

DRAWN = {"amortization_gap": "amortization", "approximation_gap": "approximation"}


def write_sweep_page(
    path: Path, *, title: str, rows: Sequence[Row], command: str | None = None, smoke: bool = False
) -> None:
    """Writes the page.

    rows: as in `sweep.json`; those with `runs`, directories beside the page, link their pages.
    """
    done = [row for row in rows if row["num_seeds"]]
    sections = {
        "Gaps along what is varied": _drawn(done),
        "In numbers": _numbers(rows),
        "Every run": _runs(rows),
        "How it was made": tag("pre", tag("code", command)) if command else Markup(),
    }
    write_document(path, title, _notes(rows, smoke=smoke), _lead(rows), sections)


def _lead(rows: Sequence[Row]) -> Markup:
    points = list(dict.fromkeys(tuple(row["settings"].items()) for row in rows))
    names = ", ".join(varied_settings(rows)) or "nothing but the seed"
    seeds = max((row["num_seeds"] for row in rows), default=0)
    text = (
        f"{len(points)} points over {names}, up to {seeds} seeds each. Errors are over seeds where there are"
        " several: half of the 95% interval by Student's t; of one seed, the standard error over its"
        " datapoints."
    )
    return tag("p", text, class_="lead")


def _notes(rows: Sequence[Row], *, smoke: bool) -> Markup:
    lines = [OF_NO_VALUE_PLAIN] if smoke else []
    for row in rows:
        where = ", ".join(f"{name}={value}" for name, value in row["settings"].items())
        lines += [f"{where}: {line}" for line in [*row["failed"], *remarks([row])]]
    return read_first(lines)


def _half(statistic: Mapping[str, Any] | None) -> tuple[float, float]:
    """(mean, half of the interval over seeds or the error over datapoints); NaN for what is missing."""
    statistic = statistic or {}
    values = statistic.get("mean"), statistic.get("half_width", statistic.get("stderr"))
    mean, half = (np.nan if value is None else float(value) for value in values)
    return mean, half


def _drawn(rows: Sequence[Row]) -> Markup:
    """Curves along one setting, heat maps over two, for each split and family."""
    names = varied_settings(rows)
    panels: dict[str, list[Row]] = {}
    for row in rows:
        panels.setdefault(label(row) if _has_several_families(rows) else row["split"], []).append(row)
    parts = []
    for number, (panel, members) in enumerate(panels.items()):
        if len(members) < 2:
            continue
        values = [[row["settings"].get(name, "") for row in members] for name in names]
        distinct = [list(dict.fromkeys(column)) for column in values]
        grid = len(names) == 2 and len(members) == len(distinct[0]) * len(distinct[1])
        if grid and min(map(len, distinct)) > 1:
            drawn = _maps(number, panel, members, names, distinct)
        else:
            drawn = [_curves(number, panel, members, names, values)]
        parts += [tag("h3", panel), *(tag("figure", one) for one in drawn)]
    legend = tag(
        "ul",
        *(
            tag(
                "li",
                tag("svg", tag("rect", x=0, y=0, width=26, height=14, class_=kind), aria_hidden="true"),
                f"{kind} gap",
            )
            for kind in DRAWN.values()
        ),
        class_="legend",
    )
    return join(legend, *parts) if parts else Markup()


def _has_several_families(rows: Sequence[Row]) -> bool:
    """Whether any point has; else a family goes with its point, as where it is what is varied."""
    seen = [(tuple(row["settings"].items()), row["split"]) for row in rows]
    return len(set(seen)) < len(seen)


def _curves(
    number: int, panel: str, rows: Sequence[Row], names: Sequence[str], values: Sequence[Sequence[str]]
) -> Markup:
    labels = [", ".join(parts) for parts in zip(*values, strict=True)] if names else [""] * len(rows)
    axis = series.axis_of(labels)
    lines = []
    for key, kind in DRAWN.items():
        pairs = [_half(row.get(key)) for row in rows]
        if any(np.isfinite(mean) for mean, _ in pairs):
            lines.append(series.Line(kind, *zip(*pairs, strict=True)))
    title = f"Gaps along {', '.join(names)}, {panel}, nats a datapoint"
    return series.curves(f"along-{number}", title, axis, labels, ", ".join(names), lines)


def _maps(
    number: int, panel: str, rows: Sequence[Row], names: Sequence[str], distinct: Sequence[list[str]]
) -> list[Markup]:
    place = {(row["settings"].get(names[0], ""), row["settings"].get(names[1], "")): row for row in rows}
    drawn = []
    for key, kind in DRAWN.items():
        value_RxC = np.array([_half(place[pair].get(key))[0] for pair in product(*distinct)], float).reshape(
            len(distinct[0]), len(distinct[1])
        )
        if np.isfinite(value_RxC).any():
            title = f"{kind.capitalize()} gap over {names[0]} and {names[1]}, {panel}, nats a datapoint"
            axes = zip(names, distinct, strict=True)
            drawn.append(series.heat_map(f"{kind}-map-{number}", title, *axes, value_RxC, kind))
    return drawn


def _numbers(rows: Sequence[Row]) -> Markup:
    names, lines = varied_settings(rows), []
    for row in rows:
        about = [row["settings"].get(name, "") for name in names]
        if not row["num_seeds"]:
            lines.append(["; ".join(about), "no seed came to its end", *["-"] * (len(SWEPT) + 2)])
            continue
        cells = [at_least(row, name) + _cell(row.get(name)) for name in SWEPT]
        total = row["num_seeds"] * row["num_points"]
        unconverged = f"{row['num_unconverged']:,} of {total:,}"
        lines.append(["; ".join(about) or "all", label(row), str(row["num_seeds"]), *cells, unconverged])
    head = ["; ".join(names) or "point", "split, family", "seeds", *SWEPT.values(), "not converged"]
    return table("Nats a datapoint: mean ± half of the 95% interval over seeds", head, lines, words=[1])


def _cell(statistic: Mapping[str, Any] | None) -> str:
    if statistic is None:
        return "-"
    mean, half = _half(statistic)
    return f"{as_number(mean)} ± {half:.3f}" if np.isfinite(half) else as_number(mean)


def _runs(rows: Sequence[Row]) -> Markup:
    """A line for each point, with the pages of its seeds."""
    items = {}
    for row in rows:
        where = ", ".join(f"{name}={value}" for name, value in row["settings"].items()) or "all"
        links = [tag("a", run.rpartition("=")[2], href=f"{run}/report.html") for run in row.get("runs", ())]
        if links:
            spaced = [part for link in links for part in (link, " ")]
            items[where] = tag("li", f"{where}: seeds ", *spaced)
    return tag("ul", *items.values()) if items else Markup()
