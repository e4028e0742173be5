"""What a study comes to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Finding(NamedTuple):
    """The outcome of a study.

    tables: title -> rows, each row with the same keys
    plot(path): draws the figure
    """

    tables: dict[str, list[dict[str, Any]]]
    plot: Callable[[Path], None]
