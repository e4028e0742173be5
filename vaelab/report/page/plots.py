"""The plots of the page; each says in words what it shows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vaelab.report.page.markup import Markup, join, tag
from vaelab.report.page.svg import (
    AXIS,
    EDGE,
    Scale,
    horizontal_axis,
    line,
    plot,
    span,
    vertical_axis,
    whisker,
)
from vaelab.report.tables import cell

PARTS = {"approximation_gap": "approximation", "amortization_gap": "amortization"}
FAR_OUT = 6.0  # interquartile ranges beyond the quartiles, where a histogram ends
MENTIONED = 12  # bars that are read out


class Curve(NamedTuple):
    """A line of a stage's learning curves; stderr: of each point, or None."""

    name: str
    kind: str
    step_N: np.ndarray
    value_N: np.ndarray
    stderr_N: np.ndarray | None = None


class Segment(NamedTuple):
    """A part of a bar: a gap from start on."""

    kind: str
    start: float
    mean: float
    stderr: float
    text: str


class Bar(NamedTuple):
    """The segments of a row."""

    label: str
    segments: list[Segment]


def across(low: float, high: float) -> Scale:
    return Scale(low, high, EDGE, 100 - EDGE)


def finite(statistic: Mapping[str, Any] | None) -> tuple[float, float]:
    """(mean, standard error); NaN for what is missing."""
    values = (statistic or {}).get("mean"), (statistic or {}).get("stderr")
    mean, stderr = (math.nan if value is None else float(value) for value in values)
    return mean, stderr


def bars(name: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> Markup:
    """A stacked bar for each labelled row, from log p(x) down: what the family loses, then the encoder.

    A gap that is negative goes back, as an outline.
    """
    drawn = [Bar(label, _segments(row)) for label, row in rows]
    reached = [0.0]
    for segment in (segment for bar in drawn for segment in bar.segments):
        end = segment.start + segment.mean
        reached += [segment.start, end, end + float(np.nan_to_num(segment.stderr))]
    x, bottom = across(*span(reached)), 60 * len(drawn)
    bands = [(60 * number + 25, 60 * number + 51) for number in range(len(drawn))]
    axis = horizontal_axis(x, 27, bottom, "nats below log p(x)", bands=bands)
    content = (_bar(bar, x, 60 * number) for number, bar in enumerate(drawn))
    said = "; ".join(
        ", ".join([bar.label, *(f"{s.kind} {s.mean:.4g}" for s in bar.segments)]) for bar in drawn[:MENTIONED]
    )
    more = f"; {len(drawn) - MENTIONED} more in the table" if len(drawn) > MENTIONED else ""
    title = "What the family and what the encoder lose, nats per datapoint"
    return plot(name, title, f"{said}{more}.", axis, *content, height=bottom + AXIS)


def _segments(row: Mapping[str, Any]) -> list[Segment]:
    segments, start = [], 0.0
    for key, kind in PARTS.items():
        mean, stderr = finite(row.get(key))
        if math.isfinite(mean):
            segments.append(Segment(kind, start, mean, stderr, cell(row[key]).split()[0]))
            start += mean
    return segments


def _bar(bar: Bar, x: Scale, top: float) -> Markup:
    short = bar.label if len(bar.label) <= 30 else f"{bar.label[:29]}…"
    values = tag("tspan", "  " + " + ".join(segment.text for segment in bar.segments), class_="tick")
    parts = [tag("text", short, values, x="0", y=top + 22)]
    for kind, start, mean, stderr, _ in bar.segments:
        low, high = sorted((start, start + mean))
        box = {
            "x": x.across(low),
            "width": f"{round(x(high) - x(low), 2)}%",
            "y": top + 29,
            "height": 18,
        }
        parts.append(tag("rect", **box, class_=f"{kind} negative" if mean < 0 else kind))
        parts.append(whisker(x, start + mean, stderr, top + 38, 5))
    return join(*parts)


def histogram(name: str, label: str, kind: str, values_N: np.ndarray) -> tuple[Markup, str]:
    """The distribution of a gap over datapoints, its median marked, and a line on what is not in it."""
    shown_N, missing = _without_far_out(np.float64(values_N))
    bins = int(np.clip(np.sqrt(shown_N.size), 5, 30))
    counts, edges = np.histogram(shown_N, bins, span(shown_N))
    x, y = across(edges[0], edges[-1]), Scale(0.0, max(counts.max(), 1), 112.0, 16.0)
    width = f"{round((100 - 2 * EDGE) / bins, 3)}%"
    content = [horizontal_axis(x, 16, y.start, f"{kind} gap, nats")]
    for count, edge in zip(counts, edges[:-1], strict=True):
        if count:
            box = {
                "x": x.across(edge),
                "width": width,
                "y": y(count),
                "height": round(y.start - y(count), 2),
            }
            content.append(tag("rect", **box, class_=kind))
    said = f"{shown_N.size:,} datapoints"
    if shown_N.size:
        quarter, median, three = np.percentile(shown_N, [25, 50, 75])
        content.append(_mark(x, y, float(median)))
        said += f", quartiles {quarter:.3g}, {median:.3g} and {three:.3g} nats"
    title = f"{kind.capitalize()} gap of each datapoint, {label}"
    return plot(name, title, f"{said}.", *content, height=y.start + AXIS), missing


def _without_far_out(values_N: np.ndarray) -> tuple[np.ndarray, str]:
    """The values that a histogram shows, and a line on the others."""
    finite_N = values_N[np.isfinite(values_N)]
    missing = [f"{values_N.size - finite_N.size:,} not finite"] if finite_N.size < values_N.size else []
    if not finite_N.size:
        return finite_N, "; ".join(missing)
    low, high = np.percentile(finite_N, [25, 75])
    reach = FAR_OUT * (high - low) or np.inf
    inside_N = (low - reach <= finite_N) & (finite_N <= high + reach)
    if not inside_N.all():
        out_N = finite_N[~inside_N]
        where = " to ".join(dict.fromkeys(f"{end:.3g}" for end in (out_N.min(), out_N.max())))
        missing.append(f"{out_N.size:,} too far out to be drawn, at {where}")
    return finite_N[inside_N], "; ".join(missing)


def _mark(x: Scale, y: Scale, median: float) -> Markup:
    at, before = x.across(median), x(median) > 55
    where = {"dx": -6, "text_anchor": "end"} if before else {"dx": 6}
    text = tag("text", f"median {median:.3g}", x=at, y=12, **where, class_="mark")
    return join(tag("line", x1=at, x2=at, y1=4, y2=y.start, class_="median"), text)


def curves(name: str, stage: str, lines: Sequence[Curve]) -> Markup:
    """Bounds against steps."""
    steps = np.concatenate([curve.step_N for curve in lines])
    low, high = span([*np.concatenate([curve.value_N for curve in lines])], margin=0.06)
    x, y = across(*span([0.0, *steps])), Scale(low, high, 190.0, 14.0)
    drawn = [vertical_axis(y), horizontal_axis(x, y.start, y.start, "step")]
    for curve in lines:
        drawn.append(line(curve.step_N, curve.value_N, x, y, f"curve {curve.kind}"))
        if curve.stderr_N is None:
            continue
        for step, value, stderr in zip(curve.step_N, curve.value_N, curve.stderr_N, strict=True):
            if not math.isfinite(value):
                continue
            at, error = x.across(step), np.nan_to_num(stderr)
            ends = {"y1": y(value - error), "y2": y(value + error)}
            drawn.append(tag("line", x1=at, x2=at, **ends, class_="whisker"))
            drawn.append(tag("circle", cx=at, cy=y(value), r=3.5, class_=curve.kind))
    said = ", ".join(f"{curve.name} at {len(curve.step_N):,} steps" for curve in lines)
    title = f"Bounds against steps, {stage}"
    return plot(name, title, f"{said}.", *drawn, height=y.start + AXIS, gutter=True)


def columns(
    name: str,
    title: str,
    statistics: Sequence[Mapping[str, Any]],
    kinds: Sequence[str],
    axis: str,
    *,
    of: str = "z",
) -> Markup:
    """A column for each latent dimension, z1 first, from 0 up or down to its mean, with its error.

    kinds: the class of each column. of: what stands before its number where the columns are read out.
    """
    pairs = [finite(statistic) for statistic in statistics]
    ends = [
        end for mean, stderr in pairs for end in (mean - np.nan_to_num(stderr), mean + np.nan_to_num(stderr))
    ]
    low, high = span([0.0, *ends])
    x, y = across(0.5, len(pairs) + 0.5), Scale(low, high, 150.0, 14.0)
    width = round((x(2) - x(1)) * 0.7, 3)
    drawn = [vertical_axis(y), horizontal_axis(x, y.start, y.start, axis, whole=True)]
    for k, ((mean, stderr), kind) in enumerate(zip(pairs, kinds, strict=True), start=1):
        if not math.isfinite(mean):
            continue
        top, bottom = sorted((y(mean), y(0.0)))
        box = {"x": f"{round(x(k) - width / 2, 3)}%", "y": top, "height": round(bottom - top, 2)}
        drawn.append(tag("rect", **box, width=f"{width}%", class_=kind))
        if math.isfinite(stderr):
            ends = {"y1": y(mean - stderr), "y2": y(mean + stderr)}
            drawn.append(tag("line", x1=x.across(k), x2=x.across(k), **ends, class_="whisker"))
    said = "; ".join(f"{of}{k}: {mean:.3g}" for k, (mean, _) in enumerate(pairs[:MENTIONED], start=1))
    more = f"; {len(pairs) - MENTIONED} more in the table" if len(pairs) > MENTIONED else ""
    return plot(name, title, f"{said}{more}.", *drawn, height=y.start + AXIS, gutter=True)
