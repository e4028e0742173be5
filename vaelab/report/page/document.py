"""A page as such: its head, its contents, its sections; what it may load is nothing."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from vaelab.report.page.markup import Markup, join, tag
from vaelab.report.page.style import STYLE
from vaelab.runtime.directory import write_whole


def write_document(
    path: Path, title: str, notes: Markup, lead: Markup, sections: Mapping[str, Markup], *, script: str = ""
) -> None:
    """Writes a page of these parts under their headings, those that are empty left out.

    script: runs when all of the page is there, and is the only one that the page's policy allows.
    """
    sections = {heading: part for heading, part in sections.items() if part}
    body = join(
        tag(
            "header",
            tag("p", "vaelab report", class_="over"),
            tag("h1", title),
            notes,
            lead,
            _contents(list(sections)),
        ),
        tag("main", *(_section(n, heading, part) for n, (heading, part) in enumerate(sections.items()))),
        tag("script", Markup(script)) if script else "",
    )
    write_whole(
        path, ("<!doctype html>\n" + tag("html", _head(title, script), tag("body", body), lang="en")).encode()
    )


def _head(title: str, script: str) -> Markup:
    # The page forbids itself to load and to run anything else, so that a slip of ours stays without effect.
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(STYLE)}; base-uri 'none'; form-action 'none'"
    )
    policy += f"; script-src {_digest(script)}" if script else ""
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title}: vaelab report"),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(STYLE)),
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _contents(headings: Sequence[str]) -> Markup:
    items = (tag("li", tag("a", heading, href=f"#part-{n}")) for n, heading in enumerate(headings))
    return tag("nav", tag("ul", *items), aria_label="Contents")


def _section(number: int, heading: str, content: Markup) -> Markup:
    name = f"part-{number}"
    return tag("section", tag("h2", heading, id=name), content, aria_labelledby=name)
