"""A mixture of M Gaussian distributions as a prior, each with a mean and a diagonal scale of its own:

p(z) = sum_m w_m N(z; mean_m, diag(scale_m^2)),        w = softmax(logit)
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from vaelab.model.likelihood import LOG_2PI
from vaelab.model.prior import Prior
from vaelab.types import Array, Key, Params

SPREAD = 0.5  # of the means at the start; the scales are what makes the second moments those of N(0, I)


@jax.custom_jvp
def component_log_probs(mean_MxK: Array, log_scale_MxK: Array, z_K: Array) -> Array:
    """log N(z; mean_m, diag(scale_m^2)) of each component, `[M]`.

    A sum of squares: |z|^2 - 2 z'm + |m|^2 as matrix products would lose about (|z| / scale)^2 units in the
    last place. In the derivative only (|z| / scale) are at stake, and there the products are taken: over a
    batch they are of matrices, and nothing of the size of batch x M x K is made on the way back.
    """
    square_MxK = ((z_K[None, :] - mean_MxK) * jnp.exp(-log_scale_MxK)) ** 2
    return -jnp.sum(0.5 * square_MxK + log_scale_MxK, axis=1) - 0.5 * z_K.size * LOG_2PI


def _tangent(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    """With A = scale^-2: A (m - z)'dz + A (z - m)'dm + (A (z - m)^2 - 1)'dlog scale of each component."""
    (mean_MxK, log_scale_MxK, z_K), (d_mean, d_log_scale, d_z) = primals, tangents
    precision_MxK = jnp.exp(-2.0 * log_scale_MxK)
    pull_MxK = precision_MxK * mean_MxK
    tangent_M = jnp.zeros(mean_MxK.shape[0])
    if type(d_z) is not SymbolicZero:
        tangent_M += pull_MxK @ d_z - precision_MxK @ (z_K * d_z)
    if type(d_mean) is not SymbolicZero:
        tangent_M += (precision_MxK * d_mean) @ z_K - jnp.sum(pull_MxK * d_mean, axis=1)
    if type(d_log_scale) is not SymbolicZero:
        square_M = (precision_MxK * d_log_scale) @ z_K**2 - 2.0 * (pull_MxK * d_log_scale) @ z_K
        tangent_M += square_M + jnp.sum((pull_MxK * mean_MxK - 1.0) * d_log_scale, axis=1)
    return component_log_probs(*primals), tangent_M


component_log_probs.defjvp(_tangent, symbolic_zeros=True)


def expanded_log_probs(mean_MxK: Array, log_scale_MxK: Array, z_K: Array) -> Array:
    """`component_log_probs` as one product, of [-1/2 A, A m] and [z^2, z]: in less time, for training.

    Its rounding is about (|z| / scale)^2 units in the last place of a nat: 0.001 nats at 100 scales from 0.
    """
    precision_MxK = jnp.exp(-2.0 * log_scale_MxK)
    pull_MxK = precision_MxK * mean_MxK
    weight_2KxM = jnp.concatenate([-0.5 * precision_MxK, pull_MxK], axis=1).T
    constant_M = jnp.sum(0.5 * pull_MxK * mean_MxK + log_scale_MxK, axis=1) + 0.5 * z_K.size * LOG_2PI
    return jnp.concatenate([z_K**2, z_K]) @ weight_2KxM - constant_M


def mixture_log_prob(
    log_weight_M: Array, mean_MxK: Array, log_scale_MxK: Array, z_K: Array, *, expanded: bool = False
) -> Array:
    """log sum_m w_m N(z; mean_m, diag(scale_m^2)), nats; the weights w have the sum 1."""
    of_components = expanded_log_probs if expanded else component_log_probs
    return jax.nn.logsumexp(log_weight_M + of_components(mean_MxK, log_scale_MxK, z_K))


def mixture(latent_dim: int, *, num_components: int) -> Prior:
    """The mixture with parameters logit_M, mean_MxK, log_scale_MxK, all learned.

    At the start equal weights, means ~ N(0, SPREAD^2 I) and one scale, (1 - SPREAD^2)^1/2. A single component
    is concave, with minus its Hessian diag(scale^-2) everywhere.
    """
    M, K = num_components, latent_dim

    def init(key: Key) -> Params:
        return {
            "logit_M": jnp.zeros(M),
            "mean_MxK": SPREAD * jax.random.normal(key, (M, K)),
            "log_scale_MxK": jnp.full((M, K), 0.5 * jnp.log1p(-(SPREAD**2))),
        }

    def log_prob(params: Params, z_K: Array, *, expanded: bool = False) -> Array:
        log_weight_M, of_z = (
            jax.nn.log_softmax(params["logit_M"]),
            (params["mean_MxK"], params["log_scale_MxK"]),
        )
        return mixture_log_prob(log_weight_M, *of_z, z_K, expanded=expanded)

    def sample(params: Params, key: Key) -> Array:
        key_component, key_z = jax.random.split(key)
        m = jax.random.categorical(key_component, params["logit_M"])
        mean_K, log_scale_K = (jnp.asarray(params[name])[m] for name in ("mean_MxK", "log_scale_MxK"))
        return mean_K + jnp.exp(log_scale_K) * jax.random.normal(key_z, (K,))

    def concavity(params: Params) -> Array:
        return jnp.diag(jnp.exp(-2.0 * params["log_scale_MxK"][0]))

    return Prior(
        name="mixture",
        init=init,
        log_prob=log_prob,
        sample=sample,
        concavity=concavity if M == 1 else None,
        fast_log_prob=partial(log_prob, expanded=True),
    )
