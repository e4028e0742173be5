"""The last line of a run."""

import time
from pathlib import Path

import pytest

from vaelab.runs import closing


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (723, "12 min 3 s"),
        (3599.7, "1 h 0 min"),
        (7530, "2 h 5 min"),
    ],
)
def test_times_are_in_two_units_at_most(seconds, text):
    assert closing.elapsed(seconds) == text


def test_the_line_says_what_was_taken_and_what_to_open(monkeypatch):
    monkeypatch.setattr(closing, "most_resident", lambda: 1_249_000_000)
    monkeypatch.setattr(closing, "most_on_a_device", lambda: None)
    began = time.perf_counter() - 75.0
    line = closing.closing_line(Path("runs/a"), began)
    assert line == "results are in runs/a (1 min 15 s, peak memory 1.2 GB): open report.html there"
    monkeypatch.setattr(closing, "most_on_a_device", lambda: 30_000_000_000)
    line = closing.closing_line(Path("runs/a"), began, page=None)
    assert line == "results are in runs/a (1 min 15 s, peak memory 1.2 GB, 30.0 GB of a device)"
