"""A hierarchy of levels as a prior: z = (z_1, ..., z_L), each level Gaussian given the one above it.

p(z) = N(z_L; 0, I) prod_{l<L} N(z_l; m_l(z_{l+1}), diag(s_l(z_{l+1})^2))

z is one vector, the levels one after the other, the one next to x first. (Burda, Grosse & Salakhutdinov 2016,
section 3; Sonderby et al. 2016, eq. 1-3.)
"""

import itertools

import jax
import jax.numpy as jnp

from vaelab.model.likelihood import LOG_2PI
from vaelab.model.prior import Prior
from vaelab.types import Array, Key, Params

SPREAD = 0.5  # of m_l at the start, in each dimension; the scales make the variance 1
MAX_LOG_SCALE = 3.0  # what the hidden layer adds to a log scale stays below it: a soft bound


def slices(levels: tuple[int, ...]) -> list[slice]:
    """Where each level is in z."""
    ends = list(itertools.accumulate(levels))
    return [slice(end - size, end) for end, size in zip(ends, levels, strict=True)]


def conditional(params: Params, above_J: Array) -> tuple[Array, Array]:
    """(m_K, log s_K) of a level given z_J, the one above it.

    m = z W + b + f(z) and log s = c + g(z), f and g one hidden layer, tanh, g soft-bounded; without it, where
    params has none, the level is linear-Gaussian given the one above.
    """
    mean_K, log_scale_K = above_J @ params["weight_JxK"] + params["bias_K"], params["log_scale_K"]
    if "out_Hx2K" not in params:
        return mean_K, log_scale_K
    hidden_H = jnp.tanh(above_J @ params["in_JxH"] + params["bias_H"])
    more_K, raw_K = jnp.split(hidden_H @ params["out_Hx2K"], 2)
    return mean_K + more_K, log_scale_K + MAX_LOG_SCALE * jnp.tanh(raw_K / MAX_LOG_SCALE)


def conditional_init(key: Key, above: int, size: int, hidden: int, spread: float = SPREAD) -> Params:
    """The parameters of `conditional` at the start: m = z W with |W_k| = spread for each k, f = g = 0.

    The scale is (1 - spread^2)^1/2, so that each dimension of the level is N(0, 1) where the one above is
    N(0, I). W is not 0, which is a stationary point where the levels above are of no use.
    """
    key_weight, key_in = jax.random.split(key)
    weight_JxK = jax.random.normal(key_weight, (above, size))
    weight_JxK *= spread / jnp.sqrt(jnp.sum(weight_JxK**2, axis=0))[None, :]
    params = {
        "weight_JxK": weight_JxK,
        "bias_K": jnp.zeros(size),
        "log_scale_K": jnp.full(size, 0.5 * jnp.log1p(-(spread**2))),
    }
    if hidden:
        params |= {
            "in_JxH": jax.random.normal(key_in, (above, hidden)) / jnp.sqrt(above),
            "bias_H": jnp.zeros(hidden),
            "out_Hx2K": jnp.zeros((hidden, 2 * size)),
        }
    return params


def normal_log_prob(z_K: Array, mean_K: Array, log_scale_K: Array) -> Array:
    """log N(z; mean, diag(scale^2))."""
    square_K = ((z_K - mean_K) * jnp.exp(-log_scale_K)) ** 2
    return -jnp.sum(0.5 * square_K + log_scale_K + 0.5 * LOG_2PI)


def hierarchy(latent_dim: int, *, levels: tuple[int, ...], hidden: int) -> Prior:
    """The prior of these levels, K_1 to K_L numbers, with `hidden` units in each conditional; 0 is linear.

    Linear levels are concave, with minus the Hessian the joint precision everywhere. Raises ValueError where
    the levels are not latent_dim numbers in all.
    """
    if min(levels, default=0) < 1 or sum(levels) != latent_dim:
        raise ValueError(f"levels of {levels} numbers are not latent_dim={latent_dim} in all")
    at, below = slices(levels), range(len(levels) - 1)

    def init(key: Key) -> Params:
        return {
            f"level_{l + 1}": conditional_init(jax.random.fold_in(key, l), levels[l + 1], levels[l], hidden)
            for l in below
        }

    def log_prob_of_levels(params: Params, z_K: Array) -> Array:
        parts = [
            normal_log_prob(z_K[at[l]], *conditional(params[f"level_{l + 1}"], z_K[at[l + 1]])) for l in below
        ]
        top_K = z_K[at[-1]]
        return jnp.stack([*parts, normal_log_prob(top_K, jnp.zeros_like(top_K), jnp.zeros_like(top_K))])

    def sample(params: Params, key: Key) -> Array:
        z_K = eps_K = jax.random.normal(key, (latent_dim,))
        for l in reversed(below):
            mean_K, log_scale_K = conditional(params[f"level_{l + 1}"], z_K[at[l + 1]])
            z_K = z_K.at[at[l]].set(mean_K + jnp.exp(log_scale_K) * eps_K[at[l]])
        return z_K

    def concavity(params: Params) -> Array:
        root_KxK = linear_root(params, levels)
        return root_KxK.T @ root_KxK

    return Prior(
        name="hierarchy",
        init=init,
        log_prob=lambda params, z_K: jnp.sum(log_prob_of_levels(params, z_K)),
        sample=sample,
        concavity=None if hidden else concavity,
        levels=tuple(levels),
        log_prob_of_levels=log_prob_of_levels,
    )


def linear_root(params: Params, levels: tuple[int, ...]) -> Array:
    """B_KxK with B (z - mean) ~ N(0, I) under linear levels: precision B'B, |det B| = prod 1 / s.

    The rows of level l are D_l^-1 (z_l - z_{l+1} W_l) and those of the top z_L itself.
    """
    root_KxK, at = jnp.eye(sum(levels)), slices(levels)
    for l in range(len(levels) - 1):
        of_level = params[f"level_{l + 1}"]
        inverse_K = jnp.exp(-of_level["log_scale_K"])
        root_KxK = root_KxK.at[at[l], at[l]].set(jnp.diag(inverse_K))
        root_KxK = root_KxK.at[at[l], at[l + 1]].set(-inverse_K[:, None] * of_level["weight_JxK"].T)
    return root_KxK


def linear_mean(params: Params, levels: tuple[int, ...]) -> Array:
    """E[z] under linear levels: that of each is its bias and W' times that of the one above."""
    means = [jnp.zeros(levels[-1])]
    for l in reversed(range(len(levels) - 1)):
        of_level = params[f"level_{l + 1}"]
        means.insert(0, of_level["bias_K"] + means[0] @ of_level["weight_JxK"])
    return jnp.concatenate(means)
