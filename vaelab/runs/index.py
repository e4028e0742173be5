"""The page over a folder of runs: which runs, sweeps and audits there are, and what each has measured."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vaelab.errors import ConfigError
from vaelab.report.page.index import Entry, write_index
from vaelab.runtime.directory import as_directory

FILE = "index.html"
RESULTS = {"sweep.json": "sweep", "gap.json": "run"}
NAME = "data.name"
ABOUT = (NAME, "model.latent_dim", "encoder.hidden", "seed")  # of a config, where it has them


def index(folder: str | Path) -> tuple[Path, int]:
    """Writes index.html over all runs, sweeps and audits below the folder; returns its path, and how many.

    Raises ConfigError for what is no folder, or has none of them, and for `~` where there is no home.
    """
    folder = as_directory(folder)
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder: give one that has runs in it")
    entries = list(_entries(folder, folder))
    if not entries:
        raise ConfigError(f"{folder} has no finished run, sweep or audit in it")
    write_index(folder / FILE, entries, title=folder.resolve().name)
    return folder / FILE, len(entries)


def _entries(folder: Path, at: Path) -> Iterator[Entry]:
    """Those below `at`, by name; a sweep's runs are in its own page, and a run's folders are passed by."""
    for name, kind in RESULTS.items():
        content = _read(at / name)
        if content is not None and at != folder:
            yield _entry(folder, at, kind, content)
            return
    for below in sorted(path for path in at.iterdir() if path.is_dir() and not path.name.startswith(".")):
        yield from _entries(folder, below)


def _read(path: Path) -> dict[str, Any] | None:
    """The rows of a file of results; None where there is none that can be read."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("rows"), list) else None


def _entry(folder: Path, at: Path, kind: str, content: dict[str, Any]) -> Entry:
    try:
        config = json.loads((at / "config.json").read_text())
    except (OSError, ValueError):
        config = {}
    name = at.relative_to(folder).as_posix()
    if isinstance(config, dict) and "given" in config:
        kind = "audit"
    told = {key: value for key in ABOUT if (value := _setting(config, key)) is not None}
    said = [f"{value}" if key == NAME else f"{key.split('.')[-1]} {value}" for key, value in told.items()]
    return Entry(
        name,
        kind,
        ", ".join(said),
        content["rows"],
        bool(content.get("smoke")),
        (at / "report.html").exists(),
    )


def _setting(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config
