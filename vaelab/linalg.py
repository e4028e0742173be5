"""Factors, inverse and log|det| of one small dense matrix, fast and safe when vmapped over many.

On a CPU, XLA's batched triangular solve is no LAPACK call and takes twenty times as long as the batched LU
factorisation before it. The triangular factors are inverted here by doubling instead: small blocks by
substitution, then a few levels of batched matrix products, on every device.

jaxlib 0.10.0 to 0.11.0 divides a batched LAPACK call of much work over XLA's threads for the CPU. Programs on
two CPU devices stood still with it (seen with 0.10.2; others report the rest). With these versions a batch
is factored in pieces, one after the other, that are too little work to be divided.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib

from vaelab.types import Array

BASE = 8  # width of the blocks that are inverted by substitution; below it, products are all overhead
DIVIDED_WORK = 200_000  # multiplications, from which on jaxlib divides a call
DIVIDES = (0, 10, 0) <= jaxlib.version.__version_info__ < (0, 11, 1)


def _in_pieces(function: Callable[[Array], Any], work: int) -> Callable[[Array], Any]:
    """The function of one K x K matrix that is a LAPACK call, its batches in pieces that are not divided.

    work: the most K^3 multiplications that one matrix takes. The result has no derivative.
    """

    @jax.custom_batching.custom_vmap
    def many(matrix_NxKxK: Array) -> Any:
        count, one = len(matrix_NxKxK), work * matrix_NxKxK.shape[-1] ** 3
        size = max((DIVIDED_WORK - 1) // one, 1)
        if count <= size or not DIVIDES or jax.default_backend() != "cpu":
            return jax.vmap(function)(matrix_NxKxK)
        return jax.lax.map(function, matrix_NxKxK, batch_size=size)

    @many.def_vmap
    def _(axis_size: int, _: Any, matrix_MxNxKxK: Array) -> Any:
        flat = many(matrix_MxNxKxK.reshape(-1, *matrix_MxNxKxK.shape[2:]))
        factors = jax.tree.map(lambda a: a.reshape(axis_size, -1, *a.shape[1:]), flat)
        return factors, jax.tree.map(lambda _: True, factors)

    return lambda matrix_KxK: jax.tree.map(lambda a: a[0], many(matrix_KxK[None]))


_lu = _in_pieces(jax.lax.linalg.lu, work=1)
_cholesky = _in_pieces(jnp.linalg.cholesky, work=1)
_qr = _in_pieces(jnp.linalg.qr, work=2)
_eigh = _in_pieces(jnp.linalg.eigh, work=10)


def _inverse_lower_blocks(lower_NxWxW: Array) -> Array:
    """The inverses of small lower triangular matrices by forward substitution, all of them at once."""
    width = lower_NxWxW.shape[-1]
    rows_NxW = []
    for k in range(width):
        row_NxW = jnp.zeros(lower_NxWxW.shape[:2], lower_NxWxW.dtype).at[:, k].set(1.0)
        for j in range(k):
            row_NxW -= lower_NxWxW[:, k, j, None] * rows_NxW[j]
        rows_NxW.append(row_NxW / lower_NxWxW[:, k, k, None])
    return jnp.stack(rows_NxW, axis=1)


def inverse_lower(lower_KxK: Array) -> Array:
    """The inverse of a lower triangular matrix, from its diagonal upwards; differentiable.

    Two inverted blocks A, B on the diagonal and the block C under A give the inverse of twice the size,
    [[A, 0], [C, B]]^-1 = [[A^-1, 0], [-B^-1 C A^-1, B^-1]]; all pairs of a level are one batched product.
    """
    size, width = lower_KxK.shape[0], BASE
    padded = width << (-(-size // width) - 1).bit_length()
    lower = jnp.eye(padded, dtype=lower_KxK.dtype).at[:size, :size].set(lower_KxK)
    count = padded // width
    inverse_NxWxW = _inverse_lower_blocks(
        jnp.einsum("iaib->iab", lower.reshape(count, width, count, width), precision="highest")
    )
    while width < padded:
        count = padded // (2 * width)
        # [i, a, j, b] = lower[(2 i + 1) width + a, 2 j width + b]: what lies under the first of each pair.
        under = lower.reshape(count, 2, width, count, 2, width)[:, 1, :, :, 0, :]
        under_NxWxW = jnp.einsum("iaib->iab", under, precision="highest")
        top_NxWxW, bottom_NxWxW = inverse_NxWxW[0::2], inverse_NxWxW[1::2]
        corner_NxWxW = -(bottom_NxWxW @ under_NxWxW @ top_NxWxW)
        above_NxWx2W = jnp.concatenate([top_NxWxW, jnp.zeros_like(corner_NxWxW)], axis=2)
        below_NxWx2W = jnp.concatenate([corner_NxWxW, bottom_NxWxW], axis=2)
        inverse_NxWxW = jnp.concatenate([above_NxWx2W, below_NxWx2W], axis=1)
        width *= 2
    return inverse_NxWxW[0, :size, :size]


@jax.custom_jvp
def cholesky(matrix_KxK: Array) -> Array:
    """The lower triangular L with L L' = matrix, symmetric and positive definite; NaN where it is not.

    Derivative: L^-1 dL = Phi(L^-1 dA L^-T), where Phi takes the lower triangle with half the diagonal, of the
    symmetric part of dA (Murray 2016, "Differentiation of the Cholesky decomposition", section 3).
    """
    return _cholesky(matrix_KxK)


@cholesky.defjvp
def _cholesky_jvp(primals, tangents):
    (matrix_KxK,), (tangent_KxK,) = primals, tangents
    lower_KxK = cholesky(matrix_KxK)
    inverse_KxK = inverse_lower(lower_KxK)
    middle_KxK = inverse_KxK @ (0.5 * (tangent_KxK + tangent_KxK.T)) @ inverse_KxK.T
    half_KxK = jnp.tril(middle_KxK, -1) + jnp.diag(0.5 * jnp.diag(middle_KxK))
    return lower_KxK, lower_KxK @ half_KxK


@jax.custom_jvp
def qr(matrix_KxK: Array) -> tuple[Array, Array]:
    """(Q, R) of a square matrix = Q R, Q orthogonal and R upper triangular, the signs of its diagonal free.

    Derivatives where R is invertible: with M = Q' dA R^-1 and W = tril(M, -1) - tril(M, -1)', dQ = Q W and
    dR = (M - W) R, as Q' dQ is antisymmetric and dR upper triangular.
    """
    return tuple(_qr(matrix_KxK))


@qr.defjvp
def _qr_jvp(primals, tangents):
    (matrix_KxK,), (tangent_KxK,) = primals, tangents
    q_KxK, r_KxK = qr(matrix_KxK)
    m_KxK = q_KxK.T @ tangent_KxK @ inverse_lower(r_KxK.T).T
    below_KxK = jnp.tril(m_KxK, -1)
    w_KxK = below_KxK - below_KxK.T
    return (q_KxK, r_KxK), (q_KxK @ w_KxK, (m_KxK - w_KxK) @ r_KxK)


def eigh(matrix_KxK: Array) -> tuple[Array, Array]:
    """(eigenvalues_K in rising order, eigenvectors_KxK as columns) of a symmetric matrix; no derivative."""
    return tuple(_eigh(matrix_KxK))


def inverse_reverse_cholesky(matrix_KxK: Array) -> Array:
    """M^-1 of the lower triangular M with M' M = matrix, positive definite.

    With the order of rows and columns reversed the matrix is N N', and M = (N reversed)'.
    """
    lower_KxK = cholesky(matrix_KxK[::-1, ::-1])
    return inverse_lower(lower_KxK)[::-1, ::-1].T


@jax.custom_jvp
def inverse_and_log_abs_det(matrix_KxK: Array) -> tuple[Array, Array]:
    """(S^-1, log|det S|) of a square matrix by one LU factorisation with partial pivoting.

    The sign of det S is free. A singular S gives -inf, and an inverse that is not finite. Derivatives:
    d S^-1 = -S^-1 dS S^-1 and d log|det S| = tr(S^-1 dS).
    """
    lu_KxK, _, permutation_K = _lu(matrix_KxK)
    identity = jnp.eye(matrix_KxK.shape[0], dtype=matrix_KxK.dtype)
    lower_inverse = inverse_lower(jnp.tril(lu_KxK, -1) + identity)
    upper_inverse = inverse_lower(jnp.triu(lu_KxK).T).T
    # P S = L U with (P S)[i] = S[permutation[i]], so S^-1 = U^-1 L^-1 P.
    inverse_KxK = (upper_inverse @ lower_inverse)[:, jnp.argsort(permutation_K)]
    return inverse_KxK, jnp.sum(jnp.log(jnp.abs(jnp.diag(lu_KxK))))


@inverse_and_log_abs_det.defjvp
def _inverse_and_log_abs_det_jvp(primals, tangents):
    (matrix_KxK,), (tangent_KxK,) = primals, tangents
    inverse_KxK, log_abs_det = inverse_and_log_abs_det(matrix_KxK)
    inverse_tangent = -inverse_KxK @ tangent_KxK @ inverse_KxK
    return (inverse_KxK, log_abs_det), (inverse_tangent, jnp.sum(inverse_KxK.T * tangent_KxK))
