"""log p(x) by importance sampling, for one datapoint: a stochastic lower bound."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.evidence.weights import Evidence, accumulate, no_weights, summarize
from vaelab.linalg import inverse_and_log_abs_det
from vaelab.types import Array, Key, LogJoint, PosteriorFamily


class Proposal(NamedTuple):
    """A distribution that can be sampled and has a normalised density.

    sample(key, num_samples) -> z_SxK
    log_prob(z_K) -> []
    """

    sample: Callable[[Key, int], Array]
    log_prob: Callable[[Array], Array]


def member(family: PosteriorFamily, phi_P: Array) -> Proposal:
    """q_phi itself."""

    def sample(key: Key, num_samples: int) -> Array:
        eps_SxK = jax.random.normal(key, (num_samples, family.latent_dim))
        return jax.vmap(family.reparameterize, (None, 0))(phi_P, eps_SxK)

    return Proposal(sample, family.dist(phi_P).log_prob)


def student_t(family: PosteriorFamily, phi_P: Array, *, degrees_of_freedom: int) -> Proposal:
    """mu + S t with q_phi = N(mu, S S') and t standard multivariate Student with nu degrees of freedom,

        log t(z) = log G((nu + K)/2) - log G(nu/2) - K/2 log(nu pi) - log|det S|
                   - (nu + K)/2 log(1 + |S^-1 (z - mu)|^2 / nu),                    G the gamma function.

    Its tails outweigh those of any posterior under a Gaussian prior, so that the weights are bounded wherever
    the likelihood is. For Gaussian families.
    """
    K, nu = family.latent_dim, degrees_of_freedom
    mu_K, scale_KxK = family.gaussian.location_scale(phi_P)
    inverse_KxK, log_abs_det = inverse_and_log_abs_det(scale_KxK)
    log_gammas = math.lgamma(0.5 * (nu + K)) - math.lgamma(0.5 * nu)
    log_norm = log_gammas - 0.5 * K * math.log(nu * math.pi) - log_abs_det

    def sample(key: Key, num_samples: int) -> Array:
        key_normal, key_chi = jax.random.split(key)
        eps_SxK = jax.random.normal(key_normal, (num_samples, K))
        # Not jax.random.chisquare, whose rejection loop waits for the slowest draw of all.
        chi_SxN = jax.random.normal(key_chi, (num_samples, nu))
        stretch_S = jnp.sqrt(nu / jnp.sum(chi_SxN**2, axis=1))
        return jax.vmap(lambda eps_K, stretch: mu_K + stretch * (scale_KxK @ eps_K))(eps_SxK, stretch_S)

    def log_prob(z_K: Array) -> Array:
        square = jnp.sum((inverse_KxK @ (z_K - mu_K)) ** 2)
        return log_norm - 0.5 * (nu + K) * jnp.log1p(square / nu)

    return Proposal(sample, log_prob)


class Components(NamedTuple):
    """M Gaussian distributions N(mu_m, S_m S_m') with weights, as of the modes of a posterior.

    mu_MxK, scale_MxKxK, inverse_MxKxK, log_det_M: of each mu, S, S^-1 and log|det S|
    log_weight_M: up to a common constant; -inf of one that is left out, whose other numbers are finite
    """

    mu_MxK: Array
    scale_MxKxK: Array
    inverse_MxKxK: Array
    log_det_M: Array
    log_weight_M: Array


LEAST_SHARE = 0.05  # of the draws, that all components with a weight share evenly, whatever the weights


def mixture(components: Components, *, degrees_of_freedom: int) -> Proposal:
    """sum_m a_m t_nu(mu_m, S_m): Student distributions about all modes, a_m the weights, LEAST_SHARE evenly.

    The number of draws from each is the nearest to its share that chance allows (systematic sampling), so
    that no mode of weight is missed.
    """
    M, K = components.mu_MxK.shape
    nu = degrees_of_freedom
    some_M = components.log_weight_M > -jnp.inf
    even_M = some_M / jnp.maximum(jnp.sum(some_M), 1)
    share_M = (1.0 - LEAST_SHARE) * jax.nn.softmax(components.log_weight_M) + LEAST_SHARE * even_M
    log_gammas = math.lgamma(0.5 * (nu + K)) - math.lgamma(0.5 * nu)
    log_norm_M = log_gammas - 0.5 * K * math.log(nu * math.pi) - components.log_det_M
    log_share_M = jnp.where(some_M, jnp.log(jnp.where(some_M, share_M, 1.0)), -jnp.inf)

    def sample(key: Key, num_samples: int) -> Array:
        key_normal, key_chi, key_place = jax.random.split(key, 3)
        place_S = (jnp.arange(num_samples) + jax.random.uniform(key_place)) / num_samples
        at_S = jnp.minimum(jnp.searchsorted(jnp.cumsum(share_M), place_S), M - 1)
        at_S = jnp.where(some_M[at_S], at_S, jnp.argmax(share_M))  # where the sum is rounded below 1
        eps_SxK = jax.random.normal(key_normal, (num_samples, K))
        stretch_S = jnp.sqrt(nu / jnp.sum(jax.random.normal(key_chi, (num_samples, nu)) ** 2, axis=1))
        moved_SxK = jnp.einsum("sij,sj->si", components.scale_MxKxK[at_S], stretch_S[:, None] * eps_SxK)
        return components.mu_MxK[at_S] + moved_SxK

    def log_prob(z_K: Array) -> Array:
        away_MxK = jnp.einsum("mij,mj->mi", components.inverse_MxKxK, z_K[None, :] - components.mu_MxK)
        log_t_M = log_norm_M - 0.5 * (nu + K) * jnp.log1p(jnp.sum(away_MxK**2, axis=1) / nu)
        return jax.nn.logsumexp(log_share_M + log_t_M)

    return Proposal(sample, log_prob)


def importance_sampling(
    log_joint: LogJoint,
    proposals: tuple[Proposal | tuple[PosteriorFamily, Array], ...],
    key: Key,
    *,
    num_samples: int,
    chunk_size: int,
) -> Evidence:
    """log 1/S sum_s p(x, z_s) / q(z_s), with q the equal mixture of `proposals`.

    A pair (family, phi_P) stands for that member. E[exp(estimate)] = p(x), so by Jensen the estimate is a
    stochastic lower bound on log p(x), in expectation below it by about Var[w] / (2 S p(x)^2). With one
    proposal this is IWAE-S (Burda et al. 2016, eq. 8); with several, the draws are stratified and weighted
    by the balance heuristic (Veach & Guibas 1995), so a bad proposal among good ones costs at most its
    share of the draws. Draws come in chunks, memory does not grow with num_samples but for the 3 sqrt(S)
    largest weights; each chunk takes the same number from each proposal, so the number used is rounded up
    (see `evaluations`).

    stderr: delta method, sd(w) / (sqrt(S) mean(w)), which ignores the (favourable) stratification.
    """
    proposals = tuple(p if isinstance(p, Proposal) else member(*p) for p in proposals)
    per_proposal, num_chunks = _chunks(len(proposals), num_samples, chunk_size)
    size = num_chunks * per_proposal * len(proposals)

    def chunk(moments, t):
        keys = jax.random.split(jax.random.fold_in(key, t), len(proposals))
        z_SxK = jnp.concatenate([p.sample(k, per_proposal) for k, p in zip(keys, proposals, strict=True)])
        log_q_FxS = jnp.stack([jax.vmap(p.log_prob)(z_SxK) for p in proposals])
        log_q_S = jax.nn.logsumexp(log_q_FxS, axis=0) - math.log(len(proposals))
        return accumulate(moments, jax.vmap(log_joint)(z_SxK) - log_q_S), None

    moments, _ = jax.lax.scan(chunk, no_weights(size), jnp.arange(num_chunks))
    return summarize(moments, size)


def _chunks(num_proposals: int, num_samples: int, chunk_size: int) -> tuple[int, int]:
    """(draws of each proposal in a chunk, chunks)."""
    per_proposal = max(1, chunk_size // num_proposals)
    return per_proposal, -(-num_samples // (per_proposal * num_proposals))


def evaluations(num_proposals: int, *, num_samples: int, chunk_size: int) -> int:
    """Evaluations of the decoder that `importance_sampling` takes for one datapoint, values alone."""
    return num_proposals * math.prod(_chunks(num_proposals, num_samples, chunk_size))
