"""A finished run's model and encoder, for the benchmarks that need one."""

import json
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from vaelab.build import Experiment, build
from vaelab.checkpoint import Checkpointer
from vaelab.train import TrainState, init_state


def load(run: Path, family: str, **evaluate: Any) -> tuple[Experiment, TrainState]:
    """The run's experiment, with changes to its `evaluate` section, and its newest training state.

    Exits with one line where the run was not trained on `family`.
    """
    config = ConfigDict(json.loads((run / "config.json").read_text()))
    if config.posterior.family != family:
        raise SystemExit(
            f"--run={run} was trained on {config.posterior.family}: take one trained on {family}"
        )
    config.evaluate.update(evaluate)
    experiment = build(config)
    template = init_state(experiment.systems[family], experiment.keys.encoder, experiment.theta)
    with Checkpointer(run / "checkpoints" / "train", max_to_keep=2) as checkpoints:
        _, state = checkpoints.restore_latest(template)
    return experiment, jax.block_until_ready(state)
