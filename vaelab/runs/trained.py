"""What training leaves, as what is measured: the model, and the encoder, or the table of phi."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from vaelab.config.experiment import Experiment
from vaelab.config.train import Stage
from vaelab.measure.datapoints import datapoints
from vaelab.measure.subject import Inputs, Measured, Subject
from vaelab.posterior.chain import of_model
from vaelab.posterior.project import project, same_distribution
from vaelab.runtime.chunks import map_datapoints
from vaelab.training.regime import Regime, Table
from vaelab.training.step import TrainState
from vaelab.types import Array, Key, Params, PosteriorFamily


class TrainedEncoder(NamedTuple):
    """An encoder of one family, with its weights: regime.recognise and regime.encode give phi of any x."""

    family: PosteriorFamily
    regime: Regime
    psi: Params


class Ended(NamedTuple):
    """How a stage ended: the state that is measured, the last step, the measured one, by which setting."""

    state: TrainState
    step: int
    measured_step: int
    by: str


class Trained(NamedTuple):
    """What training leaves: theta; the encoder of each family that has one; mean-field learning's table.

    stages: for each of them what `gap.json` says under `training`.
    """

    theta: Params
    encoders: dict[str, TrainedEncoder]
    table: Table | None = None
    stages: tuple[dict[str, Any], ...] = ()

    def after(self, stage: Stage, ended: Ended) -> "Trained":
        """With what this stage has left."""
        state = ended.state
        said = {
            "stage": stage.name,
            "last_step": ended.step,
            "measured_step": ended.measured_step,
            "ended_by": ended.by,
        }
        stages = (*self.stages, said)
        if isinstance(state.psi, Table):
            return Trained(state.theta, {}, state.psi, stages)
        system = stage.system
        encoder = TrainedEncoder(system.family, system.regime, state.psi)
        encoders = {**self.encoders, stage.family: encoder}
        return self._replace(theta=state.theta, encoders=encoders, stages=stages)


def subject_of(experiment: Experiment, split: str, trained: Trained) -> Subject:
    """What is measured on this split of an experiment."""
    families = experiment.families
    return Subject(
        model=experiment.latent_model,
        theta=trained.theta,
        families=families,
        settings=experiment.evaluate,
        keys=experiment.keys,
        amortized={name: how for name in families if (how := _amortized(experiment, split, name, trained))},
        start=functools.partial(_starts, experiment, split, trained),
        # What is drawn from a density has no levels.
        quantized=None if split == "simulated" else experiment.quantized,
    )


def points_of(experiment: Experiment, split: str, theta: Params) -> Measured:
    """The datapoints of this split of an experiment."""
    settings = experiment.evaluate
    return datapoints(
        split,
        experiment.inputs,
        experiment.latent_model,
        theta,
        max_points=settings.max_points,
        corruption=settings.corruption,
        keys=experiment.keys,
        labels=experiment.labels,
    )


def _amortized(experiment: Experiment, split: str, name: str, trained: Trained) -> str | None:
    """What gives this family's phi on this split: its encoder, with or without steps, or the table."""
    if trained.table is not None and split == "train" and name == experiment.stages[0].family:
        return "table"
    if name not in trained.encoders:
        return None
    return "encoder and steps" if trained.encoders[name].regime.refined else "encoder"


def _starts(experiment: Experiment, split: str, trained: Trained, name: str, inputs: Inputs) -> np.ndarray:
    """phi of the family as it was learned, of each datapoint: a row of the table or the encoder's.

    A family that has neither gets the trained encoder's distribution, projected; the prior where that has no
    closed form.
    """
    how, target = _amortized(experiment, split, name, trained), experiment.families[name]
    if how == "table":
        return _rows_of_table(experiment, trained.table, inputs.index_N)
    encoder = trained.encoders[name] if how else next(iter(trained.encoders.values()), None)
    if encoder is None:
        init_P = ravel_pytree(of_model(target, trained.theta, target.init()))[0]
        return np.tile(np.asarray(init_P), (len(inputs.index_N), 1))
    shared = (trained.theta, encoder.psi, experiment.keys.recognise)
    static = encoder.regime, encoder.family, target
    return map_datapoints(_recognise, shared, tuple(inputs), static=static, chunk_size=1000)


def _recognise(
    regime: Regime,
    source: PosteriorFamily,
    target: PosteriorFamily,
    shared: tuple[Params, Params, Key],
    row: tuple[Any, Array],
) -> Array:
    (theta, psi, key), (x_D, index) = shared, row
    phi = regime.recognise(theta, psi, x_D, jax.random.fold_in(key, index))
    return ravel_pytree(phi if source is target else of_model(target, theta, project(phi, source, target)))[0]


def _rows_of_table(experiment: Experiment, table: Table, index_N: np.ndarray) -> np.ndarray:
    """phi of the datapoints of these indices, in the coordinates of the family."""
    system = experiment.stages[0].system
    order_N = np.argsort(experiment.train_split.index_N)
    row_N = order_N[np.searchsorted(experiment.train_split.index_N[order_N], index_N)]
    convert = functools.partial(same_distribution, source=system.regime.family, target=system.family)
    return np.asarray(jax.vmap(convert)(table.phi_NxP[row_N]))
