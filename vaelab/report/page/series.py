"""Quantities along one varied setting, or over two: curves with intervals, and heat maps."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vaelab.report.page.markup import Markup, join, tag
from vaelab.report.page.style import SHADES
from vaelab.report.page.svg import AXIS, EDGE, Scale, line, plot, span, vertical_axis

WIDE = 20.0  # times the least value that the greatest is where an axis is logarithmic
SPACE = 9  # per cent of the width for a label of an axis
CELL = 46  # pixels, of a heat map's row


class Axis(NamedTuple):
    """The places of values along an axis, as they are in numbers, or side by side where they are names.

    kind: linear, logarithmic or names
    place_N: of each value
    """

    kind: str
    place_N: np.ndarray


def axis_of(values: Sequence[str]) -> Axis:
    """The axis of a setting's values, each as text: true to their distances where all are numbers."""
    numbers = [_number(value) for value in values]
    if any(number is None for number in numbers) or len(set(numbers)) < 2:
        order = list(dict.fromkeys(values))
        return Axis("names", np.array([float(order.index(value)) for value in values]))
    place_N = np.array(numbers, float)
    if place_N.min() > 0.0 and place_N.max() >= WIDE * place_N.min():
        return Axis("logarithmic", np.log(place_N))
    return Axis("linear", place_N)


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


class Line(NamedTuple):
    """A quantity at each place: mean, and half of its interval, NaN where there is none."""

    kind: str
    mean_N: Sequence[float]
    half_N: Sequence[float]


def curves(
    name: str, title: str, axis: Axis, labels: Sequence[str], what: str, lines: Sequence[Line]
) -> Markup:
    """The lines with the intervals of their points; labels: of the values, in the order of the places."""
    ends = [
        m + s * h for each in lines for m, h in zip(each.mean_N, each.half_N, strict=True) for s in (-1, 1)
    ]
    ends += [mean for each in lines for mean in each.mean_N]
    x = Scale(*span(axis.place_N, margin=0.04), EDGE, 100 - EDGE)
    y = Scale(*span([0.0, *np.nan_to_num(ends)], margin=0.06), 210.0, 16.0)
    order = np.argsort(axis.place_N, kind="stable")
    drawn = [vertical_axis(y), _labels(x, axis, labels, what, y.start)]
    for each in lines:
        mean_N = np.array(each.mean_N, float)
        drawn.append(line(axis.place_N[order], mean_N[order], x, y, f"curve {each.kind}"))
        for place, mean, half in zip(axis.place_N, mean_N, each.half_N, strict=True):
            if not math.isfinite(mean):
                continue
            at = x.across(place)
            if math.isfinite(half):
                drawn.append(
                    tag("line", x1=at, x2=at, y1=y(mean - half), y2=y(mean + half), class_="whisker")
                )
            drawn.append(tag("circle", cx=at, cy=y(mean), r=4, class_=each.kind))
    said = "; ".join(
        f"{each.kind}: " + ", ".join(f"{labels[n]} {each.mean_N[n]:.3g}" for n in order[:12])
        for each in lines
    )
    return plot(name, title, f"{said}.", *drawn, height=y.start + AXIS, gutter=True)


def _labels(x: Scale, axis: Axis, labels: Sequence[str], what: str, bottom: float) -> Markup:
    """The values below their places, those left out that would lie on others; the title."""
    parts, last = [], -math.inf
    for place, label in sorted(dict(zip(axis.place_N.tolist(), labels, strict=True)).items()):
        at = x(place)
        parts.append(
            tag("line", x1=f"{at}%", x2=f"{at}%", y1=bottom - 4, y2=bottom, class_="zero"),
        )
        short = label if len(label) <= 14 else f"{label[:13]}…"
        if at - last < max(SPACE, 1.1 * len(short)):
            continue
        last = at
        anchor = "start" if at < 8 else "end" if at > 92 else "middle"
        parts.append(tag("text", short, x=f"{at}%", y=bottom + 15, text_anchor=anchor, class_="tick"))
    scale = ", logarithmic" if axis.kind == "logarithmic" else ""
    return join(*parts, tag("text", f"{what}{scale}", x="0", y=bottom + 33, class_="tick"))


def heat_map(
    name: str,
    title: str,
    of_rows: tuple[str, Sequence[str]],
    of_columns: tuple[str, Sequence[str]],
    value_RxC: np.ndarray,
    kind: str,
) -> Markup:
    """A square for each pair of values, the darker the greater; of_rows, of_columns: (setting, values)."""
    (row_title, rows), (column_title, columns) = of_rows, of_columns
    low, high = span([0.0, *value_RxC.ravel()])
    left, width = 16.0, 84.0 / len(columns)
    said = f"{kind} gap: {row_title} downwards, {column_title} across"
    parts = [tag("text", said, x="0", y=14, class_="tick")]
    for c, label in enumerate(columns):
        parts.append(_centred(label, left + (c + 0.5) * width, 34, "tick"))
    for r, label in enumerate(rows):
        top = 44 + r * CELL
        parts.append(tag("text", label, x="0", y=top + CELL / 2 + 4, class_="tick"))
        for c, value in enumerate(value_RxC[r]):
            box = {"x": f"{round(left + c * width + 0.3, 2)}%", "width": f"{round(width - 0.6, 2)}%"}
            box |= {"y": top + 2, "height": CELL - 4}
            shade = round((SHADES - 1) * (value - low) / (high - low)) if math.isfinite(value) else 0
            parts.append(tag("rect", **box, class_=f"heat {kind} shade-{shade}"))
            text = f"{value:.3g}" if math.isfinite(value) else "-"
            parts.append(_centred(text, left + (c + 0.5) * width, top + CELL / 2 + 4, "mark"))
    said = "; ".join(
        f"{row} and {column}: {value_RxC[r, c]:.3g}"
        for r, row in enumerate(rows)
        for c, column in enumerate(columns)
        if math.isfinite(value_RxC[r, c])
    )
    return plot(name, title, f"{said}.", *parts, height=50 + CELL * len(rows))


def _centred(text: str, at: float, y: float, class_: str) -> Markup:
    return tag("text", text, x=f"{round(at, 2)}%", y=y, text_anchor="middle", class_=class_)
