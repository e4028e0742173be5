"""Fits and bounds of a few of a run's datapoints, by the programs that serve all of them."""

import jax
import numpy as np

from vaelab.inference.loop import Inference
from vaelab.measure.fit import ROWS_ON_CPU, InferenceSettings, Problem, fit_in_rounds, score_runs
from vaelab.objective.draws import Estimate
from vaelab.runtime.devices import take
from vaelab.runtime.memory import Memory
from vaelab.types import LatentModel, PosteriorFamily


def fit_rows(
    model: LatentModel,
    family: PosteriorFamily,
    settings: InferenceSettings,
    problem: Problem,
    phi_NxP: np.ndarray,
    first_round: int,
    count: int,
    chunk_size: int | Memory,
) -> tuple[Inference, np.ndarray]:
    """(the fits from these phi, the rounds that each took) of the few rows of `problem`, one of `count` once.

    first_round: the number of the first round, of which each has draws of its own.
    """
    size = len(phi_NxP)
    # As many as a round of all of them takes at a time, so that its program serves.
    at_once = -(-count // -(-count // ROWS_ON_CPU))
    rows = np.resize(np.arange(size), max(size, at_once))
    part = problem._replace(data=take(problem.data, rows), phi_start_NxP=problem.phi_start_NxP[rows])
    numbers = range(first_round, first_round + settings.max_rounds)
    fits = fit_in_rounds(
        model, family, settings, [part], [phi_NxP[rows]], numbers, chunk_size, progress=lambda count: None
    )
    return jax.tree.map(lambda a: a[:size], fits[0])


def score_rows(
    model: LatentModel,
    family: PosteriorFamily,
    settings: InferenceSettings,
    problem: Problem,
    purpose: str,
    phis: tuple[np.ndarray, np.ndarray],
    chunk_size: int | Memory,
) -> tuple[Estimate, Estimate, Estimate]:
    """(the bound of the first phi of each datapoint, that of the second, the second's lead), on shared draws.

    purpose: "select" or "score", whose draws are others.
    """
    return score_runs((model, family, settings), [problem], chunk_size, purpose, [phis])[0]
