"""Where the encoder puts q in latent space, and where q* is."""

import math
from typing import NamedTuple

import numpy as np

from vaelab.report.page.markup import Markup, join, tag
from vaelab.report.page.svg import Scale, span, square, ticks

SIDE = 360
HALF = 3.5  # of the side of a small square


class Latents(NamedTuple):
    """Means and standard deviations of Gaussian q_phi (amortized) and q* (optimal), `[n, K]` each."""

    mean_amortized: np.ndarray
    mean_optimal: np.ndarray
    sd_amortized: np.ndarray
    sd_optimal: np.ndarray


def widest(latents: Latents) -> list[int]:
    """The two dimensions in which the means of q* are spread most, or the only one."""
    spread_K = np.nan_to_num(np.std(np.float64(latents.mean_optimal), axis=0))
    return [int(k) for k in np.argsort(-spread_K, kind="stable")[:2]]


def means(name: str, label: str, latents: Latents) -> Markup:
    """From the mean of q_phi to that of q* in the two widest dimensions; of one alone, against each other."""
    first, *second = widest(latents)
    if not second:
        pair = latents.mean_amortized[:, :1], latents.mean_optimal[:, :1]
        return _against(name, f"Mean of q by the encoder and of q*, {label}", "mean", *pair, [first])
    planes = (mean[:, [first, second[0]]] for mean in (latents.mean_amortized, latents.mean_optimal))
    start_Nx2, end_Nx2 = (np.float64(plane) for plane in planes)
    ranges = [span(np.concatenate([start_Nx2[:, k], end_Nx2[:, k]]), margin=0.05) for k in (0, 1)]
    half = max(high - low for low, high in ranges) / 2
    x, y = (
        Scale((low + high) / 2 - half, (low + high) / 2 + half, *ends)
        for (low, high), ends in zip(ranges, ((0, SIDE), (SIDE, 0)), strict=True)
    )
    content = [_grid(x, y, f"z{first + 1} across, z{second[0] + 1} upwards")]
    for start_2, end_2 in zip(start_Nx2, end_Nx2, strict=True):
        if not np.isfinite([*start_2, *end_2]).all():
            continue
        ends = {"x1": x(start_2[0]), "y1": y(start_2[1]), "x2": x(end_2[0]), "y2": y(end_2[1])}
        content.append(tag("line", **ends, class_="move"))
        content.append(tag("circle", cx=ends["x1"], cy=ends["y1"], r=4, class_="amortized"))
        content.append(tag("circle", cx=ends["x2"], cy=ends["y2"], r=2.5, class_="optimal"))
    said = f"{len(start_Nx2)} datapoints: a ring at the encoder's mean, joined to a dot at the mean of q*."
    return square(name, f"Means in latent space, {label}", said, *content, side=SIDE)


def deviations(name: str, label: str, latents: Latents) -> Markup:
    """The standard deviations of q_phi against those of q*, in the dimensions of `means`."""
    dims = widest(latents)
    pair = latents.sd_amortized[:, dims], latents.sd_optimal[:, dims]
    title = f"Standard deviations of q by the encoder and of q*, {label}"
    return _against(name, title, "standard deviation", *pair, dims)


def _against(
    name: str, title: str, what: str, amortized_NxK: np.ndarray, optimal_NxK: np.ndarray, dims: list[int]
) -> Markup:
    """Encoder upwards, q* across, equal on the diagonal; squares, filled for the first dimension or open."""
    low, high = span(np.concatenate([amortized_NxK, optimal_NxK]), margin=0.05)
    low = 0.0 if what == "standard deviation" else low
    x, y = Scale(low, high, 0, SIDE), Scale(low, high, SIDE, 0)
    content = [_grid(x, y, f"{what}: q* across, the encoder upwards")]
    content.append(tag("line", x1=0, y1=SIDE, x2=SIDE, y2=0, class_="median"))
    for k, kind in zip(range(len(dims)), ("first", "second"), strict=False):
        for across_, upwards in zip(optimal_NxK[:, k], amortized_NxK[:, k], strict=True):
            if math.isfinite(across_) and math.isfinite(upwards):
                box = {"x": round(x(across_) - HALF, 2), "y": round(y(upwards) - HALF, 2)}
                content.append(tag("rect", **box, width=2 * HALF, height=2 * HALF, class_=kind))
    named = " and ".join(f"z{k + 1}" for k in dims)
    said = f"{len(optimal_NxK)} datapoints in {named}; on the diagonal encoder and q* agree."
    return square(name, title, said, *content, side=SIDE)


def _grid(x: Scale, y: Scale, title: str) -> Markup:
    parts = []
    for value, text in ticks(x.low, x.high):
        parts.append(tag("line", x1=x(value), x2=x(value), y1=0, y2=SIDE, class_="grid"))
        anchor = "start" if x(value) < 20 else "end" if x(value) > SIDE - 20 else "middle"
        parts.append(tag("text", text, x=x(value), y=SIDE + 15, text_anchor=anchor, class_="tick"))
    for value, text in ticks(y.low, y.high):
        parts.append(tag("line", x1=0, x2=SIDE, y1=y(value), y2=y(value), class_="grid"))
        parts.append(tag("text", text, x=-7, y=y(value) + 4, text_anchor="end", class_="tick"))
    return join(*parts, tag("text", title, x=0, y=SIDE + 33, class_="tick"))
