"""Bounds on log p(x) from S draws together, for one datapoint.

With w_s = p(x, z_s) / q(z_s):

    iwae      log 1/S sum_s w_s                              log p(x) from below, tighter with S
    dreg      the same value, phi's gradient with the score of q cancelled
    renyi     1/(1 - alpha) log 1/S sum_s w_s^(1 - alpha)    for alpha > 0 log p(x) from below
"""

import jax
import jax.numpy as jnp

from vaelab.objective.draws import log_density_of_draw, log_weight, standard_draws
from vaelab.types import Array, Key, LogJoint, PosteriorFamily


def _log_mean_exp(log_w_S: Array) -> Array:
    return jax.nn.logsumexp(log_w_S) - jnp.log(log_w_S.size)


def iwae(
    log_joint: LogJoint,
    family: PosteriorFamily,
    phi_P: Array,
    key: Key,
    *,
    num_samples: int,
    antithetic: bool = False,
) -> Array:
    """log 1/S sum_s w_s: in expectation below log p(x), rising with S; S = 1 is `elbo_from_draws`.

    (Burda, Grosse & Salakhutdinov 2016, eq. 8.) The signal-to-noise ratio of phi's gradient falls with S
    (Rainforth et al. 2018); `dreg` mends that.
    """
    eps_SxK = standard_draws(key, num_samples, family.latent_dim, antithetic=antithetic)
    return _log_mean_exp(jax.vmap(log_weight(log_joint, family, phi_P, phi_P))(eps_SxK))


@jax.custom_vjp
def _weigh_cotangents(z_SxK: Array) -> tuple[Array, Array]:
    """(z, 0_S). Added to the log weights downstream, the zeros bring back d objective / d log w_s, which for
    a log-mean-exp is the normalised weight: by it the cotangent of z_s is multiplied, in one pass."""
    return z_SxK, jnp.zeros(z_SxK.shape[0])


def _weigh_forward(z_SxK: Array):
    return _weigh_cotangents(z_SxK), None


def _weigh_backward(_, cotangents):
    z_SxK, weight_S = cotangents
    # The weights arrive times whatever factor stands behind this bound; z's cotangent has it already.
    total = jnp.sum(weight_S)
    return (z_SxK * (weight_S / jnp.where(total == 0.0, 1.0, total))[:, None],)


_weigh_cotangents.defvjp(_weigh_forward, _weigh_backward)


def dreg(
    log_joint: LogJoint,
    family: PosteriorFamily,
    phi_P: Array,
    key: Key,
    *,
    num_samples: int,
    antithetic: bool = False,
) -> Array:
    """The value of `iwae`, its gradient in theta, and the doubly reparameterised one in phi:

        sum_s v_s^2 (d log w_s / dz_s) dz_s/dphi,    v_s = w_s / sum_r w_r, phi held fixed in log q.

    Unbiased as that of `iwae`, of less variance; S = 1 is `stick_the_landing`. (Tucker et al. 2019, eq. 8.)
    Raises ValueError for antithetic draws: the second reparameterization moves z_s with the other draws held,
    and one of them is its mirror image.
    """
    if antithetic:
        raise ValueError("dreg needs independent draws: take antithetic=False")
    eps_SxK = standard_draws(key, num_samples, family.latent_dim)
    z_SxK = jax.vmap(family.reparameterize, (None, 0))(phi_P, eps_SxK)
    z_SxK, zero_S = _weigh_cotangents(z_SxK)
    log_q = log_density_of_draw(family, jax.lax.stop_gradient(phi_P))
    log_w_S = jax.vmap(lambda eps_K, z_K: log_joint(z_K) - log_q(eps_K, z_K))(eps_SxK, z_SxK)
    return _log_mean_exp(log_w_S + zero_S)


def renyi(
    log_joint: LogJoint,
    family: PosteriorFamily,
    phi_P: Array,
    key: Key,
    *,
    num_samples: int,
    antithetic: bool = False,
    alpha: float,
) -> Array:
    """1/(1 - alpha) log 1/S sum_s w_s^(1 - alpha), alpha not 1.

    As S grows it tends to log p(x) - D_alpha(q || posterior), Renyi's divergence: a lower bound on log p(x)
    for alpha > 0, an upper one for alpha < 0, log p(x) itself at 0 (`iwae`), the ELBO as alpha -> 1. It is
    the logarithm of a power mean of the weights, so with S finite it is at most the `iwae` of the same draws
    for alpha >= 0, and in expectation below log p(x); for alpha < 0 it is above that and bounds nothing.
    (Li & Turner 2016, section 4.)
    """
    eps_SxK = standard_draws(key, num_samples, family.latent_dim, antithetic=antithetic)
    log_w_S = jax.vmap(log_weight(log_joint, family, phi_P, phi_P))(eps_SxK)
    return _log_mean_exp((1.0 - alpha) * log_w_S) / (1.0 - alpha)
