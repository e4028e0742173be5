"""What the model makes of z: reconstructions, draws, paths between datapoints, traversals of active units."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vaelab.measure.pictures import REACH, Pictures
from vaelab.report.page.markup import Markup, join, strip, tag
from vaelab.report.page.summary import NUMBERS, shown


def gallery(pictures: Pictures | None, diagnostics: Mapping[str, Any] | None = None) -> Markup:
    """Strips of images with a caption each; diagnostics: the entry of the row that they belong to."""
    if pictures is None:
        return Markup()
    text = join(
        "Decodings are E[x|z]: the noise of p(x|z) is left out. The datapoints are the first"
        f" {len(pictures.index_N)} of the {pictures.split} data. {NUMBERS}"
    )
    return join(
        tag("p", text),
        _reconstructions(pictures),
        _samples(pictures),
        _paths(pictures),
        _traversals(pictures, diagnostics or {}),
    )


def _reconstructions(pictures: Pictures) -> Markup:
    numbers = f"datapoints {', '.join(map(str, pictures.index_N))}"
    strips = [
        _strip(title, images, f"{title}: {numbers}") for title, images in pictures.reconstructions.items()
    ]
    *others, best = [title for title in pictures.reconstructions if title.startswith("by ")]
    by = f"the q {' and '.join([*others, best])}" if others else "q*"
    caption = f"{numbers.capitalize()}, and below each what the decoder makes of the centre of {by}."
    return _figure("Reconstructions", strips, caption)


def _samples(pictures: Pictures) -> Markup:
    count = len(pictures.samples)
    if not count:  # of a prior that cannot be sampled
        return Markup()
    caption = f"Decodings of {count} draws of z from the prior, none of them chosen."
    title = "from the prior"
    strips = [_strip(title, pictures.samples, f"{title}: {count} decodings")]
    return _figure("Samples", strips, caption)


def _paths(pictures: Pictures) -> Markup:
    strips = [
        _strip(f"{first} to {last}", images, f"from datapoint {first} to datapoint {last}")
        for (first, last), images in pictures.paths.items()
    ]
    caption = (
        "At both ends of a row a datapoint; between them decodings of points at equal distances on the"
        f" straight line from the centre of the {_q(pictures)} of the one to that of the other."
    )
    return _figure("Interpolation", strips, caption) if strips else Markup()


def _traversals(pictures: Pictures, diagnostics: Mapping[str, Any]) -> Markup:
    if not pictures.traversals:
        return Markup()
    kls = diagnostics.get("kl_by_dimension")
    active = diagnostics.get("active_units", {}).get("by_variance", {})
    strips = []
    for unit, images in pictures.traversals.items():
        low, high = (f"{end:.2g}" for end in pictures.values[unit][[0, -1]])
        kl = "" if kls is None else f", {shown(kls[unit])} nats"
        strips.append(_strip(f"z{unit + 1}{kl}", images, f"unit z{unit + 1} from {low} to {high}"))
    drawn = len(strips)
    most = "" if drawn == active.get("count", drawn) else f", the {drawn} of {active['count']} that vary most"
    beside = "" if kls is None else "; beside each stands its KL"
    caption = (
        f"In each row one active unit{most}, from {REACH:g} standard deviations below to {REACH:g} above"
        " its mean over the aggregate posterior; the others stay at the centre of the"
        f" {_q(pictures)} of datapoint {pictures.index_N[0]}. The first row is that of the"
        f" unit whose mean varies most over the data{beside}."
    )
    return _figure("Traversals", strips, caption)


def _q(pictures: Pictures) -> str:
    return "q*" if pictures.of == "q*" else f"{pictures.of}'s q"


def _strip(label: str, images: np.ndarray, alt: str) -> Markup:
    return tag("div", tag("span", label), strip(images, alt), class_="strip")


def _figure(heading: str, strips: list[Markup], caption: str) -> Markup:
    return join(tag("h3", heading), tag("figure", *strips, tag("figcaption", caption)))
