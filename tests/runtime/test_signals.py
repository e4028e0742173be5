"""Signals: an end at once, or where nothing is lost."""

import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from vaelab.runtime import signals as stop


@pytest.fixture
def listening():
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stop.listen()
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_at_once_or_where_nothing_is_lost(number, listening):
    with pytest.raises(stop.Stopped) as caught:
        signal.raise_signal(number)
    assert caught.value.number == number
    done = []

    def work():
        with stop.deferred() as signalled:
            done.append(signalled())
            signal.raise_signal(number)
            done.append(signalled())

    with pytest.raises(stop.Stopped, match=number.name):
        work()
    assert done == [None, number]


def test_a_second_signal_does_not_wait(listening):
    done = []

    def work():
        with stop.deferred():
            signal.raise_signal(signal.SIGTERM)
            done.append("first")
            signal.raise_signal(signal.SIGINT)
            done.append("second")

    with pytest.raises(stop.Stopped, match="SIGINT"):
        work()
    assert done == ["first"]
    with stop.deferred() as signalled:
        assert signalled() is None


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_is_told_at_once_that_what_is_there_is_saved(is_terminal, listening, monkeypatch):
    said = []
    monkeypatch.setattr("sys.stderr", SimpleNamespace(isatty=lambda: is_terminal))
    monkeypatch.setattr(stop.os, "write", lambda file, text: said.append((file, text.decode())))

    def work():
        with stop.deferred():
            signal.raise_signal(signal.SIGTERM)
            assert [file for file, _ in said] == [2] * is_terminal

    with pytest.raises(stop.Stopped):
        work()
    assert all("saving where it is" in text for _, text in said)


def test_a_signal_after_the_last_word_adds_nothing_to_it():
    root = Path(__file__).parents[2]
    script = (
        "import signal, sys; from vaelab.runtime import signals as stop; stop.listen(); stop.end_at_once(); "
        "signal.raise_signal(signal.SIGTERM); print('still here')"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root)
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "", "")
