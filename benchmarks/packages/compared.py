"""What a package printed, in nats per datapoint, beside the exact numbers and what was expected."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.packages.model import elbo, log_evidence, shared
from benchmarks.packages.record import ERRORS, ROUNDING, Exact, Number, Package

Entry = dict[str, Any]


@functools.cache
def exact() -> Exact:
    """Raises where a finer and a coarser rule disagree."""
    model = shared()
    fine, coarse = (
        (elbo(model, model.x_NxD, *rule), log_evidence(model, model.x_NxD, *rule))
        for rule in ((400, 8.0), (240, 7.0))
    )
    np.testing.assert_allclose(fine, coarse, atol=1e-8)
    return Exact(model, *(float(part.mean()) for part in fine))


def compared(package: Package, printed: dict[str, Any]) -> Entry:
    """The entry of a package in other_packages.json."""
    values = printed["values"]
    return {
        "versions": printed["versions"],
        "numbers": {number.name: _number(number, values) for number in package.numbers},
        "traps": {trap.name: values[trap.name][0] for trap in package.traps},
    }


def _number(number: Number, every: dict[str, list[float]]) -> Entry:
    values = every[number.name]
    nats = number.times * np.asarray(values)
    mean, stderr = _mean(nats)
    by_name = isinstance(number.expected, str)
    difference, error = _mean(every[number.expected]) if by_name else number.expected(exact())
    reference = exact().elbo if number.of == "L[q]" else exact().log_evidence
    return {
        "printed": values[0],
        "repeats": len(values),
        "nats": mean,
        "stderr": stderr,
        "exact": reference,
        "difference": mean - reference,
        "expected": float(difference),
        "expected_stderr": float(error),
    }


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """(mean, its standard error), which is 0 of a single value."""
    if len(values) == 1:
        return float(values[0]), 0.0
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def wrong(package: Package, entry: Entry) -> list[tuple[str, str]]:
    """(the words of the page, what is seen) of each claim that does not hold."""
    missed = []
    for number in package.numbers:
        seen = entry["numbers"][number.name]
        unexplained = abs(seen["difference"] - seen["expected"])
        allowed = ERRORS * float(np.hypot(seen["stderr"], seen["expected_stderr"])) + ROUNDING
        if not unexplained <= allowed:
            why = f"{seen['difference']:+.4f} less {number.of}, expected {seen['expected']:+.4f}"
            why += f" within {allowed:.4f}"
            missed.append((number.call, why))
    for trap in package.traps:
        value = entry["traps"][trap.name]
        if not trap.low <= value <= trap.high:
            why = f"{value:.6g}, not between {trap.low:g} and {trap.high:g}"
            missed.append((trap.says.partition("{")[0].strip(), why))
    return missed
