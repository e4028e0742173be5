"""A time is that of the quickest call, awaited, the first one not counted."""

import jax.numpy as jnp
import pytest

from vaelab.runtime import timing


@pytest.fixture
def clock(monkeypatch):
    """[now], the seconds that `timing` reads."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    return now


class Pending:
    """A result that is there once it has been waited for."""

    def __init__(self, clock, seconds):
        self._clock, self._seconds, self.ready = clock, seconds, False

    def block_until_ready(self):
        if not self.ready:
            self._clock[0] += self._seconds
        self.ready = True
        return self


def test_the_quickest_call_counts_and_the_first_does_not(clock):
    durations = iter([0.001, 0.5, 0.25, 4.0])
    results = []

    def function(a, b):
        results.append((a, b, Pending(clock, next(durations))))
        return results[-1]

    timed = timing.quickest(function, 1, 2, repeats=3)
    assert timed.milliseconds == pytest.approx(250.0)
    assert timed.result == results[-1]
    assert [(a, b, pending.ready) for a, b, pending in results] == [(1, 2, True)] * 4


def test_the_result_is_what_the_function_returns():
    result, milliseconds = timing.quickest(jnp.square, jnp.arange(3.0), repeats=1)
    assert result.tolist() == [0.0, 1.0, 4.0]
    assert milliseconds > 0.0
