"""The page of a run or an audit: what it measured, in one file that loads nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.measure.pictures import Pictures
from vaelab.report.page import datapoints, gallery, modes, origin, parts, summary, units
from vaelab.report.page.advice import advice
from vaelab.report.page.document import write_document
from vaelab.report.page.latent import Latents
from vaelab.report.page.markup import join


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


def _diagnostics(rows: Sequence[Mapping[str, Any]], drawn: Pictures | None) -> Mapping[str, Any] | None:
    """Those of the row of the pictures."""
    named = drawn and (drawn.split, drawn.family)
    return next((row.get("diagnostics") for row in rows if (row["split"], row["family"]) == named), None)
