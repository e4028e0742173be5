"""The table of a finished audit or run, from its directory."""

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from vaelab import report
from vaelab.errors import ConfigError
from vaelab.runtime.directory import as_directory


def audit_report(directory: str) -> None:
    """Prints the table and the notes that an audit or a run has saved there, and where its page is.

    Raises ConfigError where there are none.
    """
    path = as_directory(directory)
    saved = _json(path / "gap.json", path)
    hints = path / "stages" / "hints.json"
    console = Console(width=None if sys.stdout.isatty() else 100)
    try:
        console.print(report.gap_table(saved["rows"], smoke=saved.get("smoke", False)))
        notes = report.remarks(saved["rows"])
    except (KeyError, TypeError, AttributeError):
        raise ConfigError(f"{path / 'gap.json'} holds no rows of an audit or a run of this version") from None
    for note in notes + (_json(hints, path) if hints.exists() else []):
        console.print(note, style="red", highlight=False, markup=False)
    page = path / "report.html"
    console.print(f"page: {page}" if page.exists() else "there is no page", highlight=False, soft_wrap=True)


def _json(file: Path, directory: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        sweep = "; it is a sweep: give one of its runs" if (directory / "sweep.json").exists() else ""
        raise ConfigError(f"{directory} holds no finished audit or run: no {file.name}{sweep}") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{file} is damaged") from None
