"""Runs or audits side by side, with the errors of their differences:

    python -m vaelab.compare RUN RUN ... [--output DIR]

A RUN is the directory of a finished run, of one point of a sweep, `DIR/POINT`, with its seeds, or of an
audit. Everything is compared with the first, split by split and family by family. Where two runs measured the
same datapoints a difference is the mean of per-datapoint differences, and its error is that of this mean,
which is much smaller than what the errors of the two means would give; with several seeds of each it is over
the seeds, one paired difference for each. Two audits measured the same datapoints where they were given the
same x. `--output` writes compare.csv, compare.png and a page, compare.html, there.
"""

import argparse
import json
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from vaelab.data import OF_PYTHON, is_own
from vaelab.report.compare import plot, table, to_csv
from vaelab.report.page.comparison import write_comparison
from vaelab.report.paired import CompareError, Measured, compare
from vaelab.runs.data import read as kept
from vaelab.runtime.directory import DirectoryError, as_directory, differences, write_whole

WHAT_TO_GIVE = (
    "give the directory of a finished run, of a point of a sweep, as SWEEP/regime=amortized, or of an audit"
)
EXAMPLES = "config.data.splits."  # what they are known by
NO_DIFFERENCE = ("config.seed", "config.given.key")  # in what was done


def main(argv: list[str] | None = None, program: str = "python -m vaelab.compare") -> int:
    """Compares what the arguments name, and prints it; the exit status. program: as the user called it."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Runs or audits side by side, with the errors of their differences.",
    )
    directory = "directory of a finished run, of a point of a sweep, or of an audit"
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=directory)
    parser.add_argument("--output", type=Path, help="write compare.csv, compare.png and compare.html there")
    arguments = parser.parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else 180)
    try:
        if len(arguments.runs) < 2:
            raise CompareError("give two runs or more")
        paths = [as_directory(path) for path in arguments.runs]
        names = _names(paths)
        runs = [read(path)._replace(name=name) for path, name in zip(paths, names, strict=True)]
        rows = compare(runs)
        if arguments.output:
            arguments.output.mkdir(parents=True, exist_ok=True)
            write_whole(arguments.output / "compare.csv", to_csv(rows))
            plot(arguments.output / "compare.png", rows)
            about = {run.name: _settings(runs[0], run) for run in runs[1:]}
            write_comparison(arguments.output / "compare.html", rows=rows, about=about)
    except DirectoryError as error:
        line = error.line(directory="directory", other="another run")
        print(f"{program}: {line}", file=sys.stderr)
        return 1
    except (CompareError, OSError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    for run in runs[1:]:
        console.print(f"{run.name}: {_settings(runs[0], run)}", highlight=False, markup=False)
    console.print(table(rows))
    return 0


def read(directory: Path) -> Measured:
    """The arrays of a finished run, of the seeds of a point, or of an audit. Raises CompareError."""
    seeds = [path for path in sorted(directory.glob("seed=*")) if (path / "gap.json").exists()]
    configs, arrays, smoke = {}, {}, False
    for path in seeds or [directory]:
        try:
            config = json.loads((path / "config.json").read_text())
            gap = json.loads((path / "gap.json").read_text())
            smoke |= isinstance(gap, dict) and bool(gap.get("smoke"))
            with np.load(path / "per_datapoint.npz") as stored:
                of_path = dict(stored)
            seed = _check(config, of_path)
            splits = (kept(path) or {}).get("splits")
            if splits and (is_own(config["data"]["name"]) or config["data"]["name"] == OF_PYTHON):
                config["data"]["splits"] = splits
        except FileNotFoundError as error:
            raise CompareError(f"{directory} has no {Path(error.filename).name}: {WHAT_TO_GIVE}") from None
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise CompareError(f"{path} cannot be read: {error}") from None
        configs[seed], arrays[seed] = config, of_path
    return Measured(directory.name, configs, arrays, smoke)


def _check(config: Any, arrays: Mapping[str, np.ndarray]) -> int | str:
    """The seed of a run; an audit, which has none, goes by the digest of its key. Raises ValueError."""
    of_run = isinstance(config, dict) and isinstance(config.get("data"), dict) and "seed" in config
    given = config.get("given") if isinstance(config, dict) else None
    of_audit = isinstance(given, dict) and {"x", "key"} <= given.keys()
    if not of_run and not of_audit:
        raise ValueError("config.json is neither of a run nor of an audit")
    for name in [name for name in arrays if name.endswith("/elbo_optimal")]:
        split, family = name.split("/")[:2]
        needed = [f"{split}/log_evidence", f"{split}/index"]
        amortized = f"{split}/{family}/elbo_amortized"
        for other in [*needed, amortized] if amortized in arrays else needed:
            if other not in arrays or arrays[other].shape != arrays[name].shape:
                raise ValueError(f"per_datapoint.npz has no {other} for each datapoint of {name}")
    return config["seed"] if of_run else given["key"]


def _names(paths: Sequence[Path]) -> list[str]:
    """The last parts of each path, enough of them to tell all apart."""
    parts = [path.absolute().parts for path in paths]
    if len(set(parts)) < len(parts):
        raise CompareError("a run is given twice")
    count = next(n for n in range(1, max(map(len, parts)) + 1) if len({p[-n:] for p in parts}) == len(parts))
    return ["/".join(part[-count:]) for part in parts]


def _settings(first: Measured, other: Measured) -> str:
    """What their configs differ in, but for the seed."""
    one, two = (next(iter(run.configs.values())) for run in (first, other))
    changed = [(name, a, b) for name, a, b in differences(one, two) if name not in NO_DIFFERENCE]
    others = {name.split(".")[3] for name, _, _ in changed if name.startswith(EXAMPLES)}
    said = [f"{name} {a!r} -> {b!r}" for name, a, b in changed if not name.startswith(EXAMPLES)]
    said += [f"other {split} examples" for split in sorted(others)]
    return "; ".join(said) or "the same config"


if __name__ == "__main__":
    sys.exit(main())
