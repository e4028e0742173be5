"""The rows of `gap.json` on the page: one sentence, the stacked bars, the tables.

A part of the page with nothing to show is empty.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vaelab import report
from vaelab.report.page import plots
from vaelab.report.page.markup import Markup, join, table, tag
from vaelab.report.quantities import HTML

DETAILED = 12  # rows that are plotted and tabulated one by one
NOTES = 6  # that are to be read first, the others on a click
Row = Mapping[str, Any]

PHI = Markup("L[q<sub>φ</sub>]")
BOUNDS = ("log_evidence", "elbo_optimal", "elbo_amortized")  # from log p(x) down
GAPS = ("approximation_gap", "amortization_gap", "inference_gap")
TITLES = {name: Markup(HTML[name]) for name in (*BOUNDS, *GAPS)}
NUMBERS = (
    "The number of a datapoint is its position in the source of the data, from 0 and before any split is"
    " made, so that it names the same one in every run of these data."
)
KINDS = {"approximation": "what the family loses", "amortization": "what the encoder loses"}


def label(row: Row) -> str:
    return f"{row['split']}, {row['family']}"


def shown(statistic: Mapping[str, Any] | None) -> str:
    """The statistic as in the printed table."""
    if statistic is None:
        return "-"
    if not np.isfinite(plots.finite(statistic)[0]):
        return "not finite"
    return report.cell(statistic)


def shown_of(row: Row, name: str) -> str:
    """A quantity of a row as in the printed table, ≥ before it where its log p(x) may lack modes."""
    return report.at_least(row, name) + shown(row.get(name))


def detailed(rows: Sequence[Row]) -> tuple[Sequence[Row], Markup]:
    """The rows that are shown one by one, and what is said about the others."""
    if len(rows) <= DETAILED:
        return rows, Markup()
    line = f"The first {DETAILED} of {len(rows)} rows; per_datapoint.npz has the numbers of all."
    return rows[:DETAILED], tag("p", line, class_="quiet")


def lead(rows: Sequence[Row]) -> Markup:
    """The first row in one sentence."""
    if not rows:
        return tag("p", "Nothing was measured.", class_="lead")
    row = rows[0]
    family, missed = row["family"], shown_of(row, "approximation_gap")
    by = row.get("amortized_by") or "encoder"
    start = f"On the {row['split']} data, with the {family} family, "
    if row.get("amortization_gap") is None:
        text = f"{start}the best q loses {missed} nats of log p(x) per datapoint (approximation gap)."
    else:
        text = (
            f"{start}inference loses {shown_of(row, 'inference_gap')} nats of log p(x) per datapoint:"
            f" {missed} as the best {family} q is not the posterior (approximation gap), and"
            f" {shown(row['amortization_gap'])} as the {by} does not give the best q (amortization gap)."
        )
    return tag("p", text, class_="lead")


def notes(rows: Sequence[Row], given: Sequence[str]) -> Markup:
    """What is wrong with the figures, before anything is read from them."""
    lines = list(given)
    for row in rows[:DETAILED]:
        broken = row.get("broken_orders") or ()
        for said, part in ((row.get("notes") or (), ""), (broken, "order broken: ")):
            unsaid = [line for line in said if not any(line in other for other in given)]
            lines += [f"{label(row)}: {part}{line}" for line in unsaid]
        unconverged, total = row.get("num_unconverged") or 0, row.get("num_points") or 0
        if unconverged > 0.05 * total:
            lines.append(
                f"{label(row)}: {unconverged:,} of {total:,} fits of q* have not converged; the amortization"
                " gap is too small, and the approximation gap too large, by what they lack."
            )
    return read_first(lines)


def read_first(lines: Iterable[str]) -> Markup:
    """The lines that should be read before any figure, each once; nothing of none."""
    lines = list(dict.fromkeys(lines))
    if not lines:
        return Markup()
    heading = tag("h2", "Read this first", id="notes")
    first, others = (
        tag("ul", *(tag("li", line) for line in part)) for part in (lines[:NOTES], lines[NOTES:])
    )
    if len(lines) > NOTES:
        first = join(first, tag("details", tag("summary", f"{len(lines) - NOTES} more"), others))
    return tag("aside", heading, first, class_="notes", aria_labelledby="notes")


def decomposition(rows: Sequence[Row]) -> Markup:
    """The quantities in words, the stacked bars, the tables."""
    if not rows:
        return Markup()
    said = "Nats per datapoint, means over datapoints; at the end of each part its own standard error."
    return join(
        _legend(KINDS),
        tag("figure", plots.bars("bars", [(label(row), row) for row in rows]), tag("figcaption", said)),
        tag("h3", "What the words mean"),
        tag("p", PHI, " ≤ L[q*] ≤ log p(x)", class_="formula"),
        _words(rows),
        tag("h3", "In numbers"),
        _quantities(rows),
        _trust(rows),
        _two_sided(rows),
    )


def _words(rows: Sequence[Row]) -> Markup:
    evidence = rows[0].get("log_evidence") or {}
    how = f", by {evidence['estimator']}" if evidence.get("estimator") else ""
    bound = "how probable the model finds a datapoint: what no inference can exceed. Measured"
    direction = {
        "lower": f"{bound} from below{how}; the approximation gap is too small by what it lacks.",
        "none": f"{bound} without bias{how}.",
    }
    meanings = {
        "log_evidence": direction.get(evidence.get("bias"), f"{bound}{how}.") + _given(rows[0]),
        "elbo_optimal": join(
            "the bound L[q] = E",
            tag("sub", "q"),
            "[log p(x|z)] - KL(q || p) at the best q of the family for that one datapoint, found by"
            " optimisation with the decoder held fixed.",
            _prior(rows[0]),
        ),
        "elbo_amortized": "the same bound at the q that the encoder gives, at once, for any datapoint.",
        "approximation_gap": "log p(x) - L[q*]: what the family loses, as no q in it is the posterior.",
        "amortization_gap": join("L[q*] - ", PHI, ": what the encoder loses against the best q."),
        "inference_gap": "their sum.",
    }
    return _definitions((TITLES[name], meaning) for name, meaning in meanings.items())


def _prior(row: Row) -> str:
    """What p(z) is, where that is not N(0, I)."""
    name = row.get("prior")
    return "" if name in (None, "standard_normal") else f" p(z) is learned: the prior is {name}."


def _given(row: Row) -> str:
    """What all is conditional on, if on anything."""
    given = row.get("given")
    return f" All is given y, the {given.replace('_', ' ')}: this is log p(x given y)." if given else ""


def _definitions(entries: Iterable[tuple[Any, Any]]) -> Markup:
    return tag("dl", *(tag("div", tag("dt", term), tag("dd", meaning)) for term, meaning in entries))


def _legend(names: Mapping[str, str]) -> Markup:
    items = []
    for kind, words in names.items():
        swatch = tag("rect", x=0, y=0, width=26, height=14, class_=kind)
        items.append(tag("li", tag("svg", swatch, aria_hidden="true"), f"{kind} gap: {words}"))
    return tag("ul", *items, class_="legend")


def _quantities(rows: Sequence[Row]) -> Markup:
    lines = []
    for row in rows:
        lines.append([label(row), *(shown_of(row, name) for name in TITLES)])
        if row.get("exact"):
            lines.append(["closed form", *(shown(row["exact"].get(name)) for name in TITLES)])
    caption = "Nats per datapoint: mean ± standard error over datapoints"
    return table(caption, ["split, family", *TITLES.values()], lines)


def _trust(rows: Sequence[Row]) -> Markup:
    words = {
        "φ from": "what gave φ, which q* is compared with",
        "certificate": "what says how far q* may still be from the optimum: a proved bound, an estimate in"
        " the curvature of the bound, or the progress of the last steps",
        "not converged": "datapoints whose certificate, with two of its errors, is above the tolerance",
        "negative gaps": "datapoints at which the fitted q* came out below the encoder",
        "gradient evaluations": "of log p(x, z), for the fit of one datapoint",
        "Pareto k over 0.7": "datapoints whose weights for log p(x) have too heavy a tail for their error to"
        " be believed",
    }
    lines = []
    for row in rows:
        evidence = row.get("log_evidence") or {}
        flat = {**row, report.HEAVY_TAILED: evidence.get(report.HEAVY_TAILED)}
        values = [flat.get("amortized_by"), *(flat.get(key) for key in report.COUNTS.values())]
        cells = ["-" if v is None else v if isinstance(v, str) else f"{v:,}" for v in values]
        lines.append([label(row), *cells])
    head = ["split, family", "φ from", *report.COUNTS]
    return join(
        table("How far the figures can be trusted", head, lines),
        tag("details", tag("summary", "What these columns count"), _definitions(words.items())),
    )


def _two_sided(rows: Sequence[Row]) -> Markup:
    lines = [
        [
            label(row),
            *(shown(row["two_sided"].get(side)) for side in ("lower", "upper", "width")),
            as_number((row.get("calibration") or {}).get("p_value")),
        ]
        for row in rows
        if row.get("two_sided")
    ]
    head = ["split, family", "lower", "upper", "their width", "calibration, p"]
    return table("log p(x) from both sides, on simulated data, nats", head, lines) if lines else Markup()


def as_number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if np.isfinite(value) else "not finite"
