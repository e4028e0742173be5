"""Likelihoods of levels 0, 1/(L-1), ..., 1 that are categories, or that have an order alone."""

import jax
import jax.numpy as jnp

from vaelab.model.likelihood import Likelihood
from vaelab.types import Array, Key

APART = 1.0  # between two cutpoints of an ordinal likelihood at the start


def _number(x_D: Array, levels: int) -> Array:
    return jnp.round(x_D * (levels - 1)).astype(jnp.int32)


def categorical(*, levels: int) -> Likelihood:
    """prod_j softmax(l_j)_k at x_j = k / (L - 1), with out = l_LxD: a probability for each level."""

    def log_p(out_Q: Array) -> Array:
        return jax.nn.log_softmax(out_Q.reshape(levels, -1), axis=0)

    def log_prob(out_Q: Array, x_D: Array) -> Array:
        return jnp.sum(jnp.take_along_axis(log_p(out_Q), _number(x_D, levels)[None], axis=0))

    def mean(out_Q: Array) -> Array:
        return jnp.linspace(0.0, 1.0, levels) @ jnp.exp(log_p(out_Q))

    def sample(key: Key, out_Q: Array) -> Array:
        return jax.random.categorical(key, log_p(out_Q), axis=0) / (levels - 1.0)

    return Likelihood("categorical", levels, log_prob, mean, sample, concave=True)


def ordinal(*, levels: int) -> Likelihood:
    """prod_j P(x_j = k / (L - 1)), P(x_j <= k / (L - 1)) = sigmoid(c_k - m_j): the proportional-odds model.

    out = [m_D, c_0, log(c_1 - c_0), ...]: centres, and L - 1 cutpoints in rising order that no z moves. A
    probability is sigmoid(b) sigmoid(-a) (1 - e^{-(b - a)}), a and b the cutpoints beside it less m, which
    loses no digits far from the centre. (McCullagh 1980.)
    """
    count = levels - 1

    def split(out_Q: Array) -> tuple[Array, Array]:
        first, log_steps = out_Q[-count], out_Q[out_Q.size - count + 1 :]
        cuts_C = first + jnp.concatenate([jnp.zeros(1), jnp.cumsum(jnp.exp(log_steps))])
        return out_Q[:-count], cuts_C

    def log_prob(out_Q: Array, x_D: Array) -> Array:
        mean_D, cuts_C = split(out_Q)
        k_D = _number(x_D, levels)
        lowest_D, highest_D = k_D == 0, k_D == count
        a_D = cuts_C[jnp.maximum(k_D - 1, 0)] - mean_D
        b_D = cuts_C[jnp.minimum(k_D, count - 1)] - mean_D
        inside_D = ~lowest_D & ~highest_D
        width_D = jnp.where(inside_D, b_D - a_D, 1.0)
        above_D = jnp.where(lowest_D, 0.0, jax.nn.log_sigmoid(-a_D))
        below_D = jnp.where(highest_D, 0.0, jax.nn.log_sigmoid(b_D))
        return jnp.sum(above_D + below_D + jnp.where(inside_D, jnp.log(-jnp.expm1(-width_D)), 0.0))

    def mean(out_Q: Array) -> Array:
        mean_D, cuts_C = split(out_Q)
        return jnp.sum(jax.nn.sigmoid(mean_D[:, None] - cuts_C[None, :]), axis=1) / count

    def sample(key: Key, out_Q: Array) -> Array:
        mean_D, cuts_C = split(out_Q)
        drawn_D = mean_D + jax.random.logistic(key, mean_D.shape)
        return jnp.sum(drawn_D[:, None] > cuts_C[None, :], axis=1) / count

    start = (-0.5 * APART * (count - 1), *[jnp.log(APART).item()] * (count - 1))
    return Likelihood("ordinal", 1, log_prob, mean, sample, concave=True, learned=start)
