"""How far a fit may still be from the best member of its family, L[q*] - L[q_phi], in nats.

Three kinds of certificate, and each result says which it is:

bound     Where log p(x, z) is concave in z. With -Hessian >= C at every z, the bound L as a function of the
          mean and a triangular (or diagonal) scale is concave in the metric of C, and its gradient at phi
          says how much higher it can be anywhere: proved, up to the Monte-Carlo error of the gradient.
estimate  Elsewhere, for families whose Fisher information is the curvature of the scale: half of g' H^-1 g,
          the gain of a Newton step, with H the curvature of the bound at phi,

              d^2 L / dmu^2 = E_q[Hessian of log p(x, z)] = -Lam      (Bonnet's theorem: mu only moves z)

          so that the part of the mean is exact for a Gaussian posterior however correlated it is, up to
          MOST_DENSE dimensions; beyond them Lam is a sketch, see `sketched_excess`. A scale far too small it
          sees as a quarter nat a dimension at most.
progress  For every other family: what the second half of the round gained, on samples that it never saw, and
          what a shift of q as a whole would gain on top. No more than the first is lacking where that
          half at least halved what was lacking; the second sees slow valleys of the mean, where a round
          gains little. A top-down chain whose conditionals are not linear is not shifted as a whole by its
          variables, and keeps some of the second at its best: fewer fits are then called converged.
"""

import jax
import jax.numpy as jnp

from vaelab.inference import low_rank
from vaelab.inference.curvature import MOST_DENSE, expected_curvature, standard_deviations, variances
from vaelab.linalg import eigh
from vaelab.objective.draws import Estimate, log_weights, standard_draws
from vaelab.types import Array, Key, LogJoint, PosteriorFamily

LEAST_CURVATURE = 1e-5  # of q's own precision along the axes, where noise makes Lam nearly singular


def kind(family: PosteriorFamily, *, log_concave: bool) -> str:
    """bound, estimate or progress: what a fit of this family is certified by."""
    if family.gaussian is None:
        return "progress"
    if log_concave and family.gaussian.dual_gradient is not None:
        return "bound"
    return "estimate" if family.gaussian.certifiable else "progress"


def bound_excess(family: PosteriorFamily, phi_P: Array, grads_GxP: Array, concavity_KxK: Array) -> Estimate:
    """1/2 ||w||^2 >= L[q*] - L[q_phi] from G noisy gradients of mean g, w = the family's `dual_gradient`.

    Where -Hessian of log p(x, z) >= C for all z, E_q[log p(x, mu + S eps)] has along (dmu, dS) a curvature of
    -E[(dmu + dS eps)' C (dmu + dS eps)] = -dmu' C dmu - tr(dS' C dS) at most; log|det S| is concave in a
    diagonal or triangular S. So L(b) <= L(a) + <g, b - a> - 1/2 |b - a|_C^2 <= L(a) + 1/2 |g|_{C^-1}^2 for
    all b whose S has the signs of a's on its diagonal; no distribution is left out, as S diag(+-1) is
    the same. The gradient of a dense S is taken at its triangular representative. The error is that of the
    gradients, by jackknife; unbiased, so that it may be negative.
    """
    dual_GxR = jax.vmap(family.gaussian.dual_gradient, (None, 0, None))(phi_P, grads_GxP, concavity_KxK)
    return _mean_over_pairs(0.5 * dual_GxR @ dual_GxR.T)


def estimate_excess(
    family: PosteriorFamily, phi_P: Array, grads_GxP: Array, curvature_KxK: Array
) -> Estimate:
    """1/2 g_mu' Lam^-1 g_mu + 1/2 g_S' F^+ g_S from G noisy gradients of mean g, with a jackknife error.

    `curvature_KxK` is Lam; see `_inverse`. Unbiased given Lam, so that it may be negative.
    The error is that of the gradients; the noise of Lam is not in it.
    """
    sd_K = jnp.sqrt(variances(family, phi_P))
    newton_GxK = grads_GxP[:, : family.latent_dim] @ _inverse(curvature_KxK, sd_K)
    return _newton_gain(family, phi_P, grads_GxP, newton_GxK)


def sketched_excess(
    log_joint: LogJoint, family: PosteriorFamily, phi_P: Array, key: Key, grads_GxP: Array
) -> Estimate:
    """`estimate_excess` of many dimensions, with a Lam of `low_rank.sketch`, which is linear in K.

    A direction in which Lam is less than 1 / sd^2 and that is not among the sketched ones counts as one with
    1 / sd^2: where a fit is slow for want of such directions the estimate is too small by that ratio.
    """
    return _newton_gain(
        family, phi_P, grads_GxP, _sketched(log_joint, family, phi_P, key, grads_GxP[:, : family.latent_dim])
    )


def _sketched(log_joint: LogJoint, family: PosteriorFamily, phi_P: Array, key: Key, grad_GxK: Array) -> Array:
    """Lam^-1 of each gradient in the mean."""
    curvature, sd_K = low_rank.sketch(log_joint, family, phi_P, key)
    return jax.vmap(lambda grad_K: sd_K * low_rank.solve(curvature, sd_K * grad_K))(grad_GxK)


def _newton_gain(family: PosteriorFamily, phi_P: Array, grads_GxP: Array, newton_GxK: Array) -> Estimate:
    K = family.latent_dim
    natural_GxP = jax.vmap(family.gaussian.natural_gradient, (None, 0))(phi_P, grads_GxP)
    return _mean_over_pairs(0.5 * (grads_GxP[:, :K] @ newton_GxK.T + grads_GxP[:, K:] @ natural_GxP[:, K:].T))


def _mean_over_pairs(inner_GxG: Array) -> Estimate:
    """The mean of inner_ij = 1/2 g_i' M g_j over pairs of different groups, with its jackknife error.

    The plug-in of the mean gradient is too large by its own noise;
    [ (sum g)' M (sum g) - sum_i g_i' M g_i ] / (G (G - 1)) is not.
    """
    num_groups = inner_GxG.shape[0]
    total = jnp.sum(inner_GxG) - jnp.trace(inner_GxG)
    # Leaving group i out removes its row and column.
    row_G = jnp.sum(inner_GxG, axis=1) + jnp.sum(inner_GxG, axis=0) - 2.0 * jnp.diag(inner_GxG)
    leave_one_out_G = (total - row_G) / ((num_groups - 1) * (num_groups - 2))
    value = total / (num_groups * (num_groups - 1))
    spread = jnp.sum((leave_one_out_G - jnp.mean(leave_one_out_G)) ** 2)
    return Estimate(value, jnp.sqrt((num_groups - 1) / num_groups * spread))


def progress(
    log_joint: LogJoint,
    family: PosteriorFamily,
    before_P: Array,
    after_P: Array,
    key: Key,
    *,
    num_groups: int,
    num_samples: int,
    num_gradients: int,
) -> Estimate:
    """|L[q_after] - L[q_before]| + 1/2 g' Lam^-1 g with g = E_q[grad log p(x, z)], q = q_after.

    The second part is what moving all of q by some a, z + a, would gain to second order:
    dL/da = E_q[grad log p(x, z)], as E_q[grad log q] = 0. A round that gains little for slowness in a long
    valley is seen by it. `num_groups` times `num_samples` draws for the first part (an even number), of which
    `num_gradients` in each group serve the second, and others for Lam; the standard error is the sum of
    those of the parts.
    """
    key_draws, key_curvature = jax.random.split(key)

    def group(g: Array) -> tuple[Array, Array]:
        eps_SxK = standard_draws(
            jax.random.fold_in(key_draws, g), num_samples, family.latent_dim, antithetic=True
        )
        before, after = (
            jnp.mean(log_weights(log_joint, family, phi, eps_SxK)) for phi in (before_P, after_P)
        )
        # Whole antithetic pairs: some of the first half with their mirror images.
        few_SxK = eps_SxK[: num_gradients // 2]
        z_SxK = jax.vmap(family.reparameterize, (None, 0))(after_P, jnp.concatenate([few_SxK, -few_SxK]))
        return after - before, jnp.mean(jax.vmap(jax.grad(log_joint))(z_SxK), axis=0)

    gain_G, grad_GxK = jax.lax.map(group, jnp.arange(num_groups))
    if family.latent_dim > MOST_DENSE:
        newton_GxK = _sketched(log_joint, family, after_P, key_curvature, grad_GxK)
        shift = _mean_over_pairs(0.5 * grad_GxK @ newton_GxK.T)
    else:
        sd_K = standard_deviations(family, after_P, jax.random.fold_in(key_curvature, 1))
        inverse_KxK = _inverse(expected_curvature(log_joint, family, after_P, key_curvature), sd_K)
        shift = _mean_over_pairs(0.5 * grad_GxK @ inverse_KxK @ grad_GxK.T)
    gain_stderr = jnp.std(gain_G, ddof=1) / jnp.sqrt(num_groups)
    return Estimate(jnp.abs(jnp.mean(gain_G)) + shift.value, gain_stderr + shift.stderr)


def _inverse(curvature_KxK: Array, sd_K: Array) -> Array:
    """Lam^-1, with eigenvalues of sd_i Lam_ij sd_j below LEAST_CURVATURE raised to it.

    sd_K: standard deviations of q, in whose units what is small does not depend on those of z.
    """
    scaled_KxK = sd_K[:, None] * (0.5 * (curvature_KxK + curvature_KxK.T)) * sd_K[None, :]
    value_K, vector_KxK = eigh(scaled_KxK)
    vector_KxK = sd_K[:, None] * vector_KxK
    return (vector_KxK / jnp.maximum(value_K, LEAST_CURVATURE)[None, :]) @ vector_KxK.T
