"""Wall time of a computation."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Timed(NamedTuple):
    """What the last call returned, and the milliseconds of the quickest one."""

    result: Any
    milliseconds: float


def quickest(function: Callable[..., Any], *arguments: Any, repeats: int) -> Timed:
    """Calls it `repeats` times, each awaited, after a call that compiles and is not counted."""
    seconds = []
    for _ in range(1 + repeats):
        began = time.perf_counter()
        result = jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - began)
    return Timed(result, 1e3 * min(seconds[1:]))
