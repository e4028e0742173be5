"""What training left, as what is measured: the model, and what gives phi of a datapoint."""

import functools
from typing import NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from vaelab.config.experiment import Experiment
from vaelab.measure.datapoints import datapoints
from vaelab.measure.subject import Inputs, Measured, Subject
from vaelab.posterior.project import project, same_distribution
from vaelab.runtime.devices import map_datapoints
from vaelab.training.regime import Table
from vaelab.training.step import TrainState
from vaelab.types import Key, Params


class Trained(NamedTuple):
    """What training left: theta; psi of each family's encoder; the table, of mean-field learning."""

    theta: Params
    psis: dict[str, Params]
    table: Table | None = None

    def after(self, family: str, state: TrainState) -> "Trained":
        """With what a training of this family left."""
        if isinstance(state.psi, Table):
            return Trained(state.theta, {}, state.psi)
        return self._replace(theta=state.theta, psis={**self.psis, family: state.psi})


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
    )


def _amortized(experiment: Experiment, split: str, name: str, trained: Trained) -> str | None:
    """What gives this family's phi on this split: its encoder, with or without steps, or the table."""
    first = experiment.stages[0]
    if trained.table is not None and split == "train" and name == first.family:
        return "table"
    if name not in trained.psis:
        return None
    refined = experiment.regime == "semi_amortized" and name == first.family
    return "encoder and steps" if refined else "encoder"


def _starts(experiment: Experiment, split: str, trained: Trained, name: str, inputs: Inputs) -> np.ndarray:
    """phi of the family as it was learned, of each datapoint: a row of the table or the encoder's.

    Of a family that has none, of the trained encoder's law projected; where there is no such projection
    either, the prior.
    """
    how, target = _amortized(experiment, split, name, trained), experiment.families[name]
    if how == "table":
        return _rows_of_table(experiment, trained.table, inputs.index_N)
    encoder_name = name if how else next(iter(trained.psis), None)
    if encoder_name is None:
        return np.tile(np.asarray(target.init()), (len(inputs.index_N), 1))
    # The last stage of a family is the one that has its encoder.
    source = next(s.system for s in reversed(experiment.stages) if s.family == encoder_name)

    def encode(shared: tuple[Params, Params, Key], row: tuple[jax.Array, jax.Array]) -> jax.Array:
        (theta, psi, key), (x_D, index) = shared, row
        phi_P = source.regime.recognise(theta, psi, x_D, jax.random.fold_in(key, index))
        return ravel_pytree(phi_P)[0] if how else project(phi_P, source.family, target)

    shared = (trained.theta, trained.psis[encoder_name], experiment.keys.recognise)
    return map_datapoints(encode, shared, tuple(inputs), chunk_size=1000)


def _rows_of_table(experiment: Experiment, table: Table, index_N: np.ndarray) -> np.ndarray:
    """phi of the datapoints of these indices, in the coordinates of the family."""
    system = experiment.stages[0].system
    order_N = np.argsort(experiment.train_split.index_N)
    row_N = order_N[np.searchsorted(experiment.train_split.index_N[order_N], index_N)]
    convert = functools.partial(same_distribution, source=system.regime.family, target=system.family)
    return np.asarray(jax.vmap(convert)(table.phi_NxP[row_N]))
