"""Draws from q(z), their log weights log p(x, z) - log q(z), and the ELBO estimated from them.

Every estimator is a mean over draws z_s = family.reparameterize(phi, eps_s) of the log weights

    log w_s = log p(x, z_s) - log q(z_s),        L[q] = E_q[log w] = E_q[log p(x given z)] - KL(q || p).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.types import Array, Key, LogJoint, PosteriorFamily


class Estimate(NamedTuple):
    """A Monte-Carlo mean with the standard error of its draws."""

    value: Array
    stderr: Array


def standard_draws(key: Key, num_samples: int, latent_dim: int, *, antithetic: bool = False) -> Array:
    """eps_SxK ~ N(0, I); with `antithetic` the second half is minus the first (num_samples even)."""
    if not antithetic:
        return jax.random.normal(key, (num_samples, latent_dim))
    if num_samples % 2:
        raise ValueError(f"antithetic draws come in pairs: num_samples={num_samples} must be even")
    half = jax.random.normal(key, (num_samples // 2, latent_dim))
    return jnp.concatenate([half, -half])


def mean_over_draws(term: Callable[[Array], Array], eps_SxK: Array) -> Array:
    """mean_s term(eps_s)."""
    # A batch of one draw inside a batch of datapoints makes XLA transpose every layer's activations for the
    # gradient of its weights: a tenth of a training step.
    return term(eps_SxK[0]) if eps_SxK.shape[0] == 1 else jnp.mean(jax.vmap(term)(eps_SxK))


def log_weights(log_joint: LogJoint, family: PosteriorFamily, phi_P: Array, eps_SxK: Array) -> Array:
    """log w_S = log p(x, z_s) - log q(z_s) at z_s = reparameterize(phi, eps_s)."""
    return jax.vmap(log_weight(log_joint, family, phi_P, phi_P))(eps_SxK)


def log_weight(
    log_joint: LogJoint, family: PosteriorFamily, phi_P: Array, density_phi_P: Array
) -> Callable[[Array], Array]:
    """eps_K -> log w, with z moved by phi and log q by density_phi, which has the same value."""
    if density_phi_P is phi_P:

        def log_weight_at_phi(eps_K: Array) -> Array:
            z_K, log_q = family.sample_and_log_prob(phi_P, eps_K)
            return log_joint(z_K) - log_q

        return log_weight_at_phi

    log_q = log_density_of_draw(family, density_phi_P)

    def log_weight(eps_K: Array) -> Array:
        z_K = family.reparameterize(phi_P, eps_K)
        return log_joint(z_K) - log_q(eps_K, z_K)

    return log_weight


def log_density_of_draw(family: PosteriorFamily, phi_P: Array) -> Callable[[Array, Array], Array]:
    """(eps_K, z_K) -> log q(z), for a z that is reparameterize(phi, eps) by another way.

    Its value and its first derivatives, in z and in phi, are those of log q; the gradient of a bound with it
    can be differentiated once more, with z moved by the same phi.
    """
    if family.score_of_draw is None:
        log_q = family.dist(phi_P).log_prob  # built once: a dense S is inverted here
        return lambda eps_K, z_K: log_q(z_K)

    def about_the_draw(eps_K: Array, z_K: Array) -> Array:
        at_K, log_q = family.sample_and_log_prob(phi_P, eps_K)
        return log_q + family.score_of_draw(phi_P, eps_K) @ (z_K - at_K)

    return about_the_draw


def estimate_elbo(
    log_joint: LogJoint, family: PosteriorFamily, phi_P: Array, key: Key, *, num_samples: int, chunk_size: int
) -> Estimate:
    """L[q_phi] = E_q[log w] for one datapoint from antithetic draws, `chunk_size` of them at a time.

    The standard error is that of the means of the pairs, which are independent. Chunks are whole: the
    number of draws is rounded up to a multiple of them.
    """
    pairs_M = elbo_pairs(log_joint, family, phi_P, key, num_samples=num_samples, chunk_size=chunk_size)
    return estimate_mean(pairs_M)


def estimate_mean(values_M: Array, *, size: Array | None = None) -> Estimate:
    """The mean of independent values, with its standard error and the rounding of what they are sums of.

    size: of those sums, |mean| where it is not given; what float32 loses of them, all values may share.
    """
    mean = jnp.mean(values_M)
    stderr = jnp.std(values_M, ddof=1) / jnp.sqrt(values_M.size)
    return Estimate(mean, jnp.hypot(stderr, rounding(mean if size is None else size)))


def rounding(value: Array) -> Array:
    """What float32 may lose of a sum of log-densities of this value, nats: a unit in its last place."""
    return jnp.finfo(jnp.float32).eps * jnp.abs(value)


def elbo_pairs(
    log_joint: LogJoint, family: PosteriorFamily, phi_P: Array, key: Key, *, num_samples: int, chunk_size: int
) -> Array:
    """The mean of log w over each antithetic pair of draws, `[M]`; `estimate_elbo` is their mean.

    Under one key the pairs of two phi have the same noise: their differences are those of the bounds.
    """
    pairs_per_chunk = max(1, chunk_size // 2)
    num_chunks = -(-num_samples // (2 * pairs_per_chunk))

    def chunk(t):
        eps_SxK = standard_draws(
            jax.random.fold_in(key, t), 2 * pairs_per_chunk, family.latent_dim, antithetic=True
        )
        log_w_S = log_weights(log_joint, family, phi_P, eps_SxK)
        return 0.5 * (log_w_S[:pairs_per_chunk] + log_w_S[pairs_per_chunk:])

    return jax.lax.map(chunk, jnp.arange(num_chunks)).reshape(-1)
