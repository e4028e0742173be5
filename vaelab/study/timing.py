"""Wall time of a compiled function."""

import time
from collections.abc import Callable
from typing import Any

import jax


def best_ms(function: Callable[..., Any], *arguments: Any, repeats: int) -> float:
    """Milliseconds of the quickest of `repeats` calls, each awaited, after one that compiles."""
    jax.block_until_ready(function(*arguments))
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - began)
    return 1e3 * min(seconds)
