"""Runs of the training loop, as several test files take them."""

import jax
import numpy as np

from vaelab.training import loop as train_loop
from vaelab.training import step as train

BATCH_SIZE, FIRST_KEY, KEY = 8, 1, 2


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
    """(the last state, the bound of every step), from the first step or from `state`."""
    state = train.init_state(system, jax.random.key(FIRST_KEY)) if state is None else state
    bounds = []
    for progress in train_loop.fit(
        state,
        x_NxD,
        index_N,
        jax.random.key(KEY),
        system=system,
        order_seed=0,
        num_steps=num_steps,
        batch_size=batch_size,
        chunk_size=chunk_size,
        **settings,
    ):
        state = progress.state
        bounds.append(progress.metrics.bound)
    return jax.device_get(state), np.concatenate(bounds)
