"""The data of a run: given from Python or named by its config, and the same as when the run began."""

import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console

from vaelab import data
from vaelab.runtime.directory import DirectoryError, stored_json
from vaelab.runtime.processes import of_first

FILE = "data.json"


def with_data(config: ConfigDict, given: Any) -> ConfigDict:
    """The config, which says that its data were given, if they were."""
    if given is None or "data" not in config:
        return config
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.data.name = data.OF_PYTHON
    return config


def keep(directory: Path, described: dict[str, Any] | None, console: Console) -> None:
    """Writes what the data of a run are known by, at its start; later compares them with it.

    described: see `vaelab.data.described`; None of data that need no such thing. Raises DirectoryError where
    they have changed.
    """
    if described is not None:
        _compare(directory, stored_json(directory / FILE, lambda: described, console), described)


def check_finished(directory: Path, config: ConfigDict, given: Any, console: Console) -> None:
    """Raises DirectoryError where data that are not vaelab's have changed since a run that is finished.

    Data that are no longer there are said not to be, and the results are as they were.
    """
    # Here, as they import JAX: who reads what a run has kept of its data needs none.
    from vaelab.config.data import dataset
    from vaelab.config.section import Section

    stored = of_first(lambda: read(directory))
    section = Section(config.get("data", {}), "config.data")
    if stored is None or (given is None and not data.is_own(section.value("name"))):
        return
    try:
        now = data.described(dataset(section, given))
    except data.DataError as error:
        line = f"whether its data have changed is not known: {error}"
        console.print(line, style="red", highlight=False, markup=False)
        return
    _compare(directory, stored, now)


def read(directory: Path) -> dict[str, Any] | None:
    """What a run has kept of its data; None where it kept nothing that can be read."""
    try:
        return json.loads((directory / FILE).read_text())
    except (OSError, ValueError):
        return None


def with_reading(config: dict[str, Any], directory: Path) -> dict[str, Any]:
    """The config with the notes on the reading of its data, for a person."""
    notes = (read(directory) or {}).get("notes")
    return {**config, "data": {**config["data"], "read": "; ".join(notes)}} if notes else config


def show_notes(described: dict[str, Any] | None, console: Console) -> None:
    """Prints what was done to the data as they were read."""
    for note in (described or {}).get("notes", ()):
        console.print(note, highlight=False, markup=False)


def _compare(directory: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    changed = data.changes(before, now)
    if changed:
        details = f" ({'; '.join(changed[:3])}{'; ...' if len(changed) > 3 else ''})"
        fix = "bring the data back, or take another {directory}"
        raise DirectoryError.of(directory, "was begun with other data", details, fix=fix)
