"""Is what the inner loop calls converged converged? On linear-Gaussian models the true excess is known:

    python benchmarks/convergence_estimate.py

For posterior precisions of growing condition number, every family, and starts at the prior and far off
(mean 5 in every dimension, scale 3): the largest true excess L[q*] - L[q] over the datapoints, the largest
among those called converged, how many were, and the rounds it took. The loop is that of
experiments/linear_gaussian.py at a tolerance of 0.001 nats, in up to 10 rounds; a larger excess among the
converged is a wrong verdict. low_rank and householder are taken at full rank, where they hold the exact
posterior and L[q*] = log p(x). What a flow of a given size can reach has no closed form: its `excess` is
log p(x) - L[q], which is too large by what the family lacks. Prints one JSON line; nats.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import jax
import jax.numpy as jnp
import numpy as np

from experiments import linear_gaussian
from vaelab import model
from vaelab.config.experiment import Experiment, build
from vaelab.measure.fit import LocalFit, fit_locally
from vaelab.measure.gap import exact_gap
from vaelab.posterior import OF_ANY_MODEL
from vaelab.posterior.project import has_projection
from vaelab.types import Array, LatentModel, Params, PosteriorFamily

LATENT_DIM, DATA_DIM, POINTS = 3, 6, 50
TOLERANCE, MAX_ROUNDS = 1e-3, 10
# condition number of I + W' W: singular values of W
SPECTRA = {
    4: (2.0, 1.0, 0.5),
    100: (10.0, 1.0, 0.1),
    10_000: (100.0, 1.0, 0.1),
}


def settings_of(families: Sequence[str]) -> Experiment:
    """The experiment whose inner loops are tried."""
    config = linear_gaussian.get_config()
    config.inference.families, config.posterior.family = tuple(families), families[0]
    config.inference.tolerance, config.inference.max_rounds = TOLERANCE, MAX_ROUNDS
    config.model.latent_dim, config.model.data_dim = LATENT_DIM, DATA_DIM
    config.model.singular_values = SPECTRA[4]
    config.posterior.rank = config.posterior.num_reflections = LATENT_DIM
    config.objective.name = "elbo_from_draws"  # that a flow has too; nothing is trained
    config.evaluate.elbo_samples = 20_000
    return build(config)


def simulated(singular_values: tuple[float, ...]) -> tuple[LatentModel, Params, np.ndarray]:
    """(the model, theta, datapoints drawn from it)."""
    latent_model = model.linear_gaussian(LATENT_DIM, singular_values, 1.0, DATA_DIM)
    latent_model = latent_model._replace(concavity=None)  # the estimate, and not the proved bound
    theta = latent_model.init(jax.random.key(1))
    keys_N = jax.random.split(jax.random.key(2), POINTS)
    z_NxK = jax.random.normal(jax.random.key(3), (POINTS, LATENT_DIM))
    return latent_model, theta, np.asarray(jax.vmap(latent_model.sample, (None, 0, 0))(theta, keys_N, z_NxK))


def far(family: PosteriorFamily) -> Array:
    """phi of mean 5 in every dimension and scale 3."""
    if has_projection(family):
        return family.gaussian.project(jnp.full(LATENT_DIM, 5.0), 3.0 * jnp.eye(LATENT_DIM))
    # phi = [mean, log of scales, the rest]
    phi_P = family.init().at[:LATENT_DIM].set(5.0)
    return phi_P.at[LATENT_DIM : 2 * LATENT_DIM].add(jnp.log(3.0))


def excess(
    latent_model: LatentModel, family: PosteriorFamily, theta: Params, x_NxD: Array, fit: LocalFit
) -> np.ndarray:
    """L[q*] - L[q] of each datapoint, by the closed forms of the model."""
    phi_NxP = fit.inference.phi_P
    if has_projection(family):
        # The amortization gap of the phi it is given: here the true excess.
        return exact_gap(latent_model, family, theta, x_NxD, phi_NxP).amortization
    log_evidence_N = np.asarray(jax.vmap(latent_model.exact.log_evidence, (None, 0))(theta, x_NxD))
    if family.gaussian is None:
        return log_evidence_N - fit.elbo_optimal.value

    def elbo(x_D: Array, phi_P: Array) -> Array:
        return latent_model.exact.elbo(theta, x_D, *family.gaussian.location_scale(phi_P))

    return log_evidence_N - np.asarray(jax.vmap(elbo)(x_NxD, phi_NxP))


def rows(
    experiment: Experiment, condition: int, singular_values: tuple[float, ...]
) -> Iterator[dict[str, Any]]:
    """A row for each family and start."""
    latent_model, theta, x_NxD = simulated(singular_values)
    for name, family in experiment.families.items():
        for start, phi_P in {"prior": family.init(), "far": far(family)}.items():
            fit = fit_locally(
                latent_model,
                family,
                experiment.evaluate.inference[name],
                theta,
                (x_NxD, np.arange(POINTS)),
                np.tile(np.asarray(phi_P), (POINTS, 1)),
                jax.random.key(4),
                tolerance=experiment.evaluate.tolerance,
                chunk_size=POINTS,
            )
            excess_N, converged_N = excess(latent_model, family, theta, x_NxD, fit), fit.inference.converged
            yield {
                "condition": condition,
                "family": name,
                "start": start,
                "max_excess": float(excess_N.max()),
                "max_excess_of_converged": float(excess_N[converged_N].max()) if converged_N.any() else None,
                "num_converged": int(converged_N.sum()),
                "mean_rounds": float(fit.rounds.mean()),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", default=list(OF_ANY_MODEL), choices=OF_ANY_MODEL)
    experiment = settings_of(parser.parse_args().families)
    every = [row for spectrum in SPECTRA.items() for row in rows(experiment, *spectrum)]
    about = {
        "benchmark": "convergence_estimate",
        "points": POINTS,
        "tolerance": experiment.evaluate.tolerance,
    }
    print(json.dumps({**about, "rows": every}))


if __name__ == "__main__":
    main()
