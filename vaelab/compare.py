"""Runs side by side, with the errors of their differences:

    python -m vaelab.compare RUN RUN ... [--output DIR]

A RUN is the directory of a finished run, or of one place of a sweep, `DIR/POINT`, with its seeds. Everything
is compared with the first, split by split and family by family. Where two runs measured the same datapoints a
difference is the mean of per-datapoint differences, and its error is that of this mean, which is much smaller
than what the errors of the two means would give; with several seeds of each it is over the seeds, one paired
difference for each. `--output` writes compare.csv and compare.png there.
"""

import argparse
import csv
import io
import json
import math
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from vaelab import report
from vaelab.data.sources import SPLITS
from vaelab.measure.datapoints import MADE_SPLITS
from vaelab.measure.gap import Gap, mean_and_stderr
from vaelab.runtime.directory import differences, write_whole

TITLES = {
    "L\\[q_phi]": "elbo_amortized",
    "L\\[q*]": "elbo_optimal",
    "log p(x) >=": "log_evidence",
    "amortization gap": "amortization_gap",
    "approximation gap": "approximation_gap",
}
ORDER = (*SPLITS, *MADE_SPLITS)
COLOURS = ("#4477aa", "#ee8866", "#228833", "#aa3377", "#777777")


class CompareError(ValueError):
    """What was given cannot be compared; one line."""


class Run(NamedTuple):
    """A run, or the seeds of one place of a sweep: each one's config and per-datapoint arrays by seed."""

    name: str
    configs: dict[int, dict[str, Any]]
    arrays: dict[int, dict[str, np.ndarray]]


def read(directory: Path) -> Run:
    """Raises CompareError where there is no finished run."""
    seeds = sorted(directory.glob("seed=*"))
    configs, arrays = {}, {}
    for place in [place for place in seeds if (place / "gap.json").exists()] or [directory]:
        try:
            config = json.loads((place / "config.json").read_text())
            json.loads((place / "gap.json").read_text())
            with np.load(place / "per_datapoint.npz") as stored:
                arrays[config["seed"]] = dict(stored)
        except FileNotFoundError as error:
            missing = Path(error.filename).name
            line = f"{directory} has no {missing}: give the directory of a finished run"
            raise CompareError(f"{line}, or of a place of a sweep, as SWEEP/regime=amortized") from None
        except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise CompareError(f"{place} cannot be read: {error}") from None
        configs[config["seed"]] = config
    return Run(directory.name, configs, arrays)


def places(run: Run) -> list[tuple[str, str]]:
    """(split, family) of everything that every seed has measured."""
    found = [
        {tuple(key.split("/")[:2]) for key in arrays if key.endswith("/elbo_optimal")}
        for arrays in run.arrays.values()
    ]
    return sorted(set.intersection(*found), key=lambda place: (ORDER.index(place[0]), place[1]))


def quantity(run: Run, seed: int, place: tuple[str, str], name: str) -> np.ndarray | None:
    """One number a datapoint; None of what needs an encoder, where the family has none."""
    (split, family), arrays = place, run.arrays[seed]
    amortized = arrays.get(f"{split}/{family}/elbo_amortized")
    if amortized is None and name in ("elbo_amortized", "amortization_gap"):
        return None
    optimal = np.float64(arrays[f"{split}/{family}/elbo_optimal"])
    gap = Gap(
        optimal if amortized is None else np.float64(amortized),
        optimal,
        np.float64(arrays[f"{split}/log_evidence"]),
    )
    return getattr(gap, name.removesuffix("_gap"))


def _of_one(run: Run, place: tuple[str, str], name: str) -> dict[str, float] | None:
    values = [quantity(run, seed, place, name) for seed in run.arrays]
    if any(value is None for value in values):
        return None
    if len(values) == 1:
        return mean_and_stderr(values[0])
    return mean_and_stderr(np.array([np.mean(value) for value in values]))


def difference(first: Run, other: Run, place: tuple[str, str], name: str) -> dict[str, Any] | None:
    """What `other` has more of than `first`: mean, stderr, whether paired, and over how many of what.

    Paired over datapoints where a single seed of each measured the same ones, over seeds where both have the
    same several; else the errors of both means are added as independent ones.
    """
    one, two = _of_one(first, place, name), _of_one(other, place, name)
    if one is None or two is None:
        return None
    seeds = sorted(first.arrays.keys() & other.arrays.keys())
    single = len(first.arrays) == len(other.arrays) == 1
    pairs = [(next(iter(first.arrays)), next(iter(other.arrays)))] if single else [(s, s) for s in seeds]
    shared = [_shared(first, other, pair, place) for pair in pairs]
    if not pairs or any(rows is None for rows in shared) or (not single and len(pairs) < 2):
        error = math.hypot(one["stderr"], two["stderr"])
        return {"mean": two["mean"] - one["mean"], "stderr": error, "paired": False, "over": "both means"}
    leads = [
        quantity(other, b, place, name)[there] - quantity(first, a, place, name)[here]
        for (a, b), (here, there) in zip(pairs, shared, strict=True)
    ]
    if single:
        return {**mean_and_stderr(leads[0]), "paired": True, "over": f"{len(leads[0]):,} datapoints"}
    means = np.array([np.mean(lead) for lead in leads])
    return {**mean_and_stderr(means), "paired": True, "over": f"{len(means)} seeds"}


def _shared(
    first: Run, other: Run, pair: tuple[int, int], place: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray] | None:
    """The rows of both that are of the same datapoints; None where there are none, or the data are others."""
    a, b = pair
    data = [
        {key: run.configs[seed]["data"].get(key) for key in ("name", "observation", "seed")}
        for run, seed in ((first, a), (other, b))
    ]
    split = place[0]
    if data[0] != data[1] or split in ("simulated", "corrupted") or data[0]["name"] == "simulated":
        return None
    _, here, there = np.intersect1d(
        first.arrays[a][f"{split}/index"], other.arrays[b][f"{split}/index"], return_indices=True
    )
    return (here, there) if len(here) > 1 else None


def compare(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row for each split and family that the first run and another share, and for each run that has it.

    Each has its quantities' {mean, stderr}, and under "less_first" those of `difference`. Raises CompareError
    where nothing is shared.
    """
    first, *others = runs
    rows = []
    for place in places(first):
        having = [run for run in others if place in places(run)]
        for run in [first, *having] if having else []:
            row = {"split": place[0], "family": place[1], "run": run.name}
            row |= {name: _of_one(run, place, name) for name in TITLES.values()}
            row["less_first"] = (
                None
                if run is first
                else {name: difference(first, run, place, name) for name in TITLES.values()}
            )
            rows.append(row)
    if not rows:
        raise CompareError("the runs have no split and family in common")
    return rows


def table(rows: list[dict[str, Any]]) -> Table:
    drawn = Table(
        caption="nats per datapoint, mean ± standard error; below each run what it has more than the first, "
        "with the error of the difference over what both measured (~ where it is unpaired)",
        box=SIMPLE_HEAD,
    )
    for title in ("split", "family", "run"):
        drawn.add_column(title, overflow="fold", min_width=36 if title == "run" else None)
    for title in TITLES:
        drawn.add_column(title, justify="right", min_width=14)
    for row in rows:
        cells = [report.cell(row[name]) for name in TITLES.values()]
        drawn.add_row(row["split"], row["family"], row["run"], *cells)
        if row["less_first"] is not None:
            leads = [row["less_first"][name] for name in TITLES.values()]
            over = next(lead["over"] for lead in leads if lead is not None)
            drawn.add_row("", "", f"less the first, over {over}", *map(_signed, leads))
    return drawn


def _signed(statistic: dict[str, Any] | None) -> str:
    if statistic is None:
        return "-"
    text = report.cell(statistic)
    sign = "" if text.startswith("-") else "+"
    return f"{'' if statistic['paired'] else '~'}{sign}{text}"


def to_csv(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    parts = [f"{name}{part}" for name in TITLES.values() for part in ("", "_stderr")]
    leads = [f"{name}_less_first{part}" for name in TITLES.values() for part in ("", "_stderr", "_paired")]
    writer.writerow(["split", "family", "run", *parts, *leads])
    for row in rows:
        cells = [v for name in TITLES.values() for v in _values(row[name], ("mean", "stderr"))]
        less = row["less_first"] or {}
        cells += [
            v for name in TITLES.values() for v in _values(less.get(name), ("mean", "stderr", "paired"))
        ]
        writer.writerow([row["split"], row["family"], row["run"], *cells])
    return buffer.getvalue().encode()


def _values(statistic: dict[str, Any] | None, keys: tuple[str, ...]) -> list[Any]:
    return ["" if statistic is None else statistic[key] for key in keys]


def plot(path: Path, rows: list[dict[str, Any]]) -> None:
    """The difference of every run to the first, with its error, one panel for each split and family."""
    panels = list(dict.fromkeys((row["split"], row["family"]) for row in rows))
    runs = list(dict.fromkeys(row["run"] for row in rows if row["less_first"] is not None))
    drawn, axes = report.figure(len(panels), 4.0 * len(panels) + 1.0, 1.6 + 0.35 * len(TITLES) * len(runs))
    drawn_of: dict[str, Any] = {}
    for axis, panel in zip(axes, panels, strict=True):
        for number, run in enumerate(runs):
            (row,) = [r for r in rows if (r["split"], r["family"]) == panel and r["run"] == run] or [None]
            for position, name in enumerate(TITLES.values()):
                lead = None if row is None else row["less_first"][name]
                if lead is None or not math.isfinite(lead["mean"]):
                    continue
                bar = axis.errorbar(
                    lead["mean"],
                    position + 0.6 * (number + 0.5) / len(runs) - 0.3,
                    xerr=2.0 * lead["stderr"],
                    fmt="o" if lead["paired"] else "s",
                    capsize=3,
                    color=COLOURS[number % len(COLOURS)],
                )
                drawn_of.setdefault(run, bar)
        axis.axvline(0.0, color="#777777", linewidth=1.0)
        axis.set_yticks(range(len(TITLES)), [title.replace("\\", "") for title in TITLES])
        axis.set_ylim(len(TITLES) - 0.5, -0.5)
        axis.set_title(", ".join(panel), fontsize=10)
        axis.locator_params(axis="x", nbins=5)
    drawn.supxlabel(f"nats more than {rows[0]['run']}; bars: ± 2 standard errors", fontsize=10)
    legend = {"frameon": False, "fontsize": 8, "loc": "lower left", "bbox_to_anchor": (0.0, 1.06)}
    axes[0].legend(list(drawn_of.values()), list(drawn_of), **legend)
    drawn.savefig(path, dpi=120)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vaelab.compare",
        description="Runs side by side, with the errors of their differences.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="directory of a finished run")
    parser.add_argument("--output", type=Path, help="write compare.csv and compare.png there")
    arguments = parser.parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else 180)
    try:
        if len(arguments.runs) < 2:
            raise CompareError("give two runs or more")
        names = _names(arguments.runs)
        runs = [read(path)._replace(name=name) for path, name in zip(arguments.runs, names, strict=True)]
        rows = compare(runs)
        if arguments.output:
            arguments.output.mkdir(parents=True, exist_ok=True)
            write_whole(arguments.output / "compare.csv", to_csv(rows))
            plot(arguments.output / "compare.png", rows)
    except (CompareError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for run in runs[1:]:
        console.print(f"{run.name}: {_settings(runs[0], run)}", highlight=False, markup=False)
    console.print(table(rows))
    return 0


def _names(paths: Sequence[Path]) -> list[str]:
    """The last parts of each path, as many as tell them all apart."""
    parts = [path.expanduser().absolute().parts for path in paths]
    if len(set(parts)) < len(parts):
        raise CompareError("a run is given twice")
    count = next(n for n in range(1, max(map(len, parts)) + 1) if len({p[-n:] for p in parts}) == len(parts))
    return ["/".join(part[-count:]) for part in parts]


def _settings(first: Run, other: Run) -> str:
    """What their configs differ in, but for the seed."""
    one, two = (next(iter(run.configs.values())) for run in (first, other))
    changed = [(name, a, b) for name, a, b in differences(one, two) if name != "config.seed"]
    return "; ".join(f"{name} {a!r} -> {b!r}" for name, a, b in changed) or "the same config"


if __name__ == "__main__":
    sys.exit(main())
