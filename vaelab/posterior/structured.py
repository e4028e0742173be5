"""Gaussian families whose scale costs less than K^2 numbers.

No K x K matrix is inverted here; one is formed by `location_scale`, which is for oracles and reports, and by
the natural gradient of `householder`. The natural gradients have no closed form in these coordinates and are
solved for by conjugate gradients.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from vaelab.linalg import cholesky, eigh, inverse_lower
from vaelab.posterior.location_scale import location_scale_family, mean_field_log_sd
from vaelab.types import Array, GaussianGeometry, PosteriorFamily

if TYPE_CHECKING:
    from vaelab.posterior.bijectors import LinearOperator

CG_STEPS = 20
# The price of directions in phi that hardly move q: the gradient of a finite sample has noise
# along them, and the Fisher information alone would follow it anywhere. log d, V and reflections are of
# order one.
DAMPING = 0.03
ROTATION = 0.1  # the same for S -> S (I + A), A antisymmetric, which turns the samples and not q


def _solve(metric: Callable[[Array], Array], grad_R: Array) -> Array:
    """(metric + DAMPING)^-1 grad by conjugate gradients, for a positive semi-definite metric."""

    def damped(tangent_R: Array) -> Array:
        return metric(tangent_R) + DAMPING * tangent_R

    return jax.scipy.sparse.linalg.cg(damped, grad_R, tol=1e-4, maxiter=CG_STEPS)[0]


def _family(
    name: str,
    K: int,
    init_P: Array,
    operator: Callable[[Array], "LinearOperator"],
    log_abs_det: Callable[[Array], Array],
    kl_to_prior: Callable[[Array], Array],
    natural_gradient: Callable[[Array, Array], Array],
    near: Callable[[Array, Array], Array],
) -> PosteriorFamily:
    import distrax

    def reparameterize(phi_P: Array, eps_K: Array) -> Array:
        return phi_P[:K] + operator(phi_P).forward(eps_K)

    geometry = GaussianGeometry(
        location_scale=lambda phi_P: (phi_P[:K], operator(phi_P).matrix), natural_gradient=natural_gradient
    )

    def dist(phi_P: Array) -> "distrax.Distribution":
        return distrax.MultivariateNormalFromBijector(phi_P[:K], operator(phi_P))

    return location_scale_family(
        name, K, init_P.size, lambda: init_P, reparameterize, log_abs_det, dist, kl_to_prior, geometry, near
    )


def low_rank(latent_dim: int, *, rank: int) -> PosteriorFamily:
    """q = N(mu, D^2 + U U'), D = diag(d), U = D V with r columns; phi = [mu, log d, V], P = 2K + K r.

    With the Cholesky factor L L' = I + V' V of size r,

        S = D (I + V (I + L)^-1 V'),    S^-1 = (I - V (I + L')^-1 L^-1 V') D^-1,    |det S| = |D| |L|,

    so that S S' = D (I + V V') D: P = I + L turns P + P' + V' V into P P', and Woodbury's lemma gives the
    inverse. A sample takes K numbers of noise, not K + r. (This q for inference: Ong, Nott & Smith 2018.)
    V = 0 would be a stationary point of every function of q; the prior is met with V = 3/4 [e_1 ..
    e_r] and d = 4/5 in these dimensions, to float rounding. Raises ValueError for a rank outside 1..K.
    """
    from vaelab.posterior.bijectors import LinearOperator

    K, r = latent_dim, rank
    if not 1 <= r <= K:
        raise ValueError(f"the rank must be from 1 to latent_dim={K}, not {r}")

    def split(phi_P: Array) -> tuple[Array, Array, Array, Array]:
        factor_Kxr = phi_P[2 * K :].reshape(K, r)
        cholesky_rxr = cholesky(jnp.eye(r) + factor_Kxr.T @ factor_Kxr)
        return phi_P[:K], phi_P[K : 2 * K], factor_Kxr, cholesky_rxr

    def log_abs_det(phi_P: Array) -> Array:
        _, log_d_K, _, cholesky_rxr = split(phi_P)
        return jnp.sum(log_d_K) + jnp.sum(jnp.log(jnp.diag(cholesky_rxr)))

    def operator(phi_P: Array) -> "LinearOperator":
        _, log_d_K, factor_Kxr, cholesky_rxr = split(phi_P)
        d_K = jnp.exp(log_d_K)
        outer_rxr = inverse_lower(jnp.eye(r) + cholesky_rxr)
        inner_rxr = outer_rxr.T @ inverse_lower(cholesky_rxr)

        def apply(x_K: Array) -> Array:
            return d_K * (x_K + factor_Kxr @ (outer_rxr @ (factor_Kxr.T @ x_K)))

        def solve(y_K: Array) -> Array:
            w_K = y_K / d_K
            return w_K - factor_Kxr @ (inner_rxr @ (factor_Kxr.T @ w_K))

        return LinearOperator(K, apply, solve, log_abs_det(phi_P))

    def kl_to_prior(phi_P: Array) -> Array:
        mu_K, log_d_K, factor_Kxr, _ = split(phi_P)
        # ||S||_F^2 - K = sum_i d_i^2 (1 + ||V_i||^2) - 1.
        excess_K = jnp.expm1(2.0 * log_d_K) + jnp.exp(2.0 * log_d_K) * jnp.sum(factor_Kxr**2, axis=1)
        return 0.5 * (jnp.sum(excess_K) + jnp.sum(mu_K**2)) - log_abs_det(phi_P)

    def natural_gradient(phi_P: Array, grad_P: Array) -> Array:
        return _low_rank_natural_gradient(*split(phi_P)[1:], grad_P)

    def near(mu_K: Array, scale_KxK: Array) -> Array:
        return jnp.concatenate([mu_K, *_principal_factors(scale_KxK, r)])

    log_d_K = jnp.where(jnp.arange(K) < r, jnp.log(0.8), 0.0)
    init_P = jnp.concatenate([jnp.zeros(K), log_d_K, 0.75 * jnp.eye(K, r).reshape(-1)])
    return _family("low_rank", K, init_P, operator, log_abs_det, kl_to_prior, natural_gradient, near)


LEAST_FACTOR = 0.05  # of the variance along a factor: V = 0 is a stationary point


def _principal_factors(scale_KxK: Array, r: int) -> tuple[Array, Array]:
    """(log d_K, V flat) of D (I + V V') D near S S', nearer than its mean-field optimum D^2.

    With M = D (S S')^-1 D, whose diagonal is 1, and its eigenvectors e_j of the r smallest eigenvalues 1/l_j,
    V_j = (l_j - 1)^1/2 e_j changes KL(q || N(mu, S S')) by 1/2 sum_j (1 - 1/l_j - log l_j) <= 0: the trace
    of M V V' less log|I + V V'|.
    """
    log_d_K = mean_field_log_sd(scale_KxK)
    white_KxK = jnp.exp(-log_d_K)[:, None] * scale_KxK
    value_K, vector_KxK = eigh(white_KxK @ white_KxK.T)
    size_r = jnp.sqrt(jnp.maximum(value_K[-r:] - 1.0, LEAST_FACTOR))
    return log_d_K, (vector_KxK[:, -r:] * size_r[None, :]).reshape(-1)


def _low_rank_natural_gradient(
    log_d_K: Array, factor_Kxr: Array, cholesky_rxr: Array, grad_P: Array
) -> Array:
    """F^+ grad of `low_rank` at D = diag(exp(log d)), V and the Cholesky factor of I + V' V."""
    K, r = factor_Kxr.shape
    # In D^-1 dSigma D^-1 = E = a M + M a + W V' + V W', M = I + V V', for d log d = a (as a diagonal) and
    # dV = W, KL ~ 1/4 tr (M^-1 E M^-1 E) gives F (a, W) = (diag(E M^-1), M^-1 E M^-1 V); M^-1 V = V C.
    inverse_rxr = inverse_lower(cholesky_rxr)
    c_rxr = inverse_rxr.T @ inverse_rxr
    shrunk_Kxr = factor_Kxr @ c_rxr
    diagonal_K = 1.0 + jnp.sum(factor_Kxr**2, axis=1)

    def times_m(x_Kxr: Array) -> Array:
        return x_Kxr + factor_Kxr @ (factor_Kxr.T @ x_Kxr)

    def fisher(tangent_R: Array) -> Array:
        a_K, w_Kxr = tangent_R[:K], tangent_R[K:].reshape(K, r)
        e_Kxr = a_K[:, None] * times_m(shrunk_Kxr) + times_m(a_K[:, None] * shrunk_Kxr)
        e_Kxr += w_Kxr @ (factor_Kxr.T @ shrunk_Kxr) + factor_Kxr @ (w_Kxr.T @ shrunk_Kxr)
        of_log_d_K = 2.0 * a_K * diagonal_K + jnp.sum((2.0 * w_Kxr - e_Kxr) * factor_Kxr, axis=1)
        of_factor_Kxr = e_Kxr - shrunk_Kxr @ (factor_Kxr.T @ e_Kxr)
        return jnp.concatenate([of_log_d_K, of_factor_Kxr.reshape(-1)])

    d_K = jnp.exp(log_d_K)
    mean_K = d_K * times_m((d_K * grad_P[:K])[:, None])[:, 0]
    return jnp.concatenate([mean_K, _solve(fisher, grad_P[K:])])


def _reflect(x_K: Array, v_K: Array, square: Array) -> Array:
    return x_K - (2.0 * jnp.vdot(v_K, x_K) / square) * v_K


def householder(latent_dim: int, *, num_reflections: int) -> PosteriorFamily:
    """q = N(mu, Q diag(sigma^2) Q'), Q = H_1 ... H_m, H_i = I - 2 v_i v_i' / v_i' v_i.

    phi = [mu_K, log sigma_K, v_mxK], P = 2K + m K. Every orthogonal Q is a product of at most K reflections,
    so m = K is the full family; Q leaves the KL that of the diagonal family. A v_i of zero has no direction
    and gives values that are not finite. (Tomczak & Welling 2016, section 3; there mu is reflected too.)
    Raises ValueError for a number of reflections outside 1..K.
    """
    from vaelab.posterior.bijectors import LinearOperator

    K, m = latent_dim, num_reflections
    if not 1 <= m <= K:
        raise ValueError(f"the number of reflections must be from 1 to latent_dim={K}, not {m}")

    def operator(phi_P: Array) -> "LinearOperator":
        log_sigma_K, v_mxK = phi_P[K : 2 * K], phi_P[2 * K :].reshape(m, K)
        square_m = jnp.sum(v_mxK**2, axis=1)

        def apply(x_K: Array) -> Array:
            x_K = jnp.exp(log_sigma_K) * x_K
            for i in reversed(range(m)):
                x_K = _reflect(x_K, v_mxK[i], square_m[i])
            return x_K

        def solve(y_K: Array) -> Array:
            for i in range(m):
                y_K = _reflect(y_K, v_mxK[i], square_m[i])
            return jnp.exp(-log_sigma_K) * y_K

        return LinearOperator(K, apply, solve, log_abs_det(phi_P))

    def log_abs_det(phi_P: Array) -> Array:
        return jnp.sum(phi_P[K : 2 * K])

    def kl_to_prior(phi_P: Array) -> Array:
        mu_K, log_sigma_K = phi_P[:K], phi_P[K : 2 * K]
        return jnp.sum(0.5 * (jnp.expm1(2.0 * log_sigma_K) + mu_K**2) - log_sigma_K)

    def natural_gradient(phi_P: Array, grad_P: Array) -> Array:
        # KL ~ 1/4 ||A + A'||_F^2 with A = S^-1 dS = J d phi, J the derivative of `relative`.
        at_phi = operator(phi_P)
        solve = jax.vmap(at_phi.inverse, in_axes=1, out_axes=1)

        def relative(scale_R: Array) -> Array:
            return solve(operator(jnp.concatenate([phi_P[:K], scale_R])).matrix)

        _, push = jax.linearize(relative, phi_P[K:])
        pull = jax.linear_transpose(push, phi_P[K:])

        def metric(tangent_R: Array) -> Array:
            a_KxK = push(tangent_R)
            return pull(a_KxK + a_KxK.T + ROTATION * (a_KxK - a_KxK.T))[0]

        root_KxK = at_phi.matrix
        mean_K = root_KxK @ (root_KxK.T @ grad_P[:K])
        return jnp.concatenate([mean_K, _solve(metric, grad_P[K:])])

    def near(mu_K: Array, scale_KxK: Array) -> Array:
        v_mxK = _to_widest_axes(scale_KxK, m)
        turn = operator(jnp.concatenate([mu_K, jnp.zeros(K), v_mxK.reshape(-1)]))
        return jnp.concatenate([mu_K, mean_field_log_sd(scale_KxK, turn.matrix), v_mxK.reshape(-1)])

    init_P = jnp.concatenate([jnp.zeros(2 * K), jnp.eye(m, K).reshape(-1)])
    return _family("householder", K, init_P, operator, log_abs_det, kl_to_prior, natural_gradient, near)


def _to_widest_axes(scale_KxK: Array, m: int) -> Array:
    """v_mxK of the reflections that turn the first m coordinates to the widest axes of N(0, S S')."""
    return _reflections(eigh(scale_KxK @ scale_KxK.T)[1][:, ::-1][:, :m])


def _reflections(vector_Kxm: Array) -> Array:
    """v_mxK whose reflections' product has these orthonormal columns first, but for their signs.

    As Householder's QR factorisation makes them (Golub & Van Loan 2013, algorithm 5.2.1).
    """
    K, m = vector_Kxm.shape
    every = []
    for i in range(m):
        below_K = jnp.where(jnp.arange(K) >= i, vector_Kxm[:, i], 0.0)
        sign = jnp.where(below_K[i] < 0.0, -1.0, 1.0)
        v_K = below_K.at[i].add(sign * jnp.sqrt(jnp.sum(below_K**2)))
        vector_Kxm -= 2.0 * jnp.outer(v_K, v_K @ vector_Kxm) / jnp.sum(v_K**2)
        every.append(v_K)
    return jnp.stack(every)
