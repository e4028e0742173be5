"""log p(x), for one datapoint; each estimator names the direction of its bias."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.types import Array, Key, LogJoint, PosteriorFamily


class Evidence(NamedTuple):
    """An estimate of log p(x), with the standard error of its draws and its effective sample size.

    The estimator and its bias are facts of the function that made it, not of the datapoint.
    """

    log_evidence: Array
    stderr: Array
    effective_sample_size: Array


class _Moments(NamedTuple):
    """Sums of w and w^2 over the draws so far, both scaled by exp(-max log w)."""

    log_max: Array
    sum_w: Array
    sum_w2: Array


def _accumulate(moments: _Moments, log_w_S: Array) -> _Moments:
    log_max = jnp.maximum(moments.log_max, jnp.max(log_w_S))
    # While every weight so far is zero the scale is arbitrary; 0 avoids -inf - -inf.
    scale = jnp.where(jnp.isneginf(log_max), 0.0, log_max)
    decay = jnp.exp(moments.log_max - scale)
    w_S = jnp.exp(log_w_S - scale)
    return _Moments(
        log_max, moments.sum_w * decay + jnp.sum(w_S), moments.sum_w2 * decay**2 + jnp.sum(w_S**2)
    )


def importance_sampling(
    log_joint: LogJoint,
    proposals: tuple[tuple[PosteriorFamily, Array], ...],
    key: Key,
    *,
    num_samples: int,
    chunk_size: int,
) -> Evidence:
    """log 1/S sum_s p(x, z_s) / q(z_s), with q the equal mixture of the (family, phi_P) in `proposals`.

    E[exp(estimate)] = p(x), so by Jensen the estimate is a stochastic lower bound on log p(x), in
    expectation below it by about Var[w] / (2 S p(x)^2). With one proposal this is IWAE-S (Burda et al. 2016,
    eq. 8); with several, the draws are stratified and weighted by the balance heuristic (Veach & Guibas
    1995), so a bad proposal among good ones costs at most its share of the draws. Draws come in chunks,
    memory does not grow with num_samples; each chunk takes the same number from each proposal, so the
    number used is rounded up.

    stderr: delta method, sd(w) / (sqrt(S) mean(w)), which ignores the (favourable) stratification.
    """
    per_proposal = max(1, chunk_size // len(proposals))
    num_chunks = -(-num_samples // (per_proposal * len(proposals)))

    def draw(key, family, phi_P):
        eps_SxK = jax.random.normal(key, (per_proposal, family.latent_dim))
        return jax.vmap(family.reparameterize, (None, 0))(phi_P, eps_SxK)

    def chunk(moments, t):
        keys = jax.random.split(jax.random.fold_in(key, t), len(proposals))
        draws = [draw(k, family, phi_P) for k, (family, phi_P) in zip(keys, proposals, strict=True)]
        z_SxK = jnp.concatenate(draws)
        log_q_FxS = jnp.stack([jax.vmap(f.dist(phi_P).log_prob)(z_SxK) for f, phi_P in proposals])
        log_q_S = jax.nn.logsumexp(log_q_FxS, axis=0) - jnp.log(len(proposals))
        return _accumulate(moments, jax.vmap(log_joint)(z_SxK) - log_q_S), None

    start = _Moments(jnp.array(-jnp.inf), jnp.array(0.0), jnp.array(0.0))
    moments, _ = jax.lax.scan(chunk, start, jnp.arange(num_chunks))
    size = num_chunks * per_proposal * len(proposals)
    effective_sample_size = moments.sum_w**2 / moments.sum_w2
    return Evidence(
        log_evidence=moments.log_max + jnp.log(moments.sum_w / size),
        stderr=jnp.sqrt(jnp.maximum(1.0 / effective_sample_size - 1.0 / size, 0.0)),
        effective_sample_size=effective_sample_size,
    )
