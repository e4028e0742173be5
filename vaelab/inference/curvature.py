"""The curvature of log p(x, z) as a q(z) sees it, and gradients of the bound that make use of it.

    Lam = -E_q[Hessian of log p(x, z)]                     K x K, the identity plus that of the likelihood

Everything is made of gradients in z at pairs of points, so that it averages over the kinks of a relu decoder,
which a Hessian by autodiff does not see.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.linalg import inverse_and_log_abs_det
from vaelab.objective.draws import standard_draws
from vaelab.types import Array, Key, LogJoint, PosteriorFamily

MAX_RATIO = 10.0  # of what one pair of points may do to the curvature; see `learn`
TINY = 1e-30
MIN_DIAGONAL = 0.1
STEP = 1.0  # of differences, in standard deviations of q
DIFFERENCES = 150  # gradients to be spent on them: few dimensions are averaged over more draws
BATCH = 10  # of them at a time
MOMENT_DRAWS = 100
MOST_DENSE = (
    255  # dimensions, beyond which no K x K matrix is kept of a datapoint that its family does not have
)


class Curvature(NamedTuple):
    """A positive definite estimate of Lam, with its inverse."""

    matrix_KxK: Array
    inverse_KxK: Array


def posterior_curvature(family: PosteriorFamily, phi_P: Array) -> Curvature:
    """(S S')^-1: Lam where q is the exact posterior. For Gaussian families."""
    if family.gaussian.axes is not None:
        variance_K = family.gaussian.axes(phi_P) ** 2
        return Curvature(jnp.diag(1.0 / variance_K), jnp.diag(variance_K))
    _, scale_KxK = family.gaussian.location_scale(phi_P)
    inverse_KxK, _ = inverse_and_log_abs_det(scale_KxK)
    return Curvature(inverse_KxK.T @ inverse_KxK, scale_KxK @ scale_KxK.T)


def learn(curvature: Curvature, offset_MxK: Array, slope_MxK: Array) -> Curvature:
    """BFGS updates, after which Lam offset = slope holds for the last pair and nearly for the others.

    offset: half the way from one point of a pair to the other; slope: half of what the gradient of
    log p(x, z) falls by on it. Antithetic draws are such pairs, at no further cost. (Nocedal & Wright 2006,
    eq. 6.17 and 6.19; directions drawn at random: Gower & Richtarik 2017.)

    Where log p(x, z) is not concave, or has a kink, a slope can lie far from Lam offset, and one such pair
    could make the matrix singular to float32. Only a part of the difference is then taken (Powell's damping,
    Nocedal & Wright 2006, procedure 18.2, here on both sides): the largest t in [0, 1] with

        y = Lam d + t (slope - Lam d):    d'y >= d' Lam d / MAX_RATIO,    y' Lam^-1 y <= MAX_RATIO d'y,

    so that relative to Lam the update has the determinant d'y / d' Lam d of 1 / MAX_RATIO at least, and no
    eigenvalue above 1 + MAX_RATIO: it stays positive definite, and each step's change is a bounded one.

    Matrix and inverse are updated apart, and their rounding errors feed each other: `refresh` now and then.
    The pairs are taken in by their vectors, and the matrices once, with all of them: an update is

        Lam - sum_j Lam d_j (Lam d_j)' / d_j' Lam d_j + sum_j y_j y_j' / d_j'y_j,

    each pair's Lam that of the pairs before it, and so is Lam d_i the product of d_i with the first Lam and
    multiples of the vectors of earlier pairs; Lam^-1 r likewise.
    """
    (B_KxK, P_KxK), D_MxK = curvature, offset_MxK
    Bd_MxK = D_MxK @ B_KxK
    P_Bd_MxK, P_slope_MxK = jnp.split(jnp.concatenate([Bd_MxK, slope_MxK]) @ P_KxK, 2)

    def pair(earlier: _Pairs, values: tuple[Array, ...]) -> tuple[_Pairs, None]:
        i, d_K, slope_K, Bd_K, P_Bd_K, P_slope_K = values
        # By the products with the first matrices, and what the earlier pairs, whose weights are 0 from i on,
        # have changed of them.
        along_M = (earlier.Bd_MxK @ d_K) * earlier.per_dBd_M
        across_M = (earlier.y_MxK @ d_K) * earlier.per_dy_M
        Bd_K -= along_M @ earlier.Bd_MxK - across_M @ earlier.y_MxK
        P_Bd_K -= along_M @ earlier.P_Bd_MxK - across_M @ earlier.P_y_MxK
        r_K, P_r_K = slope_K - Bd_K, P_slope_K - P_Bd_K
        dr_M = D_MxK @ r_K
        square_M = earlier.square_M * dr_M - (earlier.Py_MxK @ r_K) * earlier.per_dy_M
        Pr_K = P_r_K + square_M @ D_MxK - (dr_M * earlier.per_dy_M) @ earlier.Py_MxK
        dBd, dr, rPr = d_K @ Bd_K, d_K @ r_K, jnp.maximum(r_K @ Pr_K, 0.0)
        half = (0.5 * MAX_RATIO - 1.0) * dr
        root = half + jnp.sqrt(half**2 + (MAX_RATIO - 1.0) * dBd * rPr)
        lower = (1.0 - 1.0 / MAX_RATIO) * dBd / jnp.maximum(-dr, TINY)
        t = jnp.minimum(1.0, jnp.minimum(lower, root / jnp.maximum(rPr, TINY)))
        # Two equal samples teach nothing: all that is divided is then 0.
        y_K, Py_K, per_dy = Bd_K + t * r_K, d_K + t * Pr_K, 1.0 / jnp.maximum(dBd + t * dr, TINY)
        square = ((y_K @ Py_K) * per_dy + 1.0) * per_dy
        per_dBd = 1.0 / jnp.maximum(dBd, TINY)
        new = _Pairs(Bd_K, P_Bd_K, y_K, P_Bd_K + t * P_r_K, Py_K, per_dBd, per_dy, square)
        return jax.tree.map(lambda kept, value: kept.at[i].set(value), earlier, new), None

    nothing = _Pairs(*[jnp.zeros_like(D_MxK)] * 5, *[jnp.zeros_like(D_MxK[:, 0])] * 3)
    rows = (jnp.arange(len(D_MxK)), D_MxK, slope_MxK, Bd_MxK, P_Bd_MxK, P_slope_MxK)
    pairs, _ = jax.lax.scan(pair, nothing, rows)
    Bd_MxK = jnp.sqrt(pairs.per_dBd_M)[:, None] * pairs.Bd_MxK
    y_MxK = jnp.sqrt(pairs.per_dy_M)[:, None] * pairs.y_MxK
    e_MxK = 0.5 * pairs.square_M[:, None] * D_MxK - pairs.per_dy_M[:, None] * pairs.Py_MxK
    B_KxK = B_KxK + jnp.concatenate([-Bd_MxK, y_MxK]).T @ jnp.concatenate([Bd_MxK, y_MxK])
    P_KxK = P_KxK + jnp.concatenate([D_MxK, e_MxK]).T @ jnp.concatenate([e_MxK, D_MxK])
    return Curvature(B_KxK, P_KxK)


class _Pairs(NamedTuple):
    """What `learn` keeps of the pairs that it has taken in; rows of those to come are 0.

    P_Bd, P_y: products with the inverse that `learn` began with; Py: with that of the pair's turn.
    per_dBd, per_dy: 1 / d' Lam d and 1 / d'y; square: the weight of d d' in the inverse.
    """

    Bd_MxK: Array
    P_Bd_MxK: Array
    y_MxK: Array
    P_y_MxK: Array
    Py_MxK: Array
    per_dBd_M: Array
    per_dy_M: Array
    square_M: Array


def refresh(curvature: Curvature) -> Curvature:
    """The inverse brought back to its matrix by a step of Newton's iteration, P (2 I - B P) (Schulz 1933).

    That squares I - B P. Where it is not below 1/2 in norm rounding has had the better of both, and only the
    diagonal of B is kept.
    """
    B_KxK, P_KxK = curvature
    rest_KxK = jnp.eye(B_KxK.shape[0]) - B_KxK @ P_KxK
    mended_KxK = P_KxK + P_KxK @ rest_KxK
    sound = (jnp.sum(rest_KxK**2) < 0.25) & jnp.all(jnp.diag(mended_KxK) > 0.0)
    diagonal_K = jnp.maximum(jnp.diag(B_KxK), MIN_DIAGONAL)
    plain = Curvature(jnp.diag(diagonal_K), jnp.diag(1.0 / diagonal_K))
    mended = Curvature(B_KxK, 0.5 * (mended_KxK + mended_KxK.T))
    return jax.tree.map(partial(jnp.where, sound), mended, plain)


def controlled_gradient(
    log_joint: LogJoint,
    family: PosteriorFamily,
    phi_P: Array,
    key: Key,
    curvature: Curvature,
    *,
    num_samples: int,
) -> tuple[Array, Curvature]:
    """(an unbiased gradient of L[q_phi] in phi, what its antithetic draws teach about the curvature).

    With d = S eps and any symmetric B, E_q[d' B d] = tr(S' B S), so the bound is

        L = E_q[ log p(x, z) + 1/2 d' Lam d ] - 1/2 tr(S' Lam S) + H[q],        H[q] = log|det S| + const,

    whose bracket varies with the third and higher derivatives only, where Lam is right: draw by draw the
    gradient of a Gaussian posterior is exact, at any q, not at the optimum alone. (Control variate for the
    reparameterization gradient: Miller, Foti, D'Amour & Adams 2017.) num_samples is even. For Gaussian
    families.
    """
    eps_SxK = standard_draws(key, num_samples, family.latent_dim, antithetic=True)
    grad_P, pairs = with_control(
        log_joint,
        family,
        phi_P,
        eps_SxK,
        lambda offset_SxK: offset_SxK @ curvature.matrix_KxK,
        lambda phi_P: spread(family, phi_P, curvature.matrix_KxK),
    )
    return grad_P, learn(curvature, *pairs)


def with_control(
    log_joint: LogJoint,
    family: PosteriorFamily,
    phi_P: Array,
    eps_SxK: Array,
    times: Callable[[Array], Array],
    trace: Callable[[Array], Array],
) -> tuple[Array, tuple[Array, Array]]:
    """(the gradient of `controlled_gradient` at antithetic eps, its pairs as `learn` takes them).

    times(offset_SxK) -> each offset times B, trace(phi_P) -> tr(S' B S), of a symmetric B.
    """

    def draw(phi_P: Array) -> Array:
        return jax.vmap(family.reparameterize, (None, 0))(phi_P, eps_SxK)

    # S eps, and not z - mu, which loses digits and can be 0.
    z_SxK, offset_SxK = draw(phi_P), scaled(family, phi_P, eps_SxK)
    grad_SxK = jax.vmap(jax.grad(log_joint))(z_SxK)
    path_SxK = grad_SxK + times(offset_SxK)
    num_samples = eps_SxK.shape[0]

    def surrogate(phi_P: Array) -> Array:
        bracket = jnp.sum(path_SxK * draw(phi_P)) / num_samples
        # -log q(mu) is the entropy but for a constant.
        _, log_q = family.sample_and_log_prob(phi_P, jnp.zeros(family.latent_dim))
        return bracket - 0.5 * trace(phi_P) - log_q

    half = num_samples // 2
    # The second half of the draws is the first, mirrored.
    pairs = offset_SxK[:half], 0.5 * (grad_SxK[half:] - grad_SxK[:half])
    return jax.grad(surrogate)(phi_P), pairs


def scaled(family: PosteriorFamily, phi_P: Array, eps_SxK: Array) -> Array:
    """S eps of each eps."""
    if family.gaussian.axes is not None:
        return eps_SxK * family.gaussian.axes(phi_P)[None, :]
    return eps_SxK @ family.gaussian.location_scale(phi_P)[1].T


def spread(family: PosteriorFamily, phi_P: Array, matrix_KxK: Array) -> Array:
    """tr(S' B S) = E_q[d' B d] of d = S eps and B = matrix."""
    if family.gaussian.axes is not None:
        return jnp.sum(family.gaussian.axes(phi_P) ** 2 * jnp.diag(matrix_KxK))
    _, scale_KxK = family.gaussian.location_scale(phi_P)
    return jnp.sum(scale_KxK * (matrix_KxK @ scale_KxK))


def variances(family: PosteriorFamily, phi_P: Array) -> Array:
    """diag(S S')."""
    if family.gaussian.axes is not None:
        return family.gaussian.axes(phi_P) ** 2
    return jnp.sum(family.gaussian.location_scale(phi_P)[1] ** 2, axis=1)


def expected_curvature(log_joint: LogJoint, family: PosteriorFamily, phi_P: Array, key: Key) -> Array:
    """Lam_KxK, symmetric, by differences of gradients along each dimension, at antithetic draws from q.

    A step of STEP standard deviations, forwards at one half of the draws and backwards at the other: the mean
    is that of minus the Hessian over draws and over steps from -STEP to STEP.
    """
    K = family.latent_dim
    key_draws, key_step = jax.random.split(key)
    eps_SxK = standard_draws(key_draws, difference_draws(K), K, antithetic=True)
    z_SxK = jax.vmap(family.reparameterize, (None, 0))(phi_P, eps_SxK)
    step_K = STEP * standard_deviations(family, phi_P, key_step)
    half = z_SxK.shape[0] // 2
    sign_S = jnp.concatenate([jnp.ones(half), -jnp.ones(half)])
    gradient = jax.vmap(jax.grad(log_joint))
    at_draws_SxK = gradient(z_SxK)

    def column(direction_K: Array) -> Array:
        moved_SxK = gradient(z_SxK + sign_S[:, None] * (step_K * direction_K)[None, :])
        return sign_S @ (at_draws_SxK - moved_SxK) / (half * 2 * jnp.vdot(step_K, direction_K))

    # A few columns at a time: as many points as a step of the solver has, and not K times as many.
    columns = max(1, BATCH // z_SxK.shape[0])
    lam_KxK = jax.lax.map(column, jnp.eye(K), batch_size=columns)
    return 0.5 * (lam_KxK + lam_KxK.T)


def standard_deviations(family: PosteriorFamily, phi_P: Array, key: Key) -> Array:
    """sd_K of z under q; for a flow estimated from samples, which take no decoder."""
    if family.gaussian is not None:
        return jnp.sqrt(variances(family, phi_P))
    eps_SxK = standard_draws(key, MOMENT_DRAWS, family.latent_dim)
    return jnp.std(jax.vmap(family.reparameterize, (None, 0))(phi_P, eps_SxK), axis=0)


def difference_draws(latent_dim: int) -> int:
    """The even number of samples, 2 at least, that spends about DIFFERENCES gradients."""
    return 2 * max(1, round(DIFFERENCES / (2 * (latent_dim + 1))))


def difference_evaluations(latent_dim: int) -> int:
    """Gradient evaluations of `expected_curvature`: at each sample, and a step from it in each dimension."""
    return (latent_dim + 1) * difference_draws(latent_dim)
