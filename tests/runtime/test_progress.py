"""What a person sees while a run is at work."""

import io
import re
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from vaelab.runtime import progress
from vaelab.runtime.progress import progress_bar


def bar_on(console, *, done=0):
    with progress_bar(console, "train", done + 400, "steps", done=done) as advance:
        for _ in range(4):
            time.sleep(0.15)  # rich draws ten times a second
            advance(100, elbo=-23.0)
    return console.file.getvalue()


@pytest.mark.parametrize("done", [0, 100_000])
def test_a_bar_has_the_rate_and_the_time_left_of_what_is_done_now(done):
    drawn = bar_on(Console(file=io.StringIO(), force_terminal=True, width=120), done=done)
    rates = [float(rate.replace(",", "")) for rate in re.findall(r"([\d,.]+) steps/s", drawn)]
    # 100 steps every 0.15 s, or slower where the machine is busy.
    assert rates
    assert 0 < min(rates) <= max(rates) < 100 / 0.15
    assert "0:00:01" in drawn
    assert drawn.index(progress.FIRST) < drawn.index("elbo -23.000")


def test_elsewhere_than_on_a_terminal_a_stage_is_one_line():
    line = bar_on(Console(file=io.StringIO(), width=120))
    assert re.fullmatch(r"train +400 steps in \d\.\d s  elbo -23\.000\n", line)
    assert bar_on(Console(file=io.StringIO(), force_terminal=True, quiet=True)) == ""


@pytest.mark.parametrize(
    ("speed", "text"),
    [
        (None, ""),
        (1240.4, "1,240 points/s"),
        (812.4, "812 points/s"),
        (81.23, "81.2 points/s"),
        (0.349, "0.35 points/s"),
    ],
)
def test_a_rate_has_three_digits(speed, text):
    task = SimpleNamespace(speed=speed, finished_speed=None, fields={"unit": "points"})
    assert progress._rate(task) == text
