"""Families of approximate posteriors: phi -> q(z).

Each family is a location-scale law z = mu + S eps with eps ~ N(0, I), so q = N(mu, S S') and

    KL(q || N(0, I)) = 1/2 (||S||_F^2 + ||mu||^2 - K) - log|det S|                           (1)

S is known only up to S -> S Q with Q orthogonal: laws are compared by S S'. The Fisher information of
q, in the coordinates dmu and dS = S A, gives KL(q || q + d) ~ 1/2 dmu' (S S')^-1 dmu + 1/4 ||A + A'||_F^2,
so that with H = S' dL/dS symmetrised the natural gradient is (S S' dL/dmu, S H / 2).
"""

import distrax
import jax.numpy as jnp

from vaelab.linalg import inverse_and_log_abs_det
from vaelab.types import Array, PosteriorFamily


def diagonal(latent_dim: int) -> PosteriorFamily:
    """z = mu + sigma * eps with phi = [mu_K, log sigma_K], P = 2K: the mean-field Gaussian.

    KL = sum_i 1/2 (sigma_i^2 + mu_i^2 - 1) - log sigma_i  (Kingma & Welling 2014, appendix B).
    """
    K = latent_dim

    def split(phi_P: Array) -> tuple[Array, Array]:
        return phi_P[:K], phi_P[K:]

    def reparameterize(phi_P: Array, eps_K: Array) -> Array:
        mu_K, log_sigma_K = split(phi_P)
        return mu_K + jnp.exp(log_sigma_K) * eps_K

    def dist(phi_P: Array) -> distrax.Distribution:
        mu_K, log_sigma_K = split(phi_P)
        return distrax.Independent(distrax.Normal(mu_K, jnp.exp(log_sigma_K)), 1)

    def kl_to_prior(phi_P: Array) -> Array:
        mu_K, log_sigma_K = split(phi_P)
        # expm1 keeps (sigma^2 - 1)/2 - log sigma accurate where q is close to the prior.
        return jnp.sum(0.5 * (jnp.expm1(2.0 * log_sigma_K) + mu_K**2) - log_sigma_K)

    def natural_gradient(phi_P: Array, grad_P: Array) -> Array:
        _, log_sigma_K = split(phi_P)
        grad_mu_K, grad_log_sigma_K = split(grad_P)
        return jnp.concatenate([jnp.exp(2.0 * log_sigma_K) * grad_mu_K, 0.5 * grad_log_sigma_K])

    def location_scale(phi_P: Array) -> tuple[Array, Array]:
        mu_K, log_sigma_K = split(phi_P)
        return mu_K, jnp.diag(jnp.exp(log_sigma_K))

    def project(mu_K: Array, scale_KxK: Array) -> Array:
        # argmin KL(q || N(mu, S S')) keeps mu and takes sigma_i^2 = 1 / ((S S')^-1)_ii.
        inverse_KxK, _ = inverse_and_log_abs_det(scale_KxK)
        return jnp.concatenate([mu_K, -0.5 * jnp.log(jnp.sum(inverse_KxK**2, axis=0))])

    return PosteriorFamily(
        name="diagonal",
        latent_dim=K,
        param_size=2 * K,
        init=lambda: jnp.zeros(2 * K),
        reparameterize=reparameterize,
        dist=dist,
        kl_to_prior=kl_to_prior,
        natural_gradient=natural_gradient,
        location_scale=location_scale,
        project=project,
    )


class DenseLinear(distrax.Linear):
    """x -> S x for any invertible S_KxK.

    Unlike `distrax.UnconstrainedAffine` it inverts S once for all densities, and inside
    `distrax.MultivariateNormalFromBijector` it has a covariance and an exact KL.
    """

    def __init__(self, matrix_KxK: Array):
        super().__init__(matrix_KxK.shape[-1], (), matrix_KxK.dtype)
        self._matrix = matrix_KxK
        self._inverse, self._logdet = inverse_and_log_abs_det(matrix_KxK)

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


def full(latent_dim: int) -> PosteriorFamily:
    """z = mu + S eps with phi = [mu_K, S reshaped to K^2], P = K + K^2, S dense and unconstrained.

    The sign of det S is free. A singular S has no density on R^K: log q and the KL are then not finite.
    """
    K = latent_dim

    def location_scale(phi_P: Array) -> tuple[Array, Array]:
        return phi_P[:K], phi_P[K:].reshape(K, K)

    def join(mu_K: Array, scale_KxK: Array) -> Array:
        return jnp.concatenate([mu_K, scale_KxK.reshape(-1)])

    def reparameterize(phi_P: Array, eps_K: Array) -> Array:
        mu_K, scale_KxK = location_scale(phi_P)
        return mu_K + scale_KxK @ eps_K

    def dist(phi_P: Array) -> distrax.Distribution:
        mu_K, scale_KxK = location_scale(phi_P)
        return distrax.MultivariateNormalFromBijector(mu_K, DenseLinear(scale_KxK))

    def kl_to_prior(phi_P: Array) -> Array:
        mu_K, scale_KxK = location_scale(phi_P)
        # Subtracting 1 from each diagonal square before the sum keeps the KL accurate near the prior.
        frobenius_minus_K = jnp.sum(scale_KxK**2 - jnp.eye(K))
        return 0.5 * (frobenius_minus_K + jnp.sum(mu_K**2)) - inverse_and_log_abs_det(scale_KxK)[1]

    def natural_gradient(phi_P: Array, grad_P: Array) -> Array:
        _, scale_KxK = location_scale(phi_P)
        grad_mu_K, grad_scale_KxK = location_scale(grad_P)
        h_KxK = scale_KxK.T @ grad_scale_KxK
        return join(scale_KxK @ (scale_KxK.T @ grad_mu_K), 0.25 * scale_KxK @ (h_KxK + h_KxK.T))

    return PosteriorFamily(
        name="full",
        latent_dim=K,
        param_size=K + K * K,
        init=lambda: join(jnp.zeros(K), jnp.eye(K)),
        reparameterize=reparameterize,
        dist=dist,
        kl_to_prior=kl_to_prior,
        natural_gradient=natural_gradient,
        location_scale=location_scale,
        project=join,
    )
