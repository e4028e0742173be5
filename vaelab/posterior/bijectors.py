"""Bijectors that distrax has not: what families build their distributions of.

The one file of vaelab that imports distrax when it is imported itself, which takes a second: a family imports
it where it is made, and not where its distribution is, which may be inside a function that JAX traces.
"""

from collections.abc import Callable, Sequence

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from vaelab.types import Array


class DenseLinear(distrax.Linear):
    """x -> S x for any invertible S_KxK.

    Unlike `distrax.UnconstrainedAffine` it inverts S once for all densities, and inside
    `distrax.MultivariateNormalFromBijector` it has a covariance and an exact KL.
    """

    def __init__(self, matrix_KxK: Array, inverse_KxK: Array, log_abs_det: Array):
        super().__init__(matrix_KxK.shape[-1], (), matrix_KxK.dtype)
        self._matrix, self._inverse, self._logdet = matrix_KxK, inverse_KxK, log_abs_det

    @property
    def matrix(self) -> Array:
        return self._matrix

    def forward(self, x: Array) -> Array:
        return x @ self._matrix.T

    def inverse(self, y: Array) -> Array:
        return y @ self._inverse.T

    def forward_log_det_jacobian(self, x: Array) -> Array:
        return jnp.broadcast_to(self._logdet, x.shape[:-1])

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        return self.forward(x), self.forward_log_det_jacobian(x)

    def inverse_log_det_jacobian(self, y: Array) -> Array:
        return jnp.broadcast_to(-self._logdet, y.shape[:-1])

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        return self.inverse(y), self.inverse_log_det_jacobian(y)

    def same_as(self, other: distrax.Bijector) -> bool:
        return type(other) is DenseLinear and self._matrix is other._matrix


class LinearOperator(distrax.Linear):
    """x -> S x by functions of one vector: `apply(x_K) = S x`, `solve(y_K) = S^-1 y`."""

    def __init__(
        self, size: int, apply: Callable[[Array], Array], solve: Callable[[Array], Array], log_abs_det: Array
    ):
        super().__init__(size, (), log_abs_det.dtype)
        self._apply = jnp.vectorize(apply, signature="(k)->(k)")
        self._solve = jnp.vectorize(solve, signature="(k)->(k)")
        self._log_abs_det = log_abs_det

    @property
    def matrix(self) -> Array:
        return self._apply(jnp.eye(self.event_dims)).T

    def forward(self, x: Array) -> Array:
        return self._apply(x)

    def inverse(self, y: Array) -> Array:
        return self._solve(y)

    def forward_log_det_jacobian(self, x: Array) -> Array:
        return jnp.broadcast_to(self._log_abs_det, x.shape[:-1])

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        return self.forward(x), self.forward_log_det_jacobian(x)

    def inverse_log_det_jacobian(self, y: Array) -> Array:
        return jnp.broadcast_to(-self._log_abs_det, y.shape[:-1])

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        return self.inverse(y), self.inverse_log_det_jacobian(y)

    def same_as(self, other: distrax.Bijector) -> bool:
        return self is other


class InverseAutoregressive(distrax.Bijector):
    """u_K -> z_K with z_i = u_i exp(s_i) + t_i, s_i and t_i functions of u_<i; one pass forward, K back.

    parameters(u_K) -> (t_K, s_K), autoregressive in the order of the dimensions, or against it: `reverse`.
    """

    def __init__(self, parameters: Callable[[Array], tuple[Array, Array]], *, reverse: bool):
        super().__init__(event_ndims_in=1)
        self._parameters, self._lower = parameters, not reverse

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        def one(u_K: Array) -> tuple[Array, Array]:
            shift_K, log_scale_K = self._parameters(u_K)
            return u_K * jnp.exp(log_scale_K) + shift_K, jnp.sum(log_scale_K)

        return jnp.vectorize(one, signature="(k)->(k),()")(x)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        def one(z_K: Array) -> tuple[Array, Array]:
            def settle(u_K: Array, _: None) -> tuple[Array, None]:
                # Each pass makes one more dimension exact, from the first on.
                shift_K, log_scale_K = self._parameters(u_K)
                return (z_K - shift_K) * jnp.exp(-log_scale_K), None

            u_K, _ = jax.lax.scan(settle, jnp.zeros_like(z_K), None, length=z_K.size)
            return u_K, -jnp.sum(self._parameters(u_K)[1])

        return jnp.vectorize(one, signature="(k)->(k),()")(y)

    def same_as(self, other: distrax.Bijector) -> bool:
        return self is other

    def forward_with_score(self, u_K: Array, score_K: Array) -> tuple[Array, Array]:
        """z = T(u), and grad_z of its log density from that of u's: J^-T (score - grad_u log|det J|).

        J = dT/du is triangular. No inverse of T is needed. (Vaitl, Winkler, Richter & Kessel 2024, "Fast and
        unified path gradient estimators for normalizing flows".)
        """

        def forward(u_K: Array) -> tuple[tuple[Array, Array], Array]:
            z_K, log_det = self.forward_and_log_det(u_K)
            return (z_K, log_det), z_K

        (jacobian_KxK, grad_K), z_K = jax.jacfwd(forward, has_aux=True)(u_K)
        return z_K, solve_triangular(jacobian_KxK, score_K - grad_K, trans=1, lower=self._lower)


class LevelByLevel(distrax.Bijector):
    """eps_K -> z_K, z_l = mean_l + exp(log sd_l) eps_l with both functions of the levels before it.

    conditional(l, z_K) -> (mean, log sd) of level l, at[l] of z; order: of the levels, the first first.
    """

    def __init__(
        self,
        conditional: Callable[[int, Array], tuple[Array, Array]],
        at: Sequence[slice],
        order: Sequence[int],
    ):
        super().__init__(event_ndims_in=1)
        self._conditional, self._at, self._order = conditional, at, order

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        def one(eps_K: Array) -> tuple[Array, Array]:
            z_K, log_det = jnp.zeros_like(eps_K), jnp.zeros(())
            for l in self._order:
                mean, log_sd = self._conditional(l, z_K)
                z_K = z_K.at[self._at[l]].set(mean + jnp.exp(log_sd) * eps_K[self._at[l]])
                log_det += jnp.sum(log_sd)
            return z_K, log_det

        return jnp.vectorize(one, signature="(k)->(k),()")(x)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        def one(z_K: Array) -> tuple[Array, Array]:
            parts = [self._conditional(l, z_K) for l in range(len(self._at))]
            mean_K, log_sd_K = (jnp.concatenate(part) for part in zip(*parts, strict=True))
            return (z_K - mean_K) * jnp.exp(-log_sd_K), -jnp.sum(log_sd_K)

        return jnp.vectorize(one, signature="(k)->(k),()")(y)

    def same_as(self, other: distrax.Bijector) -> bool:
        return self is other


def coupling(mask_K: np.ndarray, parameters: Callable[[Array], tuple[Array, Array]]) -> distrax.Bijector:
    """x_i -> x_i where the mask is true, else x_i exp(s_i) + t_i, t and s of those that stay."""

    def inner(shift_and_log_scale: tuple[Array, Array]) -> distrax.Bijector:
        shift_K, log_scale_K = shift_and_log_scale
        return distrax.ScalarAffine(shift=shift_K, log_scale=log_scale_K)

    return distrax.MaskedCoupling(mask_K, parameters, inner)


def chain(layers: list[distrax.Bijector]) -> distrax.Bijector:
    """The layers one after the other, the first first."""
    return distrax.Chain(layers[::-1])  # distrax applies a chain from its last to its first
