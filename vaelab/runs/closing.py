"""The last line of a run: where its results are, what it took, and what to do next."""

import time
from pathlib import Path

from vaelab.runtime.memory import most_on_a_device, most_resident


def closing_line(directory: Path, began: float, *, page: str | None = "report.html") -> str:
    """Says where the results are, the time since `began` (of `time.perf_counter`) and the most memory taken.

    page: the file of the directory to open; None where there is none.
    """
    taken = f"{elapsed(time.perf_counter() - began)}, peak memory {gigabytes(most_resident())}"
    on_device = most_on_a_device()
    if on_device is not None:
        taken += f", {gigabytes(on_device)} of a device"
    return f"results are in {directory} ({taken})" + (f": open {page} there" if page else "")


def elapsed(seconds: float) -> str:
    """The time as 41 s, 12 min 3 s or 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
