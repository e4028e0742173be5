"""The rows of `gap.json` and `sweep.json` as a DataFrame of pandas and as a LaTeX table."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vaelab.errors import ConfigError
from vaelab.report.quantities import QUANTITIES
from vaelab.report.tables import at_least

if TYPE_CHECKING:
    import pandas

Row = Mapping[str, Any]
TITLES = {
    "elbo_amortized": r"$\mathcal{L}[q_\phi]$",
    "elbo_optimal": r"$\mathcal{L}[q^*]$",
    "log_evidence": r"$\log p(x)$",
}
ESCAPED = {"_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#"}


def to_dataframe(rows: Sequence[Row]) -> "pandas.DataFrame":
    """Returns a DataFrame with a line for each row of a run, an audit or a sweep.

    Args:
        rows: of `run`, `sweep`, `FinishedRun.rows` or `Report.rows`.

    Columns are the settings of a sweep's point, what a row is about (split, family, counts), and each
    quantity with its `_stderr` and, over several seeds, the `_half_width` of its 95% interval; nats a
    datapoint. What a row does not have is NaN, or None.

    Raises:
        ConfigError: where pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise ConfigError("to_dataframe needs pandas: pip install 'vaelab[tables]'") from None
    return pandas.DataFrame([_flat(row) for row in rows])


def _flat(row: Row) -> dict[str, Any]:
    names = [quantity.name for quantity in QUANTITIES]
    line = dict(row.get("settings", {}))
    line |= {key: value for key, value in row.items() if isinstance(value, str | int | float | bool)}
    for name in names:
        statistic = row.get(name)
        if name not in row:
            continue
        line[name] = math.nan if statistic is None else statistic["mean"]
        line[f"{name}_stderr"] = math.nan if statistic is None else statistic["stderr"]
        if statistic is not None and "half_width" in statistic:
            line[f"{name}_half_width"] = statistic["half_width"]
    return line


def to_latex(rows: Sequence[Row]) -> str:
    """Returns the table of a run or an audit as a LaTeX tabular, for the package booktabs.

    Args:
        rows: of `run`, `FinishedRun.rows` or `Report.rows`.

    Nats a datapoint; -23.50(19) is -23.50 with a standard error of 0.19, and a sign "at least" stands before
    what may lack modes. Errors have one or two digits by the
    rule of the Particle Data Group (Review of Particle Physics, introduction, section 5.3): two where their
    first three digits are below 355, one up to 949, and 950 and more are rounded up to the next power.
    """
    names = [q.name for q in QUANTITIES if any(row.get(q.name) is not None for row in rows)]
    head = " & ".join(["", *(_text(f"{row['split']}, {row['family']}") for row in rows)])
    lines = [r"\begin{tabular}{l" + "r" * len(rows) + "}", r"\toprule", head + r" \\", r"\midrule"]
    for name in names:
        cells = [_cell(row.get(name), at_least=bool(at_least(row, name))) for row in rows]
        lines.append(" & ".join([TITLES.get(name, _text(name.replace("_", " "))), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _cell(statistic: Row | None, *, at_least: bool) -> str:
    if statistic is None:
        return "--"
    number = rounded(statistic["mean"], statistic["stderr"])
    return rf"$\geq {number}$" if at_least else f"${number}$"


def _text(text: str) -> str:
    return "".join(ESCAPED.get(letter, letter) for letter in text)


def rounded(mean: float | None, stderr: float | None) -> str:
    """Returns mean and error as 1.234(56), the error in units of the last digit."""
    if mean is None or not math.isfinite(mean):
        return r"\text{not finite}"
    if stderr is None or not math.isfinite(stderr):
        return f"{mean:.4g}"
    if stderr <= 0.0:
        return f"{mean:.4f}"
    power = math.floor(math.log10(stderr))
    first = round(stderr / 10.0**power * 100.0)  # three digits
    digits = 2 if first < 355 or first >= 950 else 1
    decimals = max(digits - 1 - power - (first >= 950), 0)
    unit = 10.0**-decimals
    # An error of 1 or more is written with its point, as 123.4(1.2), or without decimals at all.
    error = round(stderr / unit)
    text = f"{error * unit:.{decimals}f}" if error * unit >= 1.0 else f"{error}"
    return f"{mean:.{decimals}f}({text})"
