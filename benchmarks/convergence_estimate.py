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
import os
import sys

LATENT_DIM, DATA_DIM, POINTS = 3, 6, 50
TOLERANCE, MAX_ROUNDS = 1e-3, 10
# condition number of I + W' W: singular values of W
SPECTRA = {
    4: (2.0, 1.0, 0.5),
    100: (10.0, 1.0, 0.1),
    10_000: (100.0, 1.0, 0.1),
}


def main() -> None:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments import linear_gaussian
    from vaelab import model
    from vaelab.config.experiment import build
    from vaelab.config.posterior import FAMILIES
    from vaelab.measure import fit as local_fit
    from vaelab.measure import gap
    from vaelab.posterior.project import has_projection
    from vaelab.types import Array, LatentModel, Params, PosteriorFamily

    def excess(
        latent_model: LatentModel,
        family: PosteriorFamily,
        theta: Params,
        x_NxD: Array,
        fit: local_fit.LocalFit,
    ) -> np.ndarray:
        phi_NxP = fit.inference.phi_P
        if has_projection(family):
            # The amortization gap of the phi it is given: here the true excess.
            return gap.exact_gap(latent_model, family, theta, x_NxD, phi_NxP).amortization
        log_evidence_N = np.asarray(jax.vmap(latent_model.exact.log_evidence, (None, 0))(theta, x_NxD))
        if family.gaussian is None:
            return log_evidence_N - fit.elbo_optimal.value

        def elbo(x_D: Array, phi_P: Array) -> Array:
            return latent_model.exact.elbo(theta, x_D, *family.gaussian.location_scale(phi_P))

        return log_evidence_N - np.asarray(jax.vmap(elbo)(x_NxD, phi_NxP))

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    families = tuple(parser.parse_args().families)
    config = linear_gaussian.get_config()
    config.inference.families, config.posterior.family = families, families[0]
    config.inference.tolerance, config.inference.max_rounds = TOLERANCE, MAX_ROUNDS
    config.model.latent_dim, config.model.data_dim = LATENT_DIM, DATA_DIM
    config.model.singular_values = SPECTRA[4]
    config.posterior.rank = config.posterior.num_reflections = LATENT_DIM
    config.objective.name = "elbo_from_draws"  # that a flow has too; nothing is trained
    config.evaluate.elbo_samples = 20_000
    experiment = build(config)
    rows = []
    for condition, singular_values in SPECTRA.items():
        latent_model = model.linear_gaussian(LATENT_DIM, singular_values, 1.0, DATA_DIM)
        latent_model = latent_model._replace(concavity=None)  # the estimate, and not the proved bound
        theta = latent_model.init(jax.random.key(1))
        keys_N = jax.random.split(jax.random.key(2), POINTS)
        z_NxK = jax.random.normal(jax.random.key(3), (POINTS, LATENT_DIM))
        x_NxD = np.asarray(jax.vmap(latent_model.sample, (None, 0, 0))(theta, keys_N, z_NxK))
        for name, family in experiment.families.items():
            if has_projection(family):
                far_P = family.gaussian.project(jnp.full(LATENT_DIM, 5.0), 3.0 * jnp.eye(LATENT_DIM))
            else:  # phi = [mean, log of scales, the rest]
                far_P = family.init().at[:LATENT_DIM].set(5.0)
                far_P = far_P.at[LATENT_DIM : 2 * LATENT_DIM].add(jnp.log(3.0))
            for start, phi_P in {"prior": family.init(), "far": far_P}.items():
                fitted = local_fit.fit_locally(
                    latent_model,
                    family,
                    experiment.evaluate.inference[name],
                    theta,
                    (x_NxD, np.arange(POINTS)),
                    np.tile(np.asarray(phi_P), (POINTS, 1)),
                    jax.random.key(4),
                    chunk_size=POINTS,
                )
                excess_N = excess(latent_model, family, theta, x_NxD, fitted)
                verdict_N = fitted.inference.converged
                worst = float(excess_N[verdict_N].max()) if verdict_N.any() else None
                row = {
                    "condition": condition,
                    "family": name,
                    "start": start,
                    "max_excess": float(excess_N.max()),
                }
                verdict = {"max_excess_of_converged": worst, "num_converged": int(verdict_N.sum())}
                rows.append({**row, **verdict, "mean_rounds": float(fitted.rounds.mean())})
    about = {"benchmark": "convergence_estimate", "points": POINTS, "tolerance": config.inference.tolerance}
    print(json.dumps({**about, "rows": rows}))


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main()
