"""A finished run's model and encoder, for the benchmarks that need one."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from vaelab.config.experiment import Experiment, build
from vaelab.runtime.checkpoint import Checkpointer
from vaelab.runtime.devices import map_datapoints
from vaelab.training.step import System, TrainState, init_state


def load(run: Path, family: str, **changes: dict[str, Any]) -> tuple[Experiment, TrainState]:
    """The run's experiment, with changes to sections of its config, and its newest training state.

    Exits with one line where the run was not trained on `family`.
    """
    config = ConfigDict(json.loads((run / "config.json").read_text()))
    if config.posterior.family != family:
        raise SystemExit(
            f"--run={run} was trained on {config.posterior.family}: take one trained on {family}"
        )
    for section, values in changes.items():
        config[section].update(values)
    experiment = build(config)
    template = init_state(experiment.stages[0].system, experiment.keys.encoder, experiment.theta)
    with Checkpointer(run / "checkpoints" / "train", max_to_keep=2) as checkpoints:
        _, state = checkpoints.restore_latest(template)
    return experiment, jax.block_until_ready(state)


def encode(system: System, state: TrainState, x_NxD: np.ndarray) -> np.ndarray:
    """phi of the run's encoder at each datapoint."""

    def one(shared: tuple, row: jax.Array) -> jax.Array:
        return system.regime.recognise(*shared, row, jax.random.key(0))  # an encoder draws nothing

    return map_datapoints(one, (state.theta, state.psi), x_NxD, chunk_size=1000)
