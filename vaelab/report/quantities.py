"""What is measured, and what it is called in each table and plot."""

from typing import NamedTuple


class Quantity(NamedTuple):
    """One quantity; None for where it is not shown.

    name: its key in `gap.json`, `sweep.json` and the columns of CSV files
    title: in the table of a run or an audit
    short: in the tables and plots of sweeps and comparisons
    html: on the page of a run
    colour: in the plots of a run and of a sweep
    """

    name: str
    title: str | None
    short: str | None
    html: str | None
    colour: str | None = None


QUANTITIES = (
    Quantity("elbo_amortized", "amortized L[q_phi]", "L[q_phi]", "amortized L[q<sub>φ</sub>]"),
    Quantity("elbo_optimal", "optimal L[q*]", "L[q*]", "optimal L[q*]"),
    Quantity("log_evidence", "log p(x), lower bound", "log p(x) >=", "log p(x)"),
    Quantity("amortization_gap", *["amortization gap"] * 3, "#ee8866"),
    Quantity("approximation_gap", *["approximation gap"] * 3, "#4477aa"),
    Quantity("inference_gap", "inference gap", None, "inference gap", "#777777"),
    Quantity("generalization_gap", None, "generalization gap", None, "#228833"),
)

MEASURED = {q.name: q.title for q in QUANTITIES if q.title is not None}
"""name -> title of what every row of `gap.json` has; the generalization gap needs several rows."""

LEVEL_GAPS = {
    "within_level": "within-level gap",
    "across_level": "across-level gap",
    "non_gaussian": "non-Gaussian gap",
}
"""name -> title of the parts of an approximation gap where z has levels; see `measure.nested`."""

SWEPT = {q.name: q.short for q in QUANTITIES if q.short is not None}
"""name -> title of what the table of a sweep shows."""

COMPARED = {name: title for name, title in SWEPT.items() if name in MEASURED}
"""name -> title of what runs are compared in."""

HTML = {q.name: q.html for q in QUANTITIES if q.html is not None}
"""name -> title on the page of a run, as HTML."""

COLOURS = {q.name: q.colour for q in QUANTITIES if q.colour is not None}
"""name -> colour of what is plotted."""
