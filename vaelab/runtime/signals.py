"""SIGTERM and SIGINT: an end at which nothing is lost."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """A signal asked for the end. It is no Exception, so that nothing takes it for a failure."""

    def __init__(self, number: int):
        self.number = number
        super().__init__(signal.Signals(number).name)


_deferred = False
_waiting: int | None = None


def end_with_a_line(program: str) -> None:
    """Makes SIGTERM and SIGINT end the process with one line, up to `listen`: nothing is done yet."""

    def end(number: int, _: FrameType | None) -> None:
        # In the middle of an import an exception may come out of native code, as a crash.
        os.write(2, f"{program}: stopped before anything was done\n".encode())
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def end_at_once() -> None:
    """Makes a further signal end the process without a word: all has been said."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os._exit(128 + number))


def listen() -> None:
    """Makes SIGTERM and SIGINT raise Stopped from now on, at once or at the end of `deferred`."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _on_signal)


def _on_signal(number: int, _: FrameType | None) -> None:
    global _waiting
    if _deferred and _waiting is None:
        _waiting = number
        if sys.stderr.isatty():
            os.write(2, b"\nstopping: saving where it is; once more ends it without\n")
        return
    raise Stopped(number)  # a second one does not wait


@contextmanager
def deferred() -> Iterator[Callable[[], int | None]]:
    """Makes a first signal inside wait; what it yields says which one, and the end of the block raises it."""
    global _deferred, _waiting
    _deferred, _waiting = True, None
    try:
        yield lambda: _waiting
    finally:
        _deferred, number = False, _waiting
        _waiting = None
    if number is not None:
        raise Stopped(number)
