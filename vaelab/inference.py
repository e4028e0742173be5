"""The inner loop: the best member of a family for one datapoint.

phi* = argmax_phi L[q_phi] is found by stochastic gradient ascent from a given start, with the model
held fixed. For the diagonal family this is traditional mean-field variational inference.

How far the loop still is from phi* is estimated from the gradient g of the bound at its last iterate: half of
g' H^-1 g, the gain of a Newton step, with H the curvature of the bound. For q = N(mu, S S'),

    d^2 L / dmu^2 = E_q[Hessian of log p(x, z)] = -Lam          (Bonnet's theorem: mu only moves z)

so the part of the mean is 1/2 g_mu' Lam^-1 g_mu, exact for a Gaussian posterior however correlated it is.
The part of the scale takes the Fisher information of q for its curvature, which it is at the optimum of a
Gaussian posterior for the diagonal, full and cholesky families. Elsewhere the sum is an estimate, not a
bound: of scales far too small it sees a quarter nat a dimension at most. The Hessian is that of autodiff,
which does not see the kinks of a relu decoder: Lam is then off by a factor that was 0.7 to 2.1 in its
eigenvalues on digits.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from vaelab.objective import Estimate, standard_draws
from vaelab.types import Array, Key, LogJoint, Objective, PosteriorFamily


class Inference(NamedTuple):
    """The outcome of `infer` for one datapoint.

    phi_P: the last iterate.
    excess: estimate of L[q*] - L[q_phi] in nats, with its standard error; see `estimate_excess`.
    converged: the estimate plus two standard errors is within the tolerance.

    For a family that is not `certifiable` (low_rank, householder, flows) there is no estimate: excess is NaN,
    converged False.
    """

    phi_P: Array
    excess: Estimate
    converged: Array


def infer(
    objective: Objective,
    log_joint: LogJoint,
    family: PosteriorFamily,
    phi_P: Array,
    key: Key,
    *,
    optimizer: optax.GradientTransformation,
    num_steps: int,
    certificate_groups: int,
    tolerance: float,
) -> Inference:
    """Maximises `objective` over phi for one datapoint, from phi_P, in num_steps optax steps.

    Draws are fresh at each step and again for the certificate, so that nothing is optimised and
    reported on the same draws. A start or an iterate that is not finite gives `converged` False.
    """
    gradient = jax.grad(objective, argnums=2)
    key_steps, key_certificate = jax.random.split(key)

    def step(carry, t):
        phi_P, opt_state = carry
        grad_P = gradient(log_joint, family, phi_P, jax.random.fold_in(key_steps, t))
        updates_P, opt_state = optimizer.update(-grad_P, opt_state, phi_P)
        return (optax.apply_updates(phi_P, updates_P), opt_state), None

    (phi_P, _), _ = jax.lax.scan(step, (phi_P, optimizer.init(phi_P)), jnp.arange(num_steps))
    if not family.certifiable:
        return Inference(phi_P, Estimate(jnp.array(jnp.nan), jnp.array(jnp.nan)), jnp.array(False))
    grads_GxP = jax.lax.map(
        lambda g: gradient(log_joint, family, phi_P, jax.random.fold_in(key_certificate, g)),
        jnp.arange(certificate_groups),
    )
    key_curvature = jax.random.fold_in(key_certificate, certificate_groups)
    excess = estimate_excess(
        family, phi_P, grads_GxP, mean_curvature(log_joint, family, phi_P, key_curvature)
    )
    return Inference(phi_P, excess, excess.value + 2.0 * excess.stderr <= tolerance)


def natural_gradient(family: PosteriorFamily, *, max_norm: float) -> optax.GradientTransformation:
    """Turns the gradient g in phi into F^+ g, F the Fisher information of q at phi (Amari 1998).

    F^+ g is shortened to a length sqrt(g' F^+ g) of max_norm. That length is sqrt(2 KL) to second order, so
    the laws before and after a step of rate r differ by at most about (r max_norm)^2 / 2 nats: from a
    start far off, whose gradients are huge, the loop walks instead of leaping. For Gaussian families only.
    """

    def update(updates_P: Array, state: optax.EmptyState, phi_P: Array) -> tuple[Array, optax.EmptyState]:
        natural_P = family.natural_gradient(phi_P, updates_P)
        square = jnp.vdot(updates_P, natural_P)
        return natural_P * jnp.where(square > max_norm**2, max_norm * jax.lax.rsqrt(square), 1.0), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


# Each draw costs K directional derivatives of the gradient; one is enough where log p(x, z) is quadratic.
CURVATURE_DRAWS = 4
MIN_CURVATURE = 0.1  # a tenth of the prior's, where the likelihood's own curvature makes Lam nearly singular


def mean_curvature(log_joint: LogJoint, family: PosteriorFamily, phi_P: Array, key: Key) -> Array:
    """Lam_KxK = -E_q[Hessian of log p(x, z)] in z, from two antithetic pairs of draws."""
    eps_SxK = standard_draws(key, CURVATURE_DRAWS, family.latent_dim, antithetic=True)
    # One draw at a time: a draw is already a batch of K.
    hessian_SxKxK = jax.lax.map(
        lambda eps_K: jax.hessian(log_joint)(family.reparameterize(phi_P, eps_K)), eps_SxK
    )
    return -jnp.mean(hessian_SxKxK, axis=0)


def estimate_excess(
    family: PosteriorFamily, phi_P: Array, grads_GxP: Array, curvature_KxK: Array
) -> Estimate:
    """1/2 g_mu' Lam^-1 g_mu + 1/2 g_S' F^+ g_S from G noisy gradients of mean g, with a jackknife error.

    `curvature_KxK` is Lam, with eigenvalues below MIN_CURVATURE raised to it. Unbiased given Lam: the plug-in
    of the mean gradient is too large by its own noise; the mean over pairs of different groups,
    [ (sum g)' M (sum g) - sum_i g_i' M g_i ] / (G (G - 1)), is not. It may be negative.
    """
    num_groups, K = grads_GxP.shape[0], family.latent_dim
    value_K, vector_KxK = jnp.linalg.eigh(0.5 * (curvature_KxK + curvature_KxK.T))
    inverse_KxK = (vector_KxK / jnp.maximum(value_K, MIN_CURVATURE)[None, :]) @ vector_KxK.T
    newton_GxK = grads_GxP[:, :K] @ inverse_KxK
    natural_GxP = jax.vmap(family.natural_gradient, (None, 0))(phi_P, grads_GxP)
    inner_GxG = 0.5 * (grads_GxP[:, :K] @ newton_GxK.T + grads_GxP[:, K:] @ natural_GxP[:, K:].T)
    total = jnp.sum(inner_GxG) - jnp.trace(inner_GxG)
    # Leaving group i out removes its row and column.
    row_G = jnp.sum(inner_GxG, axis=1) + jnp.sum(inner_GxG, axis=0) - 2.0 * jnp.diag(inner_GxG)
    leave_one_out_G = (total - row_G) / ((num_groups - 1) * (num_groups - 2))
    value = total / (num_groups * (num_groups - 1))
    spread = jnp.sum((leave_one_out_G - jnp.mean(leave_one_out_G)) ** 2)
    return Estimate(value, jnp.sqrt((num_groups - 1) / num_groups * spread))
