"""What an audit suspects an encoder of, from what it has measured."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from vaelab import report
from vaelab.measure.gap import mean_and_stderr
from vaelab.measure.subject import Outcome, Subject
from vaelab.model.latent import bind
from vaelab.objective.draws import estimate_elbo
from vaelab.runtime.chunks import map_datapoints
from vaelab.runtime.devices import take
from vaelab.types import Array, Key, Params

HINT_POINTS = 200
LEFT = 0.5  # share of a datapoint's gap, and of what the best multiple leaves, that a reading leaves at most
NEARLY_ALL, MOST, FEWEST = 0.9, 0.6, 0.1  # shares of the datapoints
MATTERS = 5.0  # tolerances: where a multiple leaves less, it explains what there is
SCALES = ("diagonal", "full", "cholesky")


class Reading(NamedTuple):
    """What the encoder may have returned, the formula of the scale that is then right, and that scale."""

    what: str
    formula: str
    scale_NxKxK: np.ndarray


def hints(subject: Subject, outcome: Outcome) -> list[str]:
    """Tells whether most of the gap goes with another scale in the place of what the encoder returns.

    A scale that is somewhat too small or too large gains by being misread too. A reading is told of where it
    closes most of the gap at nearly every datapoint that has one, and leaves less than half of what the best
    multiple of the scale by one number leaves, at most of them: it then explains the pattern of the scales,
    and not their size alone, which says nothing of how they came about. Datapoints are counted, as the gains
    of scales that are far off have no mean to speak of.
    """
    name = next((name for name in SCALES if name in subject.amortized), None)
    if name is None:
        return []
    family = subject.families[name]
    inputs = take(outcome.points.inputs, slice(HINT_POINTS))
    phi_NxP, fitted_NxP = subject.start(name, inputs), outcome.fits[name].inference.phi_P[:HINT_POINTS]
    location_scale = jax.jit(jax.vmap(family.gaussian.location_scale))
    mu_NxK, scale_NxKxK = map(np.float64, location_scale(phi_NxP))
    fitted_mu_NxK, fitted_NxKxK = map(np.float64, location_scale(fitted_NxP))
    score = _score(subject, name, inputs)
    as_returned_N = score(mu_NxK, scale_NxKxK)
    gap_N = score(fitted_mu_NxK, fitted_NxKxK) - as_returned_N  # all of the same draws
    counted_N = gap_N > subject.settings.tolerance
    if np.mean(counted_N) < FEWEST:
        return []
    likely = []
    for reading in _readings(name, scale_NxKxK):
        left_N = gap_N - (score(mu_NxK, reading.scale_NxKxK) - as_returned_N)
        if np.mean((left_N < LEFT * gap_N)[counted_N]) >= NEARLY_ALL:
            likely.append((np.mean(left_N), left_N, reading))
    if not likely:
        return []
    _, left_N, reading = min(likely, key=lambda each: each[0])
    scores = [score(mu_NxK, times * scale_NxKxK) for times in _multiples(scale_NxKxK, fitted_NxKxK)]
    by_multiple_N = gap_N - (np.maximum(*scores) - as_returned_N)
    better_N = (left_N < LEFT * by_multiple_N) & (by_multiple_N > MATTERS * subject.settings.tolerance)
    if np.mean(better_N[counted_N]) < MOST:
        return []
    lead = mean_and_stderr(gap_N - left_N)
    shown = "sigma" if name == "diagonal" else "S"
    return [
        f"with {reading.formula} in the place of {shown} the encoder's bound is {report.cell(lead)} nats "
        f"higher: does encode return {reading.what}?"
    ]


def _score(subject: Subject, name: str, inputs: Any) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """(mu_NxK, scale_NxKxK) -> the bound of each N(mu, S S'), all from the same draws; or -inf."""
    family, settings = subject.families[name], subject.settings
    inference = settings.inference[name]

    def bound(shared: tuple[Params, Key], row: tuple[Any, ...]) -> Array:
        (theta, key), (x_D, index, phi_P) = shared, row
        log_joint, key = bind(subject.model, theta, x_D), jax.random.fold_in(key, index)
        draws = {"num_samples": inference.elbo_samples, "chunk_size": inference.elbo_chunk_size}
        return estimate_elbo(log_joint, family, phi_P, key, **draws).value

    def score(mu_NxK: np.ndarray, scale_NxKxK: np.ndarray) -> np.ndarray:
        project = jax.jit(jax.vmap(family.gaussian.project))
        with np.errstate(over="ignore"):  # a reading that is out of all range loses, as it is infinite
            phi_NxP = np.asarray(project(np.float32(mu_NxK), np.float32(scale_NxKxK)))
        shared = (subject.theta, subject.keys.evaluate)
        value_N = np.float64(map_datapoints(bound, shared, (*inputs, phi_NxP), chunk_size=settings.memory))
        return np.where(np.isfinite(value_N), value_N, -np.inf)

    return score


def _readings(name: str, scale_NxKxK: np.ndarray) -> list[Reading]:
    """What a scale may be: sigma a variance or a logarithm, S a covariance, a precision, or transposed."""
    if name == "diagonal":
        sigma_NxK = np.diagonal(scale_NxKxK, axis1=1, axis2=2)
        with np.errstate(over="ignore"):
            readings = {
                "the variance": ("sqrt(sigma)", np.sqrt(sigma_NxK)),
                "log sigma": ("exp(sigma)", np.exp(sigma_NxK)),
                "the logarithm of the variance": ("exp(sigma / 2)", np.exp(0.5 * sigma_NxK)),
            }
        on_diagonal_KxK = np.eye(sigma_NxK.shape[1], dtype=bool)
        return [
            Reading(what, formula, np.where(on_diagonal_KxK, other_NxK[:, :, None], 0.0))
            for what, (formula, other_NxK) in readings.items()
        ]
    transposed_NxKxK = np.swapaxes(scale_NxKxK, 1, 2)
    # S S' is what is left of S in a family of triangular S: of a symmetric S the square.
    square_NxKxK = scale_NxKxK @ transposed_NxKxK
    values_NxK, vectors_NxKxK = np.linalg.eigh(square_NxKxK)
    values_NxK = np.maximum(values_NxK, np.finfo(np.float32).tiny)
    turned_NxKxK = np.swapaxes(vectors_NxKxK, 1, 2)

    def power(exponent: float) -> np.ndarray:
        """(S S')^exponent, symmetric."""
        return (vectors_NxKxK * values_NxK[:, None, :] ** exponent) @ turned_NxKxK

    upper_NxKxK = np.linalg.cholesky(square_NxKxK[:, ::-1, ::-1] + 0.0)[:, ::-1, ::-1]  # S S' = U U'
    readings = [
        Reading("the covariance", "cholesky(S)", power(0.25)),
        Reading("the precision matrix", "cholesky(inv(S))", power(-0.25)),
        Reading("the Cholesky factor of the precision matrix", "inv(S).T", np.linalg.inv(transposed_NxKxK)),
        Reading("the transpose, an upper Cholesky factor", "S.T", transposed_NxKxK),
    ]
    if name == "cholesky":
        readings[-1] = readings[-1]._replace(scale_NxKxK=np.swapaxes(upper_NxKxK, 1, 2))
    return readings


def _multiples(scale_NxKxK: np.ndarray, fitted_NxKxK: np.ndarray) -> list[float]:
    """Numbers by which the scales are best multiplied.

    With P the precision of the q* fitted, c S loses 1/2 (c^2 tr(S' P S) - K log c^2) and a constant, which is
    least at c^2 = K / mean tr(S' P S); and by the volumes alone c^K = det S* / det S, which outliers move
    less.
    """
    K = scale_NxKxK.shape[1]
    trace_N = np.sum((np.linalg.inv(fitted_NxKxK) @ scale_NxKxK) ** 2, axis=(1, 2))
    volume_N = np.linalg.slogdet(fitted_NxKxK)[1] - np.linalg.slogdet(scale_NxKxK)[1]
    return [float(np.sqrt(K / np.mean(trace_N))), float(np.exp(np.median(volume_N) / K))]
