"""Where the figures come from: the training, the command, the versions, the settings."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vaelab.report.page import plots
from vaelab.report.page.markup import Markup, join, table, tag
from vaelab.report.page.summary import as_number

LINES = 24  # of the table of a learning curve
NOT_BOUNDS = {"stage", "step", "grad_norm", "seconds", "num_skipped", "validation_elbo", "validation_stderr"}


def learning_curves(metrics: Sequence[Mapping[str, Any]]) -> Markup:
    """The training bound and the validation ELBO of each stage."""
    figures = []
    for number, stage in enumerate(dict.fromkeys(line["stage"] for line in metrics)):
        lines = [line for line in metrics if line["stage"] == stage]
        drawn = _curves(lines)
        if not drawn:
            continue
        plot = plots.curves(f"curves-{number}", stage, drawn)
        last = ", ".join(f"{curve.name} {as_number(curve.value_N[-1])}" for curve in drawn)
        whole = tag("details", tag("summary", "In numbers"), _curve_table(stage, lines))
        caption = tag("figcaption", f"At the end: {last}.")
        figures.append(tag("figure", tag("h3", stage.replace("_", " ")), plot, caption, whole))
    if not figures:
        return Markup()
    text = (
        "The bound that is trained on, a mean over the steps since the last point (solid), and the validation"
        " ELBO with its standard error (dashed), nats per datapoint; higher is better."
    )
    return join(tag("p", text), tag("div", *figures, class_="panels"))


def _curves(lines: Sequence[Mapping[str, Any]]) -> list[plots.Curve]:
    bounds = dict.fromkeys(key for line in lines for key in line if key not in NOT_BOUNDS)
    drawn = []
    for key, kind in [*((bound, "training") for bound in bounds), ("validation_elbo", "validation")]:
        with_value = [line for line in lines if line.get(key) is not None]
        if not with_value:
            continue
        step_N, value_N = (np.float64([line[name] for line in with_value]) for name in ("step", key))
        stderr_N = None
        if kind == "validation":
            stderr_N = np.float64([line.get("validation_stderr") or 0.0 for line in with_value])
        drawn.append(plots.Curve(key, kind, step_N, value_N, stderr_N))
    return drawn


def _curve_table(stage: str, lines: Sequence[Mapping[str, Any]]) -> Markup:
    """Shows about `LINES` of the lines, the last one among them."""
    names = [key for key in dict.fromkeys(k for line in lines for k in line) if key != "stage"]
    every = -(-len(lines) // LINES)
    kept = lines[::-1][::every][::-1]
    cells = ([_plain(line.get(name)) for name in names] for line in kept)
    return table(f"{stage}, {len(kept)} of {len(lines)} lines of metrics.jsonl", names, cells)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if np.isfinite(value) else "not finite"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def provenance(
    command: str | None, versions: Mapping[str, str] | None, config: Mapping[str, Any] | None
) -> Markup:
    """The command, the versions, every setting."""
    parts = []
    if command:
        parts += [tag("h3", "Command"), tag("pre", tag("code", command))]
    if versions:
        lines = [[name, version] for name, version in versions.items()]
        parts += [
            tag("h3", "Versions"),
            table("Versions of what it was made with", ["package", "version"], lines, words=[1]),
        ]
    if config:
        lines = [[name, str(value)] for name, value in _settings(config)]
        whole = table("Settings, by their names on the command line", ["setting", "value"], lines, words=[1])
        summary = tag("summary", f"All {len(lines)} settings")
        parts += [tag("h3", "Config"), tag("details", summary, tag("div", whole, class_="settings"))]
    return join(*parts)


def _settings(config: Mapping[str, Any], prefix: str = "config") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        name = f"{prefix}.{key}"
        if isinstance(value, Mapping) and value:
            yield from _settings(value, name)
        else:
            yield name, value
