"""What random weights with E[w] = p(x) say about log p(x): estimate, error, and whether to trust both."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.evidence.pareto import pareto_k, tail_size
from vaelab.objective.draws import rounding
from vaelab.types import Array


class Evidence(NamedTuple):
    """An estimate of log p(x) in nats, with the standard error of its weights.

    The estimator and its bias are facts of the function that made it, not of the datapoint.

    log_evidence: log of the mean weight; -inf where every weight is zero, NaN where one is NaN
    stderr: of log_evidence by the delta method, sd(w) / (sqrt(S) mean(w)), times `heavier` where the weights
        have a heavy tail, and of float32's rounding; inf where it cannot be told
    effective_sample_size: (sum w)^2 / sum w^2, 0 where there is no weight
    pareto_k: tail index of the weights; over 0.7 neither the estimate nor its error is to be trusted. See
        `pareto_k` for what -inf and inf say
    acceptance: mean over the moves of an estimator that has any, NaN for the others
    """

    log_evidence: Array
    stderr: Array
    effective_sample_size: Array
    pareto_k: Array
    acceptance: Array

    @classmethod
    def template(cls) -> "Evidence":
        """The structure without its arrays."""
        return cls(0, 0, 0, 0, 0)

    @property
    def finite(self) -> Array:
        """Whether there is an estimate with an error at all."""
        return jnp.isfinite(self.log_evidence) & jnp.isfinite(self.stderr)


class Moments(NamedTuple):
    """Sums of w and w^2 of the weights so far, scaled by exp(-max log w), and the largest, in falling order.

    log_largest_M holds one more than the tail that is fitted, for its threshold; memory is O(sqrt(S)).
    """

    log_max: Array
    sum_w: Array
    sum_w2: Array
    log_largest_M: Array


def no_weights(num_samples: int) -> Moments:
    """The moments before the first of num_samples weights."""
    largest_M = jnp.full(tail_size(num_samples) + 1, -jnp.inf)
    return Moments(jnp.array(-jnp.inf), jnp.array(0.0), jnp.array(0.0), largest_M)


def accumulate(moments: Moments, log_w_S: Array) -> Moments:
    """The moments with S more weights."""
    log_max = jnp.maximum(moments.log_max, jnp.max(log_w_S))
    # While every weight so far is zero the scale is arbitrary; 0 avoids -inf - -inf.
    scale = jnp.where(jnp.isneginf(log_max), 0.0, log_max)
    decay = jnp.exp(moments.log_max - scale)
    w_S = jnp.exp(log_w_S - scale)
    largest_M = moments.log_largest_M
    return Moments(
        log_max,
        moments.sum_w * decay + jnp.sum(w_S),
        moments.sum_w2 * decay**2 + jnp.sum(w_S**2),
        jax.lax.top_k(jnp.concatenate([largest_M, log_w_S]), largest_M.size)[0],
    )


LIGHT, HEAVY = 0.5, 0.7  # the k-hat up to which weights have a variance; over which no error holds


def heavier(k: Array, num_samples: int) -> Array:
    """S^(k - 1/2) for k-hat from LIGHT to HEAVY, 1 below and not more above; what the error is enlarged by.

    A mean of S weights whose tail has index k > 1/2, which have no variance, has errors of the order of
    S^-(1 - k) in the place of S^-1/2 (Vehtari et al. 2024, section 3). Where k-hat is not finite there is no
    tail, or too few draws to see one.
    """
    k = jnp.where(jnp.isfinite(k), k, LIGHT)
    return num_samples ** (jnp.clip(k, LIGHT, HEAVY) - LIGHT)


def summarize(moments: Moments, num_samples: int) -> Evidence:
    """log 1/S sum_s w_s and what is known of its error, of S = num_samples weights in all."""
    some = moments.sum_w > 0.0  # neither all zero nor NaN
    size = jnp.where(some, moments.sum_w**2 / moments.sum_w2, 0.0)
    # sd^2 / (S mean^2), with the unbiased sd.
    variance = jnp.maximum(num_samples / size - 1.0, 0.0) / max(num_samples - 1, 1)
    log_evidence = moments.log_max + jnp.log(moments.sum_w) - math.log(num_samples)
    k = jnp.where(some, pareto_k(moments.log_largest_M), jnp.inf)
    stderr = jnp.hypot(jnp.sqrt(variance) * heavier(k, num_samples), rounding(log_evidence))
    return Evidence(
        log_evidence=log_evidence,
        stderr=jnp.where(some & (num_samples > 1), stderr, jnp.inf),
        effective_sample_size=size,
        pareto_k=k,
        acceptance=jnp.array(jnp.nan),
    )


def from_log_weights(log_w_S: Array) -> Evidence:
    """Evidence of independent weights that are all at hand."""
    return summarize(accumulate(no_weights(log_w_S.size), log_w_S), log_w_S.size)
