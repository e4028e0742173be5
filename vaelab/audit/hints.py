"""What an audit suspects an encoder of, from what it has measured."""

from typing import Any

import jax
import numpy as np

from vaelab import report
from vaelab.measure.gap import mean_and_stderr
from vaelab.measure.subject import Outcome, Subject
from vaelab.model.latent import bind
from vaelab.objective.draws import estimate_elbo
from vaelab.runtime.devices import map_datapoints, take
from vaelab.types import Array, Key, Params

HINT_POINTS = 200


def hints(subject: Subject, outcome: Outcome) -> list[str]:
    """Tells whether most of the gap goes with another scale in the place of what the encoder returns.

    A scale somewhat too small or too large gains by being misread too, but little of what it lacks.
    """
    if "diagonal" not in subject.amortized:
        return []
    family, settings = subject.families["diagonal"], subject.settings
    inference = settings.inference["diagonal"]
    inputs = take(outcome.points.inputs, slice(HINT_POINTS))
    gap = float(np.mean(outcome.fits["diagonal"].gain.value[:HINT_POINTS]))
    phi_NxP = subject.start("diagonal", inputs)
    mu_NxK, log_sigma_NxK = np.split(phi_NxP, 2, axis=1)
    sigma_NxK = np.exp(log_sigma_NxK)

    def bound(shared: tuple[Params, Key], row: tuple[Any, ...]) -> Array:
        (theta, key), (x_D, index, phi_P) = shared, row
        log_joint, key = bind(subject.model, theta, x_D), jax.random.fold_in(key, index)
        draws = {"num_samples": inference.elbo_samples, "chunk_size": inference.elbo_chunk_size}
        return estimate_elbo(log_joint, family, phi_P, key, **draws).value

    def score(log_sigma_NxK: np.ndarray) -> np.ndarray:
        data = (*inputs, np.concatenate([mu_NxK, log_sigma_NxK], axis=1))
        shared = (subject.theta, subject.keys.evaluate)
        return np.float64(map_datapoints(bound, shared, data, chunk_size=settings.memory))

    as_returned_N = score(log_sigma_NxK)
    readings = {
        "the variance": ("sqrt(sigma)", 0.5 * log_sigma_NxK),
        "log sigma": ("exp(sigma)", sigma_NxK),
        "the logarithm of the variance": ("exp(sigma / 2)", 0.5 * sigma_NxK),
    }
    better = []
    for what, (formula, other_NxK) in readings.items():
        lead = mean_and_stderr(score(other_NxK) - as_returned_N)
        if lead["mean"] > max(5.0 * lead["stderr"], 0.5 * gap):
            better.append(
                (
                    lead["mean"],
                    f"with {formula} in the place of sigma the encoder's bound is "
                    f"{report.cell(lead)} nats higher: does encode return {what}?",
                )
            )
    return [line for _, line in sorted(better, reverse=True)[:1]]
