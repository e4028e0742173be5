"""Scales, axes and frames of inline SVG that follow the page: its colours, and its width without a script.

Positions across are percentages of the width, downwards pixels. So text keeps its size on every screen. Lines
of many points are drawn in a nested frame that is stretched, their strokes are not.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vaelab.report.page.markup import Markup, join, tag

EDGE = 1.5  # per cent of the width free on both sides, for the halves of points and labels
AXIS = 40  # pixels below a plot: the labels of its ticks, its title
GUTTER = 44  # of a square, left of it: the labels of its vertical axis


class Scale(NamedTuple):
    """A linear map of [low, high] to [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The position of a value."""
        position = self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)
        return round(float(position), 2)

    def across(self, value: float) -> str:
        """The position of a value as a percentage."""
        return f"{self(value)}%"


def span(values: Any, *, margin: float = 0.0) -> tuple[float, float]:
    """The least and the greatest finite value, apart; margin: a part of their distance, on both sides."""
    values = np.asarray(values, np.float64).ravel()
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        low, high = low - 0.5, high + 0.5
    wider = margin * (high - low)
    return low - wider, high + wider


def ticks(low: float, high: float, count: int = 4, *, whole: bool = False) -> list[tuple[float, str]]:
    """Round numbers within the range, about `count` of them and integers if `whole`, with their text."""
    rough = max((high - low) / count, 1.0 if whole else 0.0)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(number * step, f"{number * step:,.{decimals}f}") for number in range(first, last + 1)]


def horizontal_axis(
    x: Scale,
    top: float,
    bottom: float,
    title: str,
    *,
    whole: bool = False,
    bands: Sequence[tuple[float, float]] = (),
) -> Markup:
    """Thin lines at round numbers from top to bottom, their labels and the title below.

    bands: (top, bottom) of the lines where they are drawn in parts, with text between them.
    """
    lines, labels = [], []
    for value, text in ticks(x.low, x.high, whole=whole):
        at = x.across(value)
        zero = "zero" if value == 0 else "grid"
        for start, end in bands or [(top, bottom)]:
            lines.append(tag("line", x1=at, x2=at, y1=start, y2=end, class_=zero))
        anchor = "start" if x(value) < 6 else "end" if x(value) > 94 else "middle"
        labels.append(tag("text", text, x=at, y=bottom + 15, text_anchor=anchor, class_="tick"))
    return join(*lines, *labels, tag("text", title, x="0", y=bottom + 33, class_="tick"))


def vertical_axis(y: Scale) -> Markup:
    """Thin lines at round numbers, with their labels left of the plot, which has a gutter for them."""
    parts = []
    for value, text in ticks(y.low, y.high, 3):
        zero = "zero" if value == 0 else "grid"
        parts.append(tag("line", x1="0", x2="100%", y1=y(value), y2=y(value), class_=zero))
        parts.append(tag("text", text, x="-7", y=y(value) + 4, text_anchor="end", class_="tick"))
    return join(*parts)


def plot(
    name: str, title: str, description: str, *content: Markup, height: float, gutter: bool = False
) -> Markup:
    """A drawing as wide as what it stands in; name: unique on the page.

    gutter: leaves room at the left for the labels of a vertical axis.
    """
    kind = "plot gutter" if gutter else "plot"
    return _labelled(name, title, description, content, width="100%", height=height, class_=kind)


def square(name: str, title: str, description: str, *content: Markup, side: int) -> Markup:
    """A drawing with the same scale in both directions, in units of its side, with a gutter at the left."""
    box = f"{-GUTTER} -8 {side + GUTTER + 8} {side + AXIS + 8}"
    return _labelled(name, title, description, content, viewBox=box, class_="plot square")


def _labelled(name: str, title: str, description: str, content: Any, **attributes: Any) -> Markup:
    words = (tag("title", title, id=f"{name}-title"), tag("desc", description, id=f"{name}-desc"))
    by = f"{name}-title {name}-desc"
    return tag("svg", *words, *content, role="img", aria_labelledby=by, **attributes)


def line(x_N: Any, y_N: Any, x: Scale, y: Scale, class_: str) -> Markup:
    """A line through the points, in a frame stretched to the width; one that is not finite breaks it."""
    pieces, piece = [], []
    for a, b in zip(x_N, y_N, strict=True):
        if math.isfinite(b):
            piece.append(f"{x(a)},{y(b)}")
            continue
        pieces, piece = [*pieces, piece], []
    lines = (tag("polyline", points=" ".join(p), class_=class_) for p in (*pieces, piece) if p)
    return tag(
        "svg", *lines, width="100%", height=y.start, viewBox=f"0 0 100 {y.start}", preserveAspectRatio="none"
    )


def whisker(x: Scale, mean: float, stderr: float, middle: float, half: float) -> Markup:
    """mean ± stderr, lying, with caps; nothing without an error."""
    if not math.isfinite(stderr):
        return Markup()
    low, high = x.across(mean - stderr), x.across(mean + stderr)
    ends = (tag("line", x1=at, x2=at, y1=middle - half, y2=middle + half) for at in (low, high))
    return tag("g", tag("line", x1=low, x2=high, y1=middle, y2=middle), *ends, class_="whisker")
