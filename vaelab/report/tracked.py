"""What is known of a run where a tracker is told of it, and what a tracker does with it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class About(NamedTuple):
    """A run, or a sweep, for a tracker.

    name: for a person. kind: run or sweep. config: as config.json has it. sweep: the directory of the sweep
    that it is one of, if it is.
    """

    directory: Path
    name: str
    kind: str
    config: dict[str, Any]
    sweep: Path | None = None

    @property
    def store(self) -> Path:
        """The directory in which a tracker keeps its files by default: one for all runs of a sweep."""
        return self.sweep or self.directory


class Results(NamedTuple):
    """What was measured: the statistics by name, at this step over all stages; the pictures; the page."""

    statistics: Mapping[str, float]
    total: int
    pictures: list[Path]
    page: Path


class Sink(NamedTuple):
    """The run of a tracker, by what it does. All may raise anything.

    write(stage, step, total, values)   total: the step over all stages
    finish(results)
    close()                             as finished where `finish` was called before, else as stopped
    delay                               the seconds after which what was written outlives a kill
    """

    id: str
    write: Callable[[str, int, int, Mapping[str, float]], None]
    finish: Callable[[Results], None]
    close: Callable[[], None]
    delay: float = 0.0
