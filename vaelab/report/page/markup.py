"""HTML from Python: tags that escape what is put into them, tables, pictures."""

import base64
import io
import re
from collections.abc import Iterable, Sequence
from html import escape, unescape
from typing import Any

import numpy as np

FEW = 3  # columns that fit a phone side by side
SHORT = 9  # letters of a cell and of a title, of which more stand side by side
VOID = {"img", "input", "link", "meta"}


class Markup(str):
    """Text that is HTML already. Any other string is escaped where it enters a tag."""


def join(*content: Any) -> Markup:
    """The contents, one after the other; what is no Markup is escaped."""
    return Markup("".join(part if isinstance(part, Markup) else escape(str(part)) for part in content))


def tag(name: str, /, *content: Any, **attributes: Any) -> Markup:
    """<name ...>content</name>. In the names of attributes _ is -, but for a last one, as in class_.

    An attribute that is None is left out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>" if name in VOID else f"<{name}{given}>{join(*content)}</{name}>")


def table(
    caption: str,
    head: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    *,
    words: Sequence[int] = (),
) -> Markup:
    """A table in a box that scrolls; the first cell of a row is its heading.

    A row of more than FEW cells is a card on a phone, where each cell has the title of its column beside it.

    words: the columns that hold words, and not numbers.
    """
    kinds = ["words" if number in words else None for number in range(len(head))]
    top = tag("tr", *(tag("th", c, scope="col", class_=k) for c, k in zip(head, kinds, strict=True)))
    body, titles = [], [plain(title) for title in head]
    longest = 0
    for first, *rest in rows:
        longest = max([longest, *(len(plain(c)) for c, k in zip(rest, kinds[1:], strict=True) if k is None)])
        cells = (
            tag("td", cell, class_=kind, data_of=title)
            for cell, kind, title in zip(rest, kinds[1:], titles[1:], strict=True)
        )
        body.append(tag("tr", tag("th", first, scope="row", data_of=titles[0]), *cells))
    content = tag("table", tag("caption", tag("span", caption)), tag("thead", top), tag("tbody", *body))
    kind = "scroll cards" if len(head) > FEW else "scroll"
    kind += " short" if len(head) > FEW and max(longest, *map(len, titles[1:]), 0) <= SHORT else ""
    return tag("div", content, class_=kind, role="region", aria_label=caption, tabindex=0)


def plain(text: Any) -> str:
    """The text alone of what may be markup."""
    return unescape(re.sub(r"<[^>]*>", "", text)) if isinstance(text, Markup) else str(text)


SIDE = 56  # CSS pixels of a picture's longer side


def picture(pixels: np.ndarray, alt: str) -> Markup:
    """An image with values from 0 to 1, `[height, width]` or `[height, width, 3]`, as an inline PNG."""
    height, width = (round(SIDE * side / max(pixels.shape[:2])) for side in pixels.shape[:2])
    return tag("img", src=_png(_bytes(pixels)), alt=alt, width=max(width, 1), height=max(height, 1))


def strip(images: np.ndarray, alt: str) -> Markup:
    """Images `[n, height, width]` or `[n, height, width, 3]` side by side; the page shows between them."""
    pixels = _bytes(images)
    pixels = np.repeat(pixels[..., None], 3, axis=3) if pixels.ndim == 3 else pixels
    count, height, width, _ = pixels.shape
    gap = max(1, width // 14)
    joined = np.zeros((height, count, width + gap, 4), np.uint8)
    joined[:, :, :width, :3] = np.swapaxes(pixels, 0, 1)
    joined[:, :, :width, 3] = 255
    joined = joined.reshape(height, count * (width + gap), 4)[:, :-gap]
    scale = max(1, round(SIDE / max(height, width)))
    size = {"width": scale * joined.shape[1], "height": scale * height}
    return tag("img", src=_png(joined), alt=alt, **size)


def _bytes(pixels: np.ndarray) -> np.ndarray:
    # Not a number is black, as nothing else of a picture is.
    return np.rint(255 * np.clip(np.nan_to_num(pixels), 0.0, 1.0)).astype(np.uint8)


def _png(pixels: np.ndarray) -> str:
    from PIL import Image  # in the function: only a page with pictures waits for it

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
