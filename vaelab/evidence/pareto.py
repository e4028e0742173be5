"""The Pareto k-hat of importance weights: how heavy their tail is.

The excesses of the M = min(S / 5, 3 sqrt(S)) largest weights over the next one are fitted by a generalised
Pareto distribution with shape k; E[w^j] is finite for j < 1/k. Below k = 0.5 the error of a mean of weights
is what its standard error says; above 0.7 no practical number of samples makes the mean good (Vehtari,
Simpson, Gelman, Yao & Gabry 2024, sections 2.2 and 3).
"""

import math

import jax
import jax.numpy as jnp

from vaelab.types import Array

MIN_TAIL = 5  # with fewer excesses nothing is fitted
EQUAL = 1e-3  # nats; weights as near to each other as that have no tail that could matter
PRIOR_DRAWS, PRIOR_K = 10, 0.5  # the weak prior on k of Vehtari et al. 2024, appendix G


def tail_size(num_samples: int) -> int:
    """M = ceil(min(S / 5, 3 sqrt(S)))."""
    return math.ceil(min(num_samples / 5, 3.0 * math.sqrt(num_samples)))


def pareto_k(log_w_M: Array) -> Array:
    """k-hat from the largest M log weights in falling order, the last of them the threshold.

    -inf where they are all equal up to 0.001 nats; inf where fewer than 5 lie over the threshold, which says
    that there are too few draws to tell, or too few with any weight.

    The profile posterior mean of Zhang & Stephens (2009, section 3): with theta_j = 1 / x_max +
    (1 - sqrt(m / (j - 1/2))) / (3 x_quartile), k(theta) = mean_i log(1 - theta x_i), and l(theta) =
    n (log(-theta / k) - k - 1), k-hat = k(sum_j theta_j softmax_j(l)), drawn to 0.5 by ten observations. All
    in logarithms, with x_max = 1: in float32 the quartile of weights underflows once they span 88 nats.
    """
    if log_w_M.size - 1 < MIN_TAIL:
        return jnp.array(jnp.inf)
    log_tail_M, log_threshold = log_w_M[:-1], log_w_M[-1]
    above_M = log_tail_M > log_threshold  # ties carry no excess
    count = jnp.sum(above_M)
    log_over_M = jnp.log(-jnp.expm1(jnp.where(above_M, log_threshold - log_tail_M, -1.0)))
    log_x_M = jnp.where(above_M, log_tail_M - log_tail_M[0] + log_over_M - log_over_M[0], -jnp.inf)

    def shape(log_abs: Array, sign: Array) -> Array:
        """Mean over the tail of log(1 - theta x), theta = sign exp(log_abs) < 1."""
        log_product_M = log_abs + log_x_M
        positive_M = jnp.log1p(-jnp.exp(jnp.minimum(log_product_M, -1e-6)))
        return jnp.sum(jnp.where(sign < 0, jnp.logaddexp(0.0, log_product_M), positive_M)) / count

    num_theta = 30 + math.isqrt(log_tail_M.size)
    log_quartile = log_x_M[count - jnp.maximum(jnp.floor(count / 4 + 0.5).astype(int), 1)]
    ratio_J = (
        jnp.log(jnp.sqrt(num_theta / (jnp.arange(num_theta) + 0.5)) - 1.0) - math.log(3.0) - log_quartile
    )
    sign_J = -jnp.sign(ratio_J)  # theta = 1 - exp(ratio)
    log_abs_J = jnp.maximum(ratio_J, 0.0) + jnp.log(-jnp.expm1(-jnp.abs(ratio_J)))
    k_J = jax.vmap(shape)(log_abs_J, sign_J)
    log_posterior_J = count * (log_abs_J - jnp.log(jnp.abs(k_J)) - k_J - 1.0)
    log_posterior_J = jnp.where(sign_J == 0.0, -jnp.inf, log_posterior_J)
    log_mean_theta = jax.nn.logsumexp(
        log_abs_J + jax.nn.log_softmax(log_posterior_J), b=sign_J, return_sign=True
    )
    k = (count * shape(*log_mean_theta) + PRIOR_DRAWS * PRIOR_K) / (count + PRIOR_DRAWS)
    equal = log_tail_M[0] - log_threshold < EQUAL
    return jnp.where(equal, -jnp.inf, jnp.where(count < MIN_TAIL, jnp.inf, k))
