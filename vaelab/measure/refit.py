"""Fits at the modes that a search has shown, where these promise a higher bound than the one at hand."""

from typing import Any, NamedTuple

import jax
import numpy as np

from vaelab.inference.modes import Modes, mode_at
from vaelab.measure.ended import CONVERGED, ended
from vaelab.measure.few import fit_rows, score_rows
from vaelab.measure.fit import InferenceSettings, LocalFit, Problem
from vaelab.model.latent import bind
from vaelab.objective.draws import Estimate
from vaelab.posterior.project import near
from vaelab.runtime.chunks import map_datapoints
from vaelab.runtime.devices import take
from vaelab.runtime.memory import Memory
from vaelab.types import Array, LatentModel, Params, PosteriorFamily

WITHIN = 3.0  # nats below the best of Laplace's guesses, in which a mode is worth a fit


class Refitted(NamedTuple):
    """The fit of each datapoint at the best of its modes, `[N]` in front.

    fit: the best of all
    again: whether it is another than the fit before
    mode: the place among `Modes` that it sits at
    local: L[q*] of the fit before, from the encoder's end
    lost: L[q*] of the best minus that, with the error of their difference; 0 where both sit at one mode, NaN
        where that is not known
    """

    fit: LocalFit
    again: np.ndarray
    mode: np.ndarray
    local: Estimate
    lost: Estimate

    @classmethod
    def template(cls) -> "Refitted":
        """The structure without its arrays."""
        return cls(LocalFit.template(), 0, 0, Estimate(0, 0), Estimate(0, 0))


def refit(
    model: LatentModel,
    family: PosteriorFamily,
    settings: InferenceSettings,
    problem: Problem,
    fit: LocalFit,
    modes: Modes,
    reached_N: np.ndarray,
    *,
    num_refits: int,
    first_round: int,
    chunk_size: int | Memory,
) -> Refitted:
    """Fits this family at other modes than its fit's, where they promise more; and at any where that failed.

    reached_N: the place of the mode that the fit sits at. first_round: a number above those of the rounds
    that the fit took, for other draws. A family that has no member `near` a Gaussian distribution keeps its
    fit.
    """
    count = len(reached_N)
    best = Refitted(
        jax.tree.map(np.array, fit),
        np.zeros(count, bool),
        np.array(reached_N),
        jax.tree.map(np.array, fit.elbo_optimal),
        Estimate(np.zeros(count), np.zeros(count)),
    )
    if near(family) is None:
        # What its mode loses is not known where another is the heavier.
        unknown_N = np.argmax(np.nan_to_num(modes.log_weight_M, nan=0.0), axis=1) != reached_N
        lost = np.where(unknown_N & np.isfinite(modes.log_weight_M[:, 0]), np.nan, 0.0)
        return best._replace(lost=Estimate(lost, lost.copy()))
    targets_NxJ = _targets(family, fit, modes, reached_N, num_refits)
    for number, place_N in enumerate(targets_NxJ.T):
        rows = np.flatnonzero(place_N >= 0)
        if not rows.size:
            break
        place = place_N[rows]
        part = problem._replace(data=take(problem.data, rows), phi_start_NxP=problem.phi_start_NxP[rows])
        at = part.data[0], modes.z_MxK[rows, place], modes.axis_MxK[rows, place]
        static = model, family
        phi_NxP = map_datapoints(_laplace, problem.theta, at, static=static, chunk_size=chunk_size)
        first = first_round + number * settings.max_rounds
        again, rounds = fit_rows(model, family, settings, part, phi_NxP, first, count, chunk_size)
        here = best.fit.inference.phi_P[rows], again.phi_P
        before, after, lead = score_rows(model, family, settings, part, "select", here, chunk_size)
        best.fit.rounds[rows] += rounds
        # Noise is no reason to sit elsewhere.
        higher = np.isfinite(after.value) & ~(np.isfinite(before.value) & (lead.value <= 2.0 * lead.stderr))
        for whole, new in zip(jax.tree.leaves(best.fit.inference), jax.tree.leaves(again), strict=True):
            whole[rows[higher]] = new[higher]
        best.mode[rows[higher]] = place[higher]
        best.again[rows[higher]] = True
    best.fit.from_prior[best.again] = False
    best = _scored(model, family, settings, problem, fit, best, np.flatnonzero(best.again), chunk_size)
    # A fit that had failed and now has not lost nothing by its mode.
    elsewhere_N = best.mode != np.asarray(reached_N)
    return best._replace(lost=Estimate(*(np.where(elsewhere_N, number, 0.0) for number in best.lost)))


def _targets(
    family: PosteriorFamily, fit: LocalFit, modes: Modes, reached_N: np.ndarray, num_refits: int
) -> np.ndarray:
    """The places of the modes at which to fit, the most promising first, [N, num_refits]; -1 for none."""
    guess_NxM = np.float64(modes.log_bound_M if family.name == "diagonal" else modes.log_weight_M)
    guess_NxM = np.where(np.isfinite(guess_NxM), guess_NxM, -np.inf)
    sound_N = ended(fit) == CONVERGED
    is_reached_NxM = np.arange(guess_NxM.shape[1])[None, :] == np.asarray(reached_N)[:, None]
    own_N = np.where(sound_N, guess_NxM[np.arange(len(reached_N)), reached_N], -np.inf)
    with np.errstate(invalid="ignore"):
        wanted_NxM = (
            np.isfinite(guess_NxM)
            & ~(is_reached_NxM & sound_N[:, None])
            & (guess_NxM >= guess_NxM.max(axis=1, keepdims=True) - WITHIN)
            & (guess_NxM >= own_N[:, None] - WITHIN)
        )
    order_NxM = np.argsort(np.where(wanted_NxM, -guess_NxM, np.inf), axis=1)[:, :num_refits]
    return np.where(np.take_along_axis(wanted_NxM, order_NxM, axis=1), order_NxM, -1)


def _laplace(model: LatentModel, family: PosteriorFamily, theta: Params, row: tuple[Any, ...]) -> Array:
    """phi of the member near the Gaussian distribution of the curvature at a mode."""
    x_D, z_K, axis_K = row
    mode = mode_at(bind(model, theta, x_D), z_K, axis_K)
    return near(family)(mode.z_K, mode.scale_KxK)


def _scored(
    model: LatentModel,
    family: PosteriorFamily,
    settings: InferenceSettings,
    problem: Problem,
    before: LocalFit,
    best: Refitted,
    rows: np.ndarray,
    chunk_size: int | Memory,
) -> Refitted:
    """The bounds of the rows whose fit is another now, on the draws that report."""
    if not rows.size:
        return best
    part = problem._replace(data=take(problem.data, rows), phi_start_NxP=problem.phi_start_NxP[rows])
    phi_NxP = best.fit.inference.phi_P[rows]
    score = lambda first: score_rows(model, family, settings, part, "score", (first, phi_NxP), chunk_size)  # noqa: E731
    _, optimum, gain = score(part.phi_start_NxP)
    _, _, lost = score(before.inference.phi_P[rows])
    pairs = ((best.fit.elbo_optimal, optimum), (best.fit.gain, gain), (best.lost, lost))
    for whole, new in pairs:
        whole.value[rows], whole.stderr[rows] = new.value, new.stderr
    return best
