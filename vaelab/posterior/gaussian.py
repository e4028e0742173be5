"""Gaussian families with a diagonal, a dense and a triangular scale.

Each is a location-scale distribution z = mu + S eps with eps ~ N(0, I), so q = N(mu, S S') and

    KL(q || N(0, I)) = 1/2 (||S||_F^2 + ||mu||^2 - K) - log|det S|                           (1)

S is known only up to S -> S Q with Q orthogonal: two q are compared by S S'. The Fisher information of q, in
the coordinates dmu and dS = S A, gives KL(q || q + d) ~ 1/2 dmu' (S S')^-1 dmu + 1/4 ||A + A'||_F^2,
so that with H = S' dL/dS symmetrised the natural gradient is (S S' dL/dmu, S H / 2).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.linalg import inverse_and_log_abs_det, inverse_lower, inverse_reverse_cholesky, qr
from vaelab.posterior.location_scale import location_scale_family, mean_field_log_sd
from vaelab.types import Array, GaussianGeometry, PosteriorFamily

if TYPE_CHECKING:
    import distrax


def _triangular_dual(grad_mu_K: Array, grad_KxK: Array, concavity_KxK: Array) -> Array:
    """[C^-1/2 g_mu, C_j^-1/2 G_j for each column j], C_j the rows and columns of C from j on.

    With C = M' M, M lower triangular, C_j = M_j' M_j for the same part M_j of M, and the part of M^-1 is its
    inverse: M^-T G, lower triangle only, has all the columns.
    """
    root_KxK = inverse_reverse_cholesky(concavity_KxK).T
    return jnp.concatenate([root_KxK @ grad_mu_K, jnp.tril(root_KxK @ grad_KxK).reshape(-1)])


@partial(jax.jit, static_argnums=0)
def _standard(K: int) -> Array:
    """[0_K, I_KxK], in one program and not one for each operation."""
    return jnp.concatenate([jnp.zeros(K), jnp.eye(K).reshape(-1)])


def diagonal(latent_dim: int) -> PosteriorFamily:
    """z = mu + sigma * eps with phi = [mu_K, log sigma_K], P = 2K: the mean-field Gaussian.

    KL = sum_i 1/2 (sigma_i^2 + mu_i^2 - 1) - log sigma_i  (Kingma & Welling 2014, appendix B).
    """
    import distrax

    K = latent_dim

    def split(phi_P: Array) -> tuple[Array, Array]:
        return phi_P[:K], phi_P[K:]

    def reparameterize(phi_P: Array, eps_K: Array) -> Array:
        mu_K, log_sigma_K = split(phi_P)
        return mu_K + jnp.exp(log_sigma_K) * eps_K

    def dist(phi_P: Array) -> "distrax.Distribution":
        mu_K, log_sigma_K = split(phi_P)
        return distrax.Independent(distrax.Normal(mu_K, jnp.exp(log_sigma_K)), 1)

    def log_abs_det(phi_P: Array) -> Array:
        return jnp.sum(split(phi_P)[1])

    def kl_to_prior(phi_P: Array) -> Array:
        mu_K, log_sigma_K = split(phi_P)
        # expm1 keeps (sigma^2 - 1)/2 - log sigma accurate where q is close to the prior.
        return jnp.sum(0.5 * (jnp.expm1(2.0 * log_sigma_K) + mu_K**2) - log_sigma_K)

    def natural_gradient(phi_P: Array, grad_P: Array) -> Array:
        _, log_sigma_K = split(phi_P)
        grad_mu_K, grad_log_sigma_K = split(grad_P)
        return jnp.concatenate([jnp.exp(2.0 * log_sigma_K) * grad_mu_K, 0.5 * grad_log_sigma_K])

    def dual_gradient(phi_P: Array, grad_P: Array, concavity_KxK: Array) -> Array:
        grad_mu_K, grad_log_sigma_K = split(grad_P)
        grad_sigma_K = grad_log_sigma_K * jnp.exp(-split(phi_P)[1])
        root_KxK = inverse_reverse_cholesky(concavity_KxK).T
        return jnp.concatenate([root_KxK @ grad_mu_K, grad_sigma_K / jnp.sqrt(jnp.diag(concavity_KxK))])

    def axes(phi_P: Array) -> Array:
        return jnp.exp(split(phi_P)[1])

    def location_scale(phi_P: Array) -> tuple[Array, Array]:
        return split(phi_P)[0], jnp.diag(axes(phi_P))

    def project(mu_K: Array, scale_KxK: Array) -> Array:
        # argmin KL(q || N(mu, S S')) keeps mu and takes sigma_i^2 = 1 / ((S S')^-1)_ii.
        return jnp.concatenate([mu_K, mean_field_log_sd(scale_KxK)])

    def init() -> Array:
        return jnp.zeros(2 * K)

    geometry = GaussianGeometry(location_scale, natural_gradient, True, dual_gradient, project, axes=axes)
    return location_scale_family(
        "diagonal", K, 2 * K, init, reparameterize, log_abs_det, dist, kl_to_prior, geometry
    )


def _natural_path(scale_KxK: Array, eps_SxK: Array, grad_SxK: Array) -> tuple[Array, Array, Array]:
    """(its mean's part, its scale's, d' F d) of the natural gradient d of stick-the-landing, S dense.

    The score of q at mu + S eps is -S^-T eps, so that S' (grad - score) = S' grad + eps.
    """
    white_SxK = grad_SxK @ scale_KxK + eps_SxK
    mean_K, h_KxK = jnp.mean(white_SxK, axis=0), white_SxK.T @ eps_SxK / eps_SxK.shape[0]
    twice_KxK = h_KxK + h_KxK.T
    square = mean_K @ mean_K + 0.25 * jnp.sum(h_KxK * twice_KxK)
    return scale_KxK @ mean_K, 0.25 * scale_KxK @ twice_KxK, square


def full(latent_dim: int) -> PosteriorFamily:
    """z = mu + S eps with phi = [mu_K, S reshaped to K^2], P = K + K^2, S dense and unconstrained.

    The sign of det S is free. A singular S has no density on R^K: log q and the KL are then not finite.
    """
    import distrax

    from vaelab.posterior.bijectors import DenseLinear

    K = latent_dim

    def location_scale(phi_P: Array) -> tuple[Array, Array]:
        return phi_P[:K], phi_P[K:].reshape(K, K)

    def join(mu_K: Array, scale_KxK: Array) -> Array:
        return jnp.concatenate([mu_K, scale_KxK.reshape(-1)])

    def reparameterize(phi_P: Array, eps_K: Array) -> Array:
        mu_K, scale_KxK = location_scale(phi_P)
        return mu_K + scale_KxK @ eps_K

    def dist(phi_P: Array) -> "distrax.Distribution":
        mu_K, scale_KxK = location_scale(phi_P)
        inverse_and_log_det = inverse_and_log_abs_det(scale_KxK)
        return distrax.MultivariateNormalFromBijector(mu_K, DenseLinear(scale_KxK, *inverse_and_log_det))

    def log_abs_det(phi_P: Array) -> Array:
        return inverse_and_log_abs_det(location_scale(phi_P)[1])[1]

    def kl_to_prior(phi_P: Array) -> Array:
        mu_K, scale_KxK = location_scale(phi_P)
        # Subtracting 1 from each diagonal square before the sum keeps the KL accurate near the prior.
        frobenius_minus_K = jnp.sum(scale_KxK**2 - jnp.eye(K))
        return 0.5 * (frobenius_minus_K + jnp.sum(mu_K**2)) - log_abs_det(phi_P)

    def natural_gradient(phi_P: Array, grad_P: Array) -> Array:
        _, scale_KxK = location_scale(phi_P)
        grad_mu_K, grad_scale_KxK = location_scale(grad_P)
        h_KxK = scale_KxK.T @ grad_scale_KxK
        return join(scale_KxK @ (scale_KxK.T @ grad_mu_K), 0.25 * scale_KxK @ (h_KxK + h_KxK.T))

    def natural_path(phi_P: Array, eps_SxK: Array, grad_SxK: Array) -> tuple[Array, Array]:
        mean_K, part_KxK, square = _natural_path(location_scale(phi_P)[1], eps_SxK, grad_SxK)
        return join(mean_K, part_KxK), square

    def dual_gradient(phi_P: Array, grad_P: Array, concavity_KxK: Array) -> Array:
        # S = L Q and the triangular L are the same distribution, and dL/dL = (dL/dS) Q'.
        grad_mu_K, grad_scale_KxK = location_scale(grad_P)
        rotation_KxK = qr(location_scale(phi_P)[1].T)[0]  # Q'
        return _triangular_dual(grad_mu_K, jnp.tril(grad_scale_KxK @ rotation_KxK), concavity_KxK)

    def init() -> Array:
        return _standard(K)

    # S (I + A), A symmetric, is a step of length sqrt(2) |A|; I + A is invertible where |A| < 1.
    longest = math.sqrt(2.0)
    geometry = GaussianGeometry(
        location_scale, natural_gradient, True, dual_gradient, join, longest, natural_path=natural_path
    )
    return location_scale_family(
        "full", K, K + K * K, init, reparameterize, log_abs_det, dist, kl_to_prior, geometry
    )


def _triangle(K: int) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """(x_R -> K x K with R = K(K-1)/2 numbers under its diagonal and 0 elsewhere, what reads them again)."""
    m = K - 1

    def fill(under_R: Array) -> Array:
        lower_mxm = jnp.tril(jnp.concatenate([under_R[m:], under_R[::-1]]).reshape(m, m))
        return jnp.pad(lower_mxm, ((1, 0), (0, 1)))

    # fill is a selection: entry i of the vector stands at flat position position_R[i] of the triangle.
    size = K * m // 2
    number = np.concatenate([np.arange(m, size), np.arange(size)[::-1]]).reshape(m, m)
    row, column = np.tril_indices(m)
    order = np.argsort(number[row, column])
    position_R = (row * m + column)[order]

    def strict_part(matrix_KxK: Array) -> Array:
        return matrix_KxK[1:, :-1].reshape(-1)[position_R]

    return fill, strict_part


def _lower_factor(scale_KxK: Array) -> Array:
    """L with S = L Q, Q orthogonal, from S' = Q' L'; the signs of the diagonal are Q's."""
    lower_KxK = qr(scale_KxK.T)[1].T
    return lower_KxK * jnp.sign(jnp.diag(lower_KxK))[None, :]


def cholesky(latent_dim: int) -> PosteriorFamily:
    """z = mu + S eps, S lower triangular with a positive diagonal: every Gaussian distribution, once.

    phi = [mu_K, log diag(S)_K, the K(K-1)/2 numbers under the diagonal], P = 2K + K(K-1)/2. The numbers under
    the diagonal are in the order that fills a triangle by one reshape, without a gather.
    (Kingma & Welling 2019, section 2.5.1.)
    """
    import distrax

    from vaelab.posterior.bijectors import DenseLinear

    K, P = latent_dim, 2 * latent_dim + latent_dim * (latent_dim - 1) // 2
    fill, strict_part = _triangle(K)

    def location_scale(phi_P: Array) -> tuple[Array, Array]:
        return phi_P[:K], jnp.diag(jnp.exp(phi_P[K : 2 * K])) + fill(phi_P[2 * K :])

    def reparameterize(phi_P: Array, eps_K: Array) -> Array:
        mu_K, scale_KxK = location_scale(phi_P)
        return mu_K + scale_KxK @ eps_K

    def dist(phi_P: Array) -> "distrax.Distribution":
        mu_K, scale_KxK = location_scale(phi_P)
        bijector = DenseLinear(scale_KxK, inverse_lower(scale_KxK), log_abs_det(phi_P))
        return distrax.MultivariateNormalFromBijector(mu_K, bijector)

    def log_abs_det(phi_P: Array) -> Array:
        return jnp.sum(phi_P[K : 2 * K])

    def kl_to_prior(phi_P: Array) -> Array:
        log_diagonal_K = phi_P[K : 2 * K]
        squares = jnp.sum(phi_P[:K] ** 2) + jnp.sum(phi_P[2 * K :] ** 2)
        return 0.5 * squares + jnp.sum(0.5 * jnp.expm1(2.0 * log_diagonal_K) - log_diagonal_K)

    def natural_gradient(phi_P: Array, grad_P: Array) -> Array:
        # dS = S A with A lower triangular: 1/4 ||A + A'||_F^2 = sum_i A_ii^2 + 1/2 sum_{i>j} A_ij^2.
        _, scale_KxK = location_scale(phi_P)
        grad_diagonal_K = grad_P[K : 2 * K] / jnp.exp(phi_P[K : 2 * K])
        grad_KxK = jnp.diag(grad_diagonal_K) + fill(grad_P[2 * K :])
        h_KxK = jnp.tril(scale_KxK.T @ grad_KxK)
        a_KxK = h_KxK - 0.5 * jnp.diag(jnp.diag(h_KxK))
        mean_K = scale_KxK @ (scale_KxK.T @ grad_P[:K])
        return jnp.concatenate([mean_K, jnp.diag(a_KxK), strict_part(scale_KxK @ a_KxK)])

    def dual_gradient(phi_P: Array, grad_P: Array, concavity_KxK: Array) -> Array:
        grad_diagonal_K = grad_P[K : 2 * K] * jnp.exp(-phi_P[K : 2 * K])
        grad_KxK = jnp.diag(grad_diagonal_K) + fill(grad_P[2 * K :])
        return _triangular_dual(grad_P[:K], grad_KxK, concavity_KxK)

    def project(mu_K: Array, scale_KxK: Array) -> Array:
        lower_KxK = _lower_factor(scale_KxK)
        return jnp.concatenate([mu_K, jnp.log(jnp.diag(lower_KxK)), strict_part(lower_KxK)])

    geometry = GaussianGeometry(
        location_scale, natural_gradient, True, dual_gradient, project, searched_as=full(K)
    )
    return location_scale_family(
        "cholesky", K, P, lambda: jnp.zeros(P), reparameterize, log_abs_det, dist, kl_to_prior, geometry
    )
