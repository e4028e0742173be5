"""The tables that a person sees, and `gap.json`."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape

from vaelab.report.fitted import FittedTable
from vaelab.report.quantities import LEVEL_GAPS, MEASURED

HEAVY_TAILED = "num_heavy_tailed"  # under log_evidence in a row

COUNTS = {
    "datapoints": "num_points",
    "certificate": "certificate",
    "not converged": "num_unconverged",
    "negative gaps": "num_negative",
    "gradient evaluations": "decoder_evaluations_per_point",
    "Pareto k over 0.7": HEAVY_TAILED,
}

BITS = {r"bits/dim, L\[q_phi]": "elbo_amortized", "bits/dim, log p(x)": "log_evidence"}

OF_NO_VALUE_PLAIN = "smoke: these figures mean nothing"
OF_NO_VALUE = f"[bold red]{OF_NO_VALUE_PLAIN}[/]"


def cell(statistic: dict[str, Any] | None) -> str:
    """mean ± stderr to two digits of the error, between 2 and 4 decimals."""
    if statistic is None:
        return "-"
    # null in gap.json stands for what is not finite, as the error of a single datapoint.
    mean, stderr = (math.nan if statistic[k] is None else statistic[k] for k in ("mean", "stderr"))
    if not math.isfinite(mean):
        return "not finite" if math.isnan(mean) else f"{mean}"
    small = math.isfinite(stderr) and stderr > 0
    decimals = min(max(1 - math.floor(math.log10(stderr)), 2), 4) if small else 4
    return f"{mean:.{decimals}f} ± " + (f"{stderr:.{decimals}f}" if math.isfinite(stderr) else "unknown")


AT_LEAST = ("log_evidence", "approximation_gap", "inference_gap")  # too small by what log p(x) lacks


def at_least(row: Mapping[str, Any], name: str) -> str:
    """A ≥ for what stands before a quantity of a row of `gap.json` whose log p(x) may lack modes."""
    lacks = name in AT_LEAST and row.get(name) is not None and (row.get("modes") or {}).get("may_lack")
    return "≥ " if lacks else ""


def level_gap(row: Mapping[str, Any], name: str) -> str:
    """A part of the approximation gap by level, of a row or of its closed forms; "-" where there is none."""
    value = cell((row.get("approximation_parts") or {}).get(name))
    return ("≥ " if name == "non_gaussian" and at_least(row, "approximation_gap") else "") + value


def kl_by_level(row: Mapping[str, Any]) -> str:
    """The KL of each level, the one next to x first, as "3.21, 0.40"; "-" where there is none."""
    parts = [part["kl"] for part in (row.get("diagnostics") or {}).get("by_level") or ()]
    return ", ".join("not finite" if kl is None else f"{kl['mean']:.2f}" for kl in parts) or "-"


def gap_table(rows: list[dict[str, Any]], *, smoke: bool = False) -> FittedTable:
    """The rows of `gap.json` as columns: mean ± standard error over datapoints, nats per datapoint.

    Where a row has closed forms (`exact`), they stand in a column beside it.
    """
    caption = "nats per datapoint: mean ± standard error over datapoints" + f"\n{OF_NO_VALUE}" * smoke
    for given in dict.fromkeys(row["given"] for row in rows if row.get("given")):
        caption += f"\nall given y, the {given.replace('_', ' ')}: log p(x) is log p(x given y)"
    table = FittedTable(caption=caption)
    table.add_column("")
    level_gaps = LEVEL_GAPS if any(row.get("approximation_parts") for row in rows) else {}
    labels = [_label(name, rows) for name in MEASURED] + list(level_gaps.values()) + list(COUNTS)
    modes = any(row.get("modes", {}).get("num_several") for row in rows)
    labels += ["lost at a lesser mode", "with several modes"] if modes else []
    units = any(_active_units(row) is not None for row in rows)
    labels += ["active units"] if units else []
    by_level = any(kl_by_level(row) != "-" for row in rows)
    labels += ["KL by level, from x up"] if by_level else []
    in_bits = any(row.get("bits_per_dim") for row in rows)
    labels += list(BITS) if in_bits else []
    two_sided = any("two_sided" in row for row in rows)
    labels += ["two-sided, lower", "two-sided, upper", "their width", "calibration, p"] if two_sided else []
    columns = []
    for row in rows:
        table.add_column(f"{row['split']}, {row['family']}", justify="right")
        bounds = [cell(row.get("two_sided", {}).get(key)) for key in ("lower", "upper", "width")]
        bounds.append(_plain(row.get("calibration", {}).get("p_value")))
        cells = [at_least(row, name) + cell(row[name]) for name in MEASURED]
        cells += [level_gap(row, name) for name in level_gaps] + _counts(row)
        if modes:
            several = row.get("modes", {}).get("num_several")
            cells += [cell(row.get("wrong_mode_gap")), "-" if several is None else f"{several:,}"]
        cells += [_active_units(row) or "-"] if units else []
        cells += [kl_by_level(row)] if by_level else []
        cells += [cell(row.get("bits_per_dim", {}).get(name)) for name in BITS.values()] if in_bits else []
        columns.append(cells + (bounds if two_sided else []))
        if "exact" in row:
            table.add_column("closed form", justify="right")
            cells = [cell(row["exact"][name]) for name in MEASURED]
            cells += [level_gap(row["exact"], name) for name in level_gaps]
            columns.append(cells + [""] * (len(labels) - len(cells)))
    for label, *cells in zip(labels, *columns, strict=True):
        table.add_row(label, *cells)
    return table


def _active_units(row: dict[str, Any]) -> str | None:
    """How many latent dimensions are used, as "7 of 10, 1 undecided"."""
    counted = (row.get("diagnostics", {}).get("active_units") or {}).get("by_variance")
    if counted is None:
        return None
    undecided = len(counted["undecided"])
    return f"{counted['count']} of {counted['of']}" + (f", {undecided} undecided" if undecided else "")


def _label(name: str, rows: list[dict[str, Any]]) -> str:
    if name != "log_evidence" or not all(row[name]["bias"] == "none" for row in rows):
        return escape(MEASURED[name])
    reaches = {row[name].get("reach") for row in rows} - {None}
    return "log p(x), by quadrature" + "".join(f" to {reach:g} sd" for reach in reaches if len(reaches) == 1)


def remarks(rows: list[dict[str, Any]]) -> list[str]:
    """What deserves a look: the notes of the rows, and the orders that are broken, each once."""
    lines = []
    for row in rows:
        lines += [f"{row['split']}: {note}" for note in row.get("notes", ())]
        lines += [f"order broken on {row['split']}: {order}" for order in row["broken_orders"]]
    return list(dict.fromkeys(lines))


def plain_table(title: str, rows: list[dict[str, Any]], *, smoke: bool = False) -> FittedTable:
    """Rows of the same keys under these keys; numbers to four digits."""
    caption = OF_NO_VALUE if smoke else None
    table = FittedTable(title=title, title_justify="left", caption=caption)
    for number, name in enumerate(rows[0]):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(_plain(v) for v in row.values()))
    return table


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _counts(row: dict[str, Any]) -> list[str]:
    flat = {**row, HEAVY_TAILED: row["log_evidence"][HEAVY_TAILED]}
    values = [flat[key] for key in COUNTS.values()]
    return ["-" if value is None else value if type(value) is str else f"{value:,}" for value in values]


def to_json(
    rows: list[dict[str, Any]],
    *,
    smoke: bool,
    versions: Sequence[Mapping[str, str]] = (),
    training: Sequence[Mapping[str, Any]] = (),
) -> bytes:
    """`gap.json`, `sweep.json`; a number that is not finite becomes null, as JSON has none.

    versions: what the rows were made with, part after part. training: for each stage its last step, the step
    whose parameters the rows are about, and the setting that ended it.
    """

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [clean(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    content: dict[str, Any] = {"smoke": smoke, "rows": clean(rows)}
    content |= {"versions": versions} if versions else {}
    content |= {"training": training} if training else {}
    return (json.dumps(content, indent=2) + "\n").encode()
