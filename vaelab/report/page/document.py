"""The page itself: what a run or an audit measured, in one file that loads nothing else."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.measure.pictures import Pictures
from vaelab.report.page import datapoints, gallery, modes, origin, parts, summary, units
from vaelab.report.page.advice import advice
from vaelab.report.page.latent import Latents
from vaelab.report.page.markup import Markup, join, tag
from vaelab.report.page.style import STYLE
from vaelab.runtime.directory import write_whole


def write_page(
    path: Path,
    *,
    title: str,
    rows: Sequence[Mapping[str, Any]],
    per_datapoint: Mapping[str, np.ndarray],
    metrics: Sequence[Mapping[str, Any]] = (),
    config: Mapping[str, Any] | None = None,
    command: str | None = None,
    versions: Mapping[str, str] | None = None,
    pictures: Mapping[str, Mapping[int, Mapping[str, np.ndarray]]] | None = None,
    latents: Mapping[str, Latents] | None = None,
    drawn: Pictures | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Writes the page; what is not given is left out.

    rows, per_datapoint, metrics: as in `gap.json`, `per_datapoint.npz` (with "split/labels" too) and
        `metrics.jsonl`.
    pictures: "split/family" -> index of a datapoint -> title -> image with values from 0 to 1.
    latents: "split/family" -> q_phi and q* of some datapoints.
    drawn: what the model makes of z.
    notes: lines that should be read first.
    """
    sections = {
        "What inference loses": summary.decomposition(rows),
        "Where the amortization gap sits": parts.of_the_encoder(rows),
        "What the levels leave out": parts.of_levels(rows),
        "What the diagonal family leaves out": parts.of_the_diagonal(rows),
        "What the latents carry": units.latents_used(rows),
        "Aggregate posterior against prior": units.aggregate(rows),
        "Several modes": modes.several_modes(rows, per_datapoint),
        "Gaps by group": parts.by_group(rows),
        "How the gaps vary": datapoints.distributions(rows, per_datapoint),
        "Worst datapoints": datapoints.worst_datapoints(rows, per_datapoint, pictures or {}),
        "Encoder against optimum": datapoints.latent_space(rows, latents or {}),
        "What the model makes of z": gallery.gallery(drawn, _diagnostics(rows, drawn)),
        "Learning curves": origin.learning_curves(metrics),
        "How it was made": origin.provenance(command, versions, config),
    }
    lead = join(summary.lead(rows), advice(rows, per_datapoint))
    write_document(path, title, summary.notes(rows, notes), lead, sections)


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


def _diagnostics(rows: Sequence[Mapping[str, Any]], drawn: Pictures | None) -> Mapping[str, Any] | None:
    """Those of the row of the pictures."""
    named = drawn and (drawn.split, drawn.family)
    return next((row.get("diagnostics") for row in rows if (row["split"], row["family"]) == named), None)


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
