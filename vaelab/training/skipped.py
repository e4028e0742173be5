"""Steps that are left out as they are not finite, and the end of a run with too many of them in a row."""

import jax
import numpy as np
import optax

from vaelab.training.step import StepMetrics, TrainState

FIX = "lower train.optimizer.learning_rate or its clip_norm; train.max_skipped leaves a few such steps out"


class NonFiniteError(FloatingPointError):
    """Training met a value that is not finite; the message names the step."""


class Watch:
    """Counts the steps in a row that were left out; a run that goes on counts on from where it was."""

    def __init__(self, state: TrainState, max_skipped: int):
        self._max_skipped, self._failed = max_skipped, ""
        self._in_a_row = int(optax.tree.get(state.opt_state, "notfinite_count", default=0))

    def see(self, start: int, metrics: StepMetrics) -> tuple[tuple[str, ...], str]:
        """(a line for each step of the chunk that was left out, that of the one that was one too many)."""
        skipped = []
        for t, finite in enumerate(np.isfinite(metrics.bound) & np.isfinite(metrics.grad_norm)):
            self._in_a_row = 0 if finite else self._in_a_row + 1
            if finite:
                continue
            skipped.append(_describe(start + t + 1, jax.tree.map(lambda a, t=t: a[t], metrics)))
            if self._in_a_row > self._max_skipped and not self._failed:
                self._failed = f"training met a value that is not finite at {skipped[-1]}; {FIX}"
        return tuple(skipped), self._failed


def _describe(step: int, metrics: StepMetrics) -> str:
    where = f", first at the datapoint of index {metrics.bad_index}" if metrics.bad_index >= 0 else ""
    return f"step {step}: bound={metrics.bound}, gradient norm={metrics.grad_norm}{where}"
