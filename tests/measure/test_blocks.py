"""Blocks of datapoints: each is computed once and kept, and runs are one program where they fit."""

from contextlib import contextmanager

import numpy as np
import pytest
from rich.console import Console

from vaelab.measure import blocks
from vaelab.measure.blocks import Stage, run_stage
from vaelab.runtime.chunks import DoesNotFit

CONSOLE = Console(quiet=True)
COUNT = 7


def stage(calls, *, most_runs=9):
    """(10 run + row, its square) of each datapoint; no program is of more than so many runs."""

    def compute(numbers, rows, progress):
        if len(numbers) > most_runs:
            raise DoesNotFit("too much")
        calls.append((tuple(numbers), rows.start, rows.stop))
        progress((rows.stop - rows.start) * len(numbers))
        row_M = np.arange(rows.start, rows.stop)
        return [(10.0 * number + row_M, row_M**2) for number in numbers]

    return Stage("some numbers", (0, 0), compute, COUNT, 3)


def directories(tmp_path, count):
    paths = [tmp_path / str(number) for number in range(count)]
    for path in paths:
        (path / "stages").mkdir(parents=True)
    return paths


def check(results, numbers):
    for number, (linear_N, square_N) in zip(numbers, results, strict=True):
        np.testing.assert_array_equal(linear_N, 10.0 * number + np.arange(COUNT))
        np.testing.assert_array_equal(square_N, np.arange(COUNT) ** 2)


def test_blocks_go_through_all_datapoints_and_are_not_computed_again(tmp_path):
    calls, paths = [], directories(tmp_path, 2)
    check(run_stage(stage(calls), paths, CONSOLE), (0, 1))
    assert calls == [((0, 1), 0, 3), ((0, 1), 3, 6), ((0, 1), 6, 7)]
    check(run_stage(stage(calls), paths, CONSOLE), (0, 1))
    assert len(calls) == 3
    names = sorted(path.name for path in (paths[1] / "stages").iterdir())
    assert names == ["some_numbers_0.npz", "some_numbers_3.npz", "some_numbers_6.npz"]


def test_what_a_run_lacks_is_computed_for_it_alone(tmp_path):
    calls, paths = [], directories(tmp_path, 3)
    run_stage(stage([]), paths, CONSOLE)
    stage([]).path(paths[0], slice(3, 6)).unlink()
    stage([]).path(paths[2], slice(3, 6)).unlink()
    stage([]).path(paths[2], slice(6, 7)).write_bytes(b"cut short")
    check(run_stage(stage(calls), paths, CONSOLE), (0, 1, 2))
    assert calls == [((0, 2), 3, 6), ((2,), 6, 7)]


def test_some_of_the_runs_alone(tmp_path):
    calls, paths = [], directories(tmp_path, 3)
    check(run_stage(stage(calls), paths, CONSOLE, numbers=(2, 0)), (2, 0))
    assert {numbers for numbers, _, _ in calls} == {(2, 0)}
    assert not list((paths[1] / "stages").iterdir())


def test_runs_that_are_too_much_together_are_halved_until_one_alone_is(tmp_path):
    calls = []
    check(run_stage(stage(calls, most_runs=2), directories(tmp_path, 5), CONSOLE), range(5))
    assert [numbers for numbers, start, _ in calls if start == 0] == [(0, 1), (2,), (3, 4)]
    with pytest.raises(DoesNotFit, match="too much"):
        run_stage(stage([], most_runs=0), directories(tmp_path / "other", 2), CONSOLE)


def test_progress_begins_with_what_is_there(tmp_path, monkeypatch):
    """Three of seven datapoints of each of two runs are there."""
    paths, seen = directories(tmp_path, 2), []
    run_stage(stage([]), paths, CONSOLE)
    for path in paths:
        stage([]).path(path, slice(3, 6)).unlink()
        stage([]).path(path, slice(6, 7)).unlink()

    @contextmanager
    def bar(console, title, total, unit, *, done):
        seen.append((title, total, unit, done))
        yield seen.append

    monkeypatch.setattr(blocks, "progress_bar", bar)
    run_stage(stage([]), paths, CONSOLE)
    assert seen == [("some numbers, 2 runs", 14, "points", 6), 6, 2]
