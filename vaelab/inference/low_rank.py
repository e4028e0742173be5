"""A curvature in memory that is linear in K: the identity and a few directions, in q's own units.

In the standard deviations of q the curvature Lam of log p(x, z), as in `curvature`, is kept as

    diag(sd) Lam diag(sd) ~ I + sum_j value_j v_j v_j',        v_j orthonormal.

The sd_k of the best diagonal q are Lam_kk^-1/2, so that the diagonal is right there by itself; what is left
is what a posterior's correlations add, and where a decoder is a network these are few directions of many.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.inference.curvature import standard_deviations
from vaelab.linalg import eigh
from vaelab.objective.draws import standard_draws
from vaelab.types import Array, Key, LogJoint, PosteriorFamily

RANK = 16
MEMORY = 200  # pairs that what was learned counts as, at most
LEAST = 0.1  # of what is learned of sigma Lam sigma
SKETCH_PAIRS = 150
LITTLE = 1e-4
ROUNDING = 1e-5  # of the largest singular value of the pairs, below which one is none


class LowRank(NamedTuple):
    """I + sum_j value_j v_j v_j', positive definite: a curvature in units of q's standard deviations.

    direction_RxK: v_j, orthonormal; or 0, where the value is 0
    num_pairs: pairs behind it, MEMORY at most
    """

    direction_RxK: Array
    value_R: Array
    num_pairs: Array


def nothing(latent_dim: int, rank: int) -> LowRank:
    """The identity, with nothing behind it."""
    return LowRank(jnp.zeros((rank, latent_dim)), jnp.zeros(rank), jnp.zeros(()))


def times(curvature: LowRank, u_SxK: Array) -> Array:
    """The curvature times each u."""
    along_SxR = u_SxK @ curvature.direction_RxK.T
    return u_SxK + (along_SxR * curvature.value_R[None, :]) @ curvature.direction_RxK


def solve(curvature: LowRank, u_K: Array) -> Array:
    """Its inverse times u: each value l of it becomes 1 / (1 + l) - 1."""
    part_R = curvature.value_R / (1.0 + curvature.value_R)
    return u_K - (part_R * (curvature.direction_RxK @ u_K)) @ curvature.direction_RxK


def diagonal_of(curvature: LowRank) -> Array:
    """Its diagonal, [K]."""
    return 1.0 + curvature.value_R @ curvature.direction_RxK**2


def learn(curvature: LowRank, eps_MxK: Array, bent_MxK: Array) -> LowRank:
    """The curvature A with M pairs more, each an eps ~ N(0, I) and a noisy bent = (A - I) eps.

    E[bent bent'] = (A - I)^2, so that the first right singular vectors V of all bent span the directions in
    which A is farthest from I; the symmetric C of A - I ~ V' C V is that of least squares,

        min_C sum_m |V bent_m - C V eps_m|^2:    C G + G C = T + T',  G = V eps' eps V',  T = V bent' eps V'.

    (Sketching an eigendecomposition in one pass: Halko, Martinsson & Tropp 2011, section 5.5, there without
    the symmetry of C.) What was learned before counts as num_pairs pairs along each v_j, eps = v_j. No
    eigenvalue of A is taken to be below LEAST. A pair that is not finite leaves all as it was.
    """
    old = jnp.sqrt(curvature.num_pairs) * curvature.direction_RxK
    eps_LxK = jnp.concatenate([old, eps_MxK])
    bent_LxK = jnp.concatenate([curvature.value_R[:, None] * old, bent_MxK])
    square_L, left_LxL = eigh(bent_LxK @ bent_LxK.T)
    rank = curvature.value_R.size
    square_R, left_LxR = square_L[-rank:], left_LxL[:, -rank:]
    kept_R = square_R > ROUNDING * jnp.maximum(square_L[-1], ROUNDING)
    length_R = jnp.sqrt(jnp.where(kept_R, square_R, 1.0))
    direction_RxK = jnp.where(kept_R, 1.0 / length_R, 0.0)[:, None] * (left_LxR.T @ bent_LxK)
    along_RxL = direction_RxK @ eps_LxK.T
    # V bent', of a left singular vector and its value.
    cross_RxR = jnp.where(kept_R, length_R, 0.0)[:, None] * (left_LxR.T @ along_RxL.T)
    weight_R, turn_RxR = eigh(along_RxL @ along_RxL.T)
    # A little of a pair in which nothing is bent, along each, for those that are 0.
    weight_R = jnp.maximum(weight_R, 0.0) + LITTLE
    both_RxR = turn_RxR.T @ (cross_RxR + cross_RxR.T) @ turn_RxR
    center_RxR = turn_RxR @ (both_RxR / (weight_R[:, None] + weight_R[None, :])) @ turn_RxR.T
    value_R, turn_RxR = eigh(center_RxR)
    value_R, num_pairs = jnp.maximum(value_R, LEAST - 1.0), curvature.num_pairs + len(eps_MxK)
    new = LowRank(turn_RxR.T @ direction_RxK, value_R, jnp.minimum(num_pairs, MEMORY))
    finite = jnp.all(jnp.isfinite(new.direction_RxK)) & jnp.all(jnp.isfinite(value_R))
    return jax.tree.map(lambda kept, taken: jnp.where(finite, taken, kept), curvature, new)


def sketch(log_joint: LogJoint, family: PosteriorFamily, phi_P: Array, key: Key) -> tuple[LowRank, Array]:
    """(the curvature that q sees, by fresh samples; sd_K, its units), for any family.

    A pair is two independent samples of q: half of what the gradient falls by between them is Lam times half
    the way, Lam averaged over that way. 2 SKETCH_PAIRS gradient evaluations.
    """
    K = family.latent_dim
    key_samples, key_sd = jax.random.split(key)
    sd_K = standard_deviations(family, phi_P, key_sd)

    def pair(m: Array) -> tuple[Array, Array]:
        eps_2xK = standard_draws(jax.random.fold_in(key_samples, m), 2, K)
        z_2xK = jax.vmap(family.reparameterize, (None, 0))(phi_P, eps_2xK)
        grad_2xK = jax.vmap(jax.grad(log_joint))(z_2xK)
        # Of the variance of one sample.
        eps_K = (z_2xK[0] - z_2xK[1]) * (1.0 / (math.sqrt(2.0) * sd_K))
        return eps_K, (grad_2xK[1] - grad_2xK[0]) * sd_K / math.sqrt(2.0) - eps_K

    pairs = jax.lax.map(pair, jnp.arange(SKETCH_PAIRS), batch_size=5)
    return learn(nothing(K, min(RANK, K)), *pairs), sd_K
