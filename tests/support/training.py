"""Runs of the training loop, as several test files take them."""

import functools
from collections.abc import Callable, Iterator

import jax
import numpy as np

from vaelab.training import loop as train_loop
from vaelab.training import step as train
from vaelab.training.skipped import NonFiniteError

BATCH_SIZE, FIRST_KEY, KEY = 8, 1, 2


@functools.cache
def whatever_the_numbers(system: train.System) -> Callable[[object], train.System]:
    """The same function for the same system, so that it is compiled once."""
    return lambda numbers: system


def fit_alone(
    system: train.System,
    state: train.TrainState,
    x_NxD: np.ndarray,
    index_N: np.ndarray,
    key: jax.Array,
    *,
    order_seed: int = 0,
    **settings: int,
) -> Iterator[train_loop.Progress]:
    """The training of a list of one run."""
    starts = [train_loop.Start(state, key, order_seed)]
    for (progress,) in train_loop.fit(
        starts, x_NxD, index_N, system_of=whatever_the_numbers(system), **settings
    ):
        yield progress


def run_steps(
    system: train.System,
    x_NxD: np.ndarray,
    index_N: np.ndarray,
    num_steps: int,
    *,
    state: train.TrainState | None = None,
    batch_size: int = BATCH_SIZE,
    chunk_size: int = 4,
    **settings: int,
) -> tuple[train.TrainState, np.ndarray]:
    """(the last state, the bound of every step), from the first step or from `state`.

    Raises NonFiniteError where the training fails.
    """
    state = train.init_state(system, jax.random.key(FIRST_KEY)) if state is None else state
    sizes = {"num_steps": num_steps, "batch_size": batch_size, "chunk_size": chunk_size}
    bounds = []
    for progress in fit_alone(system, state, x_NxD, index_N, jax.random.key(KEY), **sizes, **settings):
        if progress.failed:
            raise NonFiniteError(progress.failed)
        state = progress.state
        bounds.append(progress.metrics.bound)
    return jax.device_get(state), np.concatenate(bounds)
