"""Is what the inner loop calls converged converged? On linear-Gaussian models the true excess is known:

    python benchmarks/convergence_estimate.py

For posterior precisions of growing condition number, three families, and starts at the prior and far off
(mean 5 in every dimension, scale 3): the largest true excess L[q*] - L[q] over the datapoints, the largest
among those called converged, how many were, and the rounds it took. The loop is that of
experiments/linear_gaussian.py at a tolerance of 0.001 nats, in up to 10 rounds; a larger excess among the
converged is a wrong verdict. Prints one JSON line; nats.
"""

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
    from vaelab import gap, local_fit, model, posterior
    from vaelab.build import build

    config = linear_gaussian.get_config()
    config.inference.families = ("diagonal", "full", "cholesky")
    config.inference.tolerance, config.inference.max_rounds = TOLERANCE, MAX_ROUNDS
    settings = build(config).evaluate.inference
    rows = []
    for condition, singular_values in SPECTRA.items():
        latent_model = model.linear_gaussian(LATENT_DIM, singular_values, 1.0, DATA_DIM)
        latent_model = latent_model._replace(concavity=None)  # the estimate, and not the proved bound
        theta = latent_model.init(jax.random.key(1))
        keys_N = jax.random.split(jax.random.key(2), POINTS)
        z_NxK = jax.random.normal(jax.random.key(3), (POINTS, LATENT_DIM))
        x_NxD = np.asarray(jax.vmap(latent_model.sample, (None, 0, 0))(theta, keys_N, z_NxK))
        for make in (posterior.diagonal, posterior.full, posterior.cholesky):
            family = make(LATENT_DIM)
            far_P = family.project(jnp.full(LATENT_DIM, 5.0), 3.0 * jnp.eye(LATENT_DIM))
            for start, phi_P in {"prior": family.init(), "far": far_P}.items():
                fitted = local_fit.fit_locally(
                    latent_model,
                    family,
                    settings[family.name],
                    theta,
                    (x_NxD, np.arange(POINTS)),
                    np.tile(np.asarray(phi_P), (POINTS, 1)),
                    jax.random.key(4),
                    chunk_size=POINTS,
                )
                # `exact_gap` measures the amortization gap of the phi it is given: here the true excess.
                excess_N = gap.exact_gap(
                    latent_model, family, theta, x_NxD, fitted.inference.phi_P
                ).amortization
                verdict_N = fitted.inference.converged
                worst = float(excess_N[verdict_N].max()) if verdict_N.any() else None
                row = {
                    "condition": condition,
                    "family": family.name,
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
