"""The inner loop: the best member of a family for one datapoint.

phi* = argmax_phi L[q_phi] is found by stochastic gradient ascent from a given start, with the model
held fixed. For the diagonal family this is traditional mean-field variational inference.

How far the loop still is from phi* is estimated from the gradient g of the bound at its last iterate: half of
g' H^-1 g, the gain of a Newton step, with H the curvature of the bound. For q = N(mu, S S'),

    d^2 L / dmu^2 = E_q[Hessian of log p(x, z)] = -Lam          (Bonnet's theorem: mu only moves z)

so the part of the mean is 1/2 g_mu' Lam^-1 g_mu, exact for a Gaussian posterior however correlated it is.
The part of the scale takes the Fisher information of q for its curvature, which it is at the optimum of a
Gaussian posterior for the diagonal, full and cholesky families. Elsewhere the sum is an estimate, not a
bound: of scales far too small it sees a quarter nat a dimension at most.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.curvature import difference_evaluations, expected_curvature
from vaelab.objective import Estimate
from vaelab.solver import Solver
from vaelab.types import Array, Key, LogJoint, PosteriorFamily


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
    solver: Solver,
    log_joint: LogJoint,
    family: PosteriorFamily,
    phi_P: Array,
    key: Key,
    *,
    num_steps: int,
    certificate_groups: int,
    tolerance: float,
) -> Inference:
    """Maximises L[q_phi] over phi for one datapoint, from phi_P, in num_steps steps of the solver.

    Draws are fresh at each step and again for the certificate, so that nothing is optimised and
    reported on the same draws. A start or an iterate that is not finite gives `converged` False.
    """
    key_steps, key_certificate = jax.random.split(key)

    def step(carry, t):
        phi_P, state = carry
        grad_P, state = solver.gradient(log_joint, phi_P, state, jax.random.fold_in(key_steps, t))
        return solver.update(phi_P, grad_P, state), None

    (phi_P, state), _ = jax.lax.scan(step, (phi_P, solver.init(phi_P)), jnp.arange(num_steps))
    if not family.certifiable:
        return Inference(phi_P, Estimate(jnp.array(jnp.nan), jnp.array(jnp.nan)), jnp.array(False))
    grads_GxP = jax.lax.map(
        lambda g: solver.gradient(log_joint, phi_P, state, jax.random.fold_in(key_certificate, g))[0],
        jnp.arange(certificate_groups),
    )
    key_curvature = jax.random.fold_in(key_certificate, certificate_groups)
    excess = estimate_excess(
        family, phi_P, grads_GxP, expected_curvature(log_joint, family, phi_P, key_curvature)
    )
    return Inference(phi_P, excess, excess.value + 2.0 * excess.stderr <= tolerance)


def evaluations(solver: Solver, family: PosteriorFamily, *, num_steps: int, certificate_groups: int) -> int:
    """Gradients of log p(x, z) in z, one decoder evaluation each, that `infer` takes for one datapoint."""
    if not family.certifiable:
        return num_steps * solver.num_samples
    gradients = (num_steps + certificate_groups) * solver.num_samples
    return gradients + difference_evaluations(family.latent_dim)


MIN_CURVATURE = 0.1  # a tenth of the prior's, where the likelihood's own curvature makes Lam nearly singular


def estimate_excess(
    family: PosteriorFamily, phi_P: Array, grads_GxP: Array, curvature_KxK: Array
) -> Estimate:
    """1/2 g_mu' Lam^-1 g_mu + 1/2 g_S' F^+ g_S from G noisy gradients of mean g, with a jackknife error.

    `curvature_KxK` is Lam, with eigenvalues below MIN_CURVATURE raised to it. Unbiased given Lam: the plug-in
    of the mean gradient is too large by its own noise; the mean over pairs of different groups,
    [ (sum g)' M (sum g) - sum_i g_i' M g_i ] / (G (G - 1)), is not. It may be negative. The error is that
    of the gradients; the noise of Lam is not in it.
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
