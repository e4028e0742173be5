"""A finished run with its experiment, for the benchmarks that need one."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

import vaelab
from vaelab.config.experiment import Experiment, build
from vaelab.runtime.chunks import map_datapoints
from vaelab.training.regime import Regime
from vaelab.types import Array, Params, PosteriorFamily


def load(directory: Path, family: str, **changes: dict[str, Any]) -> tuple[Experiment, vaelab.FinishedRun]:
    """The run, and its experiment with changes to sections of its config.

    Exits with one line where there is no finished run, or none with an encoder that was trained on `family`.
    """
    try:
        run = vaelab.load(directory)
    except vaelab.ConfigError as error:
        raise SystemExit(str(error)) from None
    config = run.config.copy_and_resolve_references()
    trained, regime = config.posterior.family, config.learning.regime
    if trained != family or regime == "mean_field":
        made_of = f"was trained on {trained}, {regime}"
        raise SystemExit(f"--run={directory} {made_of}: take one with an encoder, trained on {family}")
    for section, values in changes.items():
        config[section].update(values)
    return build(config), run


def encode(experiment: Experiment, run: vaelab.FinishedRun, x_NxD: np.ndarray) -> np.ndarray:
    """phi of the run's encoder at each datapoint."""
    stage = experiment.stages[0]
    _, psi = run.encoders[stage.family]
    regime = stage.system.regime
    return map_datapoints(_recognise, (run.theta, psi), x_NxD, static=(regime,), chunk_size=1000)


def _recognise(regime: Regime, shared: tuple[Params, Params], x_D: Array) -> Array:
    return regime.recognise(*shared, x_D, jax.random.key(0))  # an encoder draws nothing


def nearest(phi_NxP: np.ndarray, source: PosteriorFamily, target: PosteriorFamily) -> np.ndarray:
    """phi of the members of target nearest to these of source; target must have a projection."""
    project, split = target.gaussian.project, source.gaussian.location_scale
    return np.asarray(jax.vmap(lambda phi_P: project(*split(phi_P)))(phi_NxP))
