"""How noisy is each estimator's gradient at the optimum, near it and far from it?

On a linear-Gaussian model the optimum of the full family is the posterior and known. q is moved from it by a
distance d in nats: along a fixed random direction in phi, as far as makes L[q*] - L[q] = d. What is measured:
the total variance of the gradient in phi (the trace of its covariance), each estimator with the same number
of draws.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vaelab import model, objective, posterior, report
from vaelab.objective import multisample
from vaelab.study.finding import Finding
from vaelab.types import Array, Key

ESTIMATORS = {
    "elbo": objective.elbo,
    "elbo_from_draws": objective.elbo_from_draws,
    "stick_the_landing": objective.stick_the_landing,
    "iwae": multisample.iwae,
    "dreg": multisample.dreg,
}


def gradient_variance(
    key: Key,
    *,
    singular_values: tuple[float, ...],
    distances: tuple[float, ...],
    num_samples: int,
    repeats: int,
) -> Finding:
    """The variance of each estimator's gradient at each distance, and its standard error over the repeats."""
    K = len(singular_values)
    key_theta, key_z, key_x, key_direction, key_draws = jax.random.split(key, 5)
    latent_model = model.linear_gaussian(K, singular_values, 1.0, 2 * K)
    theta = latent_model.init(key_theta)
    x_D = latent_model.sample(theta, key_x, jax.random.normal(key_z, (K,)))
    log_joint, family = model.bind(latent_model, theta, x_D), posterior.full(K)
    mean_K, precision_KxK = model.linear_gaussian_posterior(theta, x_D)
    optimum_P = family.gaussian.project(mean_K, jnp.linalg.inv(jnp.linalg.cholesky(precision_KxK)).T)
    direction_P = jax.random.normal(key_direction, (family.param_size,))

    @jax.jit
    def excess(t: Array) -> Array:
        moments = family.gaussian.location_scale(optimum_P + t * direction_P)
        elbo = model.linear_gaussian_elbo(theta, x_D, *moments)
        return model.linear_gaussian_log_evidence(theta, x_D) - elbo

    keys_R = jax.random.split(key_draws, repeats)
    variances, errors = [], []
    for distance in distances:
        phi_P = optimum_P + _step_to(distance, excess) * direction_P
        variance, error = {"nats from q*": float(distance)}, {"nats from q*": float(distance)}
        for name, estimator in ESTIMATORS.items():
            gradient = jax.grad(partial(estimator, log_joint, family, num_samples=num_samples))
            grad_RxP = np.float64(jax.jit(jax.vmap(gradient, (None, 0)))(phi_P, keys_R))
            square_R = np.sum((grad_RxP - np.mean(grad_RxP, axis=0)) ** 2, axis=1)
            variance[name] = float(np.mean(square_R))
            error[name] = float(np.std(square_R) / np.sqrt(repeats))
        variances.append(variance)
        errors.append(error)
    title = f"variance of the gradient in phi, {num_samples} draws"
    return Finding(
        tables={title: variances, "its standard error": errors},
        plot=lambda path: _plot(path, variances, num_samples),
    )


def _step_to(distance: float, excess: Callable[[float], Array]) -> float:
    """The least t >= 0 with excess(t) = distance; it grows without bound up to the first singular S."""
    from scipy import optimize

    if distance == 0.0:
        return 0.0
    high = 1e-3
    while float(excess(high)) < distance:
        high *= 1.2
    return optimize.brentq(lambda t: float(excess(t)) - distance, 0.0, high, xtol=1e-6)


def _plot(path: Path, rows: list[dict[str, float]], num_samples: int) -> None:
    figure, (axis,) = report.figure(1, 6.5, 4.4)
    distance = np.array([row["nats from q*"] for row in rows])
    shown = np.where(distance > 0, distance, distance[distance > 0].min() / 10.0)
    for name, colour in zip(ESTIMATORS, ("#4477aa", "#66ccee", "#228833", "#ee8866", "#aa3377"), strict=True):
        axis.loglog(shown, [max(row[name], 1e-13) for row in rows], "o-", color=colour, label=name)
    axis.set_xlabel("L[q*] - L[q], nats (the leftmost points stand at 0)")
    axis.set_ylabel(f"total variance of the gradient, {num_samples} draws")
    axis.legend()
    figure.savefig(path, dpi=120)
