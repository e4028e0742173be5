"""What is KL(N(mu, S S') || N(0, I)), and what does it cost?

    KL = 1/2 (||S||_F^2 + ||mu||^2 - K) - log|det S|,    dKL/dS = S - S^-T

held against float64 linear algebra, distrax and draws, for growing K; and timed.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vaelab import posterior, report
from vaelab.runtime.timing import quickest
from vaelab.study.finding import Finding
from vaelab.types import Array, Key


def full_covariance_kl(
    key: Key, *, latent_dims: tuple[int, ...], num_draws: int, batch_size: int, repeats: int
) -> Finding:
    """Errors of the closed form and of its gradient, and seconds for a batch of datapoints, at each K."""
    errors, costs = [], []
    for number, K in enumerate(latent_dims):
        key_K = jax.random.fold_in(key, number)
        key_errors, key_costs = jax.random.split(key_K)
        errors.append({"K": K, **_errors(key_errors, K, num_draws)})
        costs.append({"K": K, **_costs(key_costs, K, batch_size, repeats)})
    return Finding(
        tables={
            "the closed form against float64, distrax and draws": errors,
            f"milliseconds for value and gradient at {batch_size} datapoints": costs,
        },
        plot=lambda path: _plot(path, costs),
    )


def _member(key: Key, K: int) -> Array:
    """mu ~ N(0, I), S = I + a random matrix of norm about 1: condition numbers of the order of K."""
    key_mu, key_scale = jax.random.split(key)
    scale_KxK = jnp.eye(K) + 0.5 * jax.random.normal(key_scale, (K, K)) / np.sqrt(K)
    return jnp.concatenate([jax.random.normal(key_mu, (K,)), scale_KxK.reshape(-1)])


def _errors(key: Key, K: int, num_draws: int) -> dict[str, float]:
    import distrax

    key_member, key_draws = jax.random.split(key)
    family, phi_P = posterior.full(K), _member(key_member, K)
    kl, grad_P = jax.jit(jax.value_and_grad(family.kl_to_prior))(phi_P)

    def of_distrax(phi_P: Array) -> Array:
        return family.dist(phi_P).kl_divergence(distrax.MultivariateNormalDiag(jnp.zeros(K), jnp.ones(K)))

    def log_ratio(eps_K: Array) -> Array:
        z_K = family.reparameterize(phi_P, eps_K)
        return family.dist(phi_P).log_prob(z_K) + 0.5 * jnp.sum(z_K**2 + jnp.log(2.0 * jnp.pi))

    mu, S = np.float64(phi_P[:K]), np.float64(phi_P[K:]).reshape(K, K)
    s = np.linalg.svd(S, compute_uv=False)
    exact = 0.5 * (np.sum((s - 1.0) * (s + 1.0)) + mu @ mu) - np.sum(np.log(s))
    exact_grad = S - np.linalg.inv(S).T
    drawn = np.float64(jax.jit(jax.vmap(log_ratio))(jax.random.normal(key_draws, (num_draws, K))))
    return {
        "KL": float(kl),
        "relative error": float(abs(kl - exact) / exact),
        "distrax, relative": float(abs(jax.jit(of_distrax)(phi_P) - exact) / exact),
        "draws, stderrs": float(abs(np.mean(drawn) - exact) / (np.std(drawn) / np.sqrt(num_draws))),
        "gradient, relative": float(
            np.linalg.norm(np.float64(grad_P[K:]).reshape(K, K) - exact_grad) / np.linalg.norm(exact_grad)
        ),
        "condition number": float(s[0] / s[-1]),
    }


def _costs(key: Key, K: int, batch_size: int, repeats: int) -> dict[str, float]:
    """Best of the repeats for the closed-form KL's value and gradient of each Gaussian family."""
    costs = {}
    for number, family in enumerate((posterior.diagonal(K), posterior.cholesky(K), posterior.full(K))):
        phi_NxP = jnp.tile(family.gaussian.project(jnp.zeros(K), jnp.eye(K)), (batch_size, 1))
        phi_NxP += 0.1 / np.sqrt(K) * jax.random.normal(jax.random.fold_in(key, number), phi_NxP.shape)
        run = jax.jit(jax.vmap(jax.value_and_grad(family.kl_to_prior)))
        costs[family.name] = quickest(run, phi_NxP, repeats=repeats).milliseconds
    return costs


def _plot(path: Path, costs: list[dict[str, float]]) -> None:
    figure, (axis,) = report.figure(1, 6.5, 4.2)
    K = np.array([row["K"] for row in costs])
    for name, colour in (("diagonal", "#4477aa"), ("cholesky", "#228833"), ("full", "#ee8866")):
        axis.loglog(K, [row[name] for row in costs], "o-", color=colour, label=name)
    last = costs[-1]["full"]
    axis.loglog(K, last * (K / K[-1]) ** 3, ":", color="grey", label="$K^3$")
    axis.set_xlabel("latent dimension K")
    axis.set_ylabel("milliseconds a batch, value and gradient")
    axis.legend()
    figure.savefig(path, dpi=120)
