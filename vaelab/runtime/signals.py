"""SIGTERM and SIGINT: an end at which nothing is lost."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """A signal asked for the end. No Exception, so that nobody takes it for a failure of their own."""

    def __init__(self, number: int):
        self.number = number
        super().__init__(signal.Signals(number).name)


_deferred = False
_waiting: int | None = None


def end_at_once() -> None:
    """From now on a further signal ends the process without a word: what there is to say has been said."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os._exit(128 + number))


def listen() -> None:
    """From now on SIGTERM and SIGINT raise Stopped, at once or at the end of `deferred`."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _on_signal)


def _on_signal(number: int, _: FrameType | None) -> None:
    global _waiting
    if _deferred and _waiting is None:
        _waiting = number
        return
    raise Stopped(number)  # a second one does not wait


@contextmanager
def deferred() -> Iterator[Callable[[], int | None]]:
    """Inside, a first signal waits: what is yielded says which one, and the end of the block raises it."""
    global _deferred, _waiting
    _deferred, _waiting = True, None
    try:
        yield lambda: _waiting
    finally:
        _deferred, number = False, _waiting
        _waiting = None
    if number is not None:
        raise Stopped(number)
