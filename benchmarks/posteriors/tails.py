"""Heavy tails and skew: multivariate Student posteriors, and logarithms of gamma variables."""

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln

from benchmarks.posteriors.record import Posteriors, float32, moments_start
from vaelab.types import Array

DEGREES = (2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
SHAPES = (0.3, 0.5, 0.7, 1.0, 1.5, 2.5, 5.0, 20.0)


def student_log_joint(x: dict[str, Array], z_K: Array) -> Array:
    """offset + log t(z; nu, m, (R'R)^-1) of one datapoint, nats."""
    nu, K = x["nu"], z_K.size
    white_K = x["root_KxK"] @ (z_K - x["mean_K"])
    log_constant = gammaln(0.5 * (nu + K)) - gammaln(0.5 * nu) - 0.5 * K * jnp.log(nu * jnp.pi)
    log_det = jnp.sum(jnp.log(jnp.diagonal(x["root_KxK"])))
    tail = 0.5 * (nu + K) * jnp.log1p(white_K @ white_K / nu)
    return x["offset"] + log_constant + log_det - tail


def student(K: int) -> Posteriors:
    """2 to 10 degrees of freedom, correlated; the encoder has the mean and the scale."""
    rng, count = np.random.default_rng(5000 + K), len(DEGREES)
    roots = np.tril(0.5 * rng.normal(size=(count, K, K)) / np.sqrt(K), -1)
    scales = np.exp(rng.uniform(-1.0, 1.0, size=(count, K)))
    roots += np.einsum("nk,kl->nkl", scales, np.eye(K))
    mean_NxK = rng.normal(size=(count, K))
    x = float32(offset=3.0 * rng.normal(size=count), nu=DEGREES, mean_K=mean_NxK, root_KxK=roots)
    kinds = [f"student, {nu:g} degrees of freedom" for nu in DEGREES]
    sd_NxK = 1.0 / np.sqrt(np.einsum("njk,njk->nk", roots, roots))
    return _group(K, student_log_joint, x, mean_NxK, sd_NxK, kinds, np.full(count, np.nan))


def log_gamma_log_joint(x: dict[str, Array], z_K: Array) -> Array:
    """offset + sum_k [a u_k - exp(u_k) - log Gamma(a) - log s_k], u = (z - m) / s, of one datapoint, nats."""
    u_K = (z_K - x["mean_K"]) / x["scale_K"]
    log_prob_K = x["shape"] * u_K - jnp.exp(u_K) - gammaln(x["shape"]) - jnp.log(x["scale_K"])
    return x["offset"] + jnp.sum(log_prob_K)


def log_gamma(K: int) -> Posteriors:
    """(z_k - m_k) / s_k the logarithm of a gamma variable of shape 0.3 to 20.

    The posterior factorises; the best Gaussian of u has variance 1 / a and mean log a - 1 / (2 a), and
    L = a log a - a - 1/2 - log Gamma(a) + 1/2 log(2 pi e / a).
    """
    from scipy import special

    rng, count = np.random.default_rng(6000 + K), len(SHAPES)
    x = float32(
        offset=3.0 * rng.normal(size=count),
        shape=SHAPES,
        mean_K=rng.normal(size=(count, K)),
        scale_K=np.exp(rng.uniform(-1.0, 1.0, size=(count, K))),
    )
    a = x["shape"].astype(np.float64)
    of_one = a * np.log(a) - a - 0.5 - special.gammaln(a) + 0.5 * np.log(2.0 * np.pi * np.e / a)
    mean_NxK = x["mean_K"] + x["scale_K"] * np.log(a)[:, None]
    sd_NxK = x["scale_K"] / np.sqrt(a)[:, None]
    kinds = [f"log-gamma, shape {shape:g}" for shape in SHAPES]
    best_N = x["offset"].astype(np.float64) + K * of_one
    return _group(K, log_gamma_log_joint, x, mean_NxK, sd_NxK, kinds, best_N)


def _group(K, density, x, mean_NxK, sd_NxK, kinds, best_N) -> Posteriors:
    count = len(kinds)
    return Posteriors(
        latent_dim=K,
        density=density,
        is_likelihood=False,
        x=x,
        encode=(np.float32(mean_NxK), np.float32(sd_NxK)),
        log_evidence_N=x["offset"].astype(np.float64),
        best_diagonal_N=best_N,
        attained_N=best_N,
        num_parts_N=np.ones(count, int),
        num_modes_N=np.ones(count, int),
        apart_N=np.zeros(count),
        kind_N=np.array(kinds),
        starts_NxSx2K=moments_start(mean_NxK, sd_NxK) if K <= 2 else None,
    )
