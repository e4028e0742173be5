"""What every family z = mu + S eps, eps ~ N(0, I), has in common."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax.numpy as jnp

from vaelab.linalg import inverse_and_log_abs_det
from vaelab.types import Array, GaussianGeometry, PosteriorFamily

if TYPE_CHECKING:
    import distrax


def sample_with_density(
    reparameterize: Callable[[Array, Array], Array], log_abs_det: Callable[[Array], Array]
) -> Callable[[Array, Array], tuple[Array, Array]]:
    """(phi, eps) -> (z, log q(z)) of a location-scale family: S^-1 (z - mu) is eps itself.

    log q(mu + S eps) = log N(eps; 0, I) - log|det S|, with no S inverted and no digits lost.
    """

    def sample_and_log_prob(phi_P: Array, eps_K: Array) -> tuple[Array, Array]:
        log_density = -0.5 * (eps_K @ eps_K + eps_K.shape[0] * math.log(2.0 * math.pi))
        return reparameterize(phi_P, eps_K), log_density - log_abs_det(phi_P)

    return sample_and_log_prob


def location_scale_family(
    name: str,
    latent_dim: int,
    param_size: int,
    init: Callable[[], Array],
    reparameterize: Callable[[Array, Array], Array],
    log_abs_det: Callable[[Array], Array],
    dist: "Callable[[Array], distrax.Distribution]",
    kl_to_prior: Callable[[Array], Array],
    gaussian: GaussianGeometry,
    near: Callable[[Array, Array], Array] | None = None,
) -> PosteriorFamily:
    """A Gaussian family from its parts; log_abs_det(phi_P) -> [] is log|det S|."""
    return PosteriorFamily(
        name=name,
        latent_dim=latent_dim,
        param_size=param_size,
        init=init,
        reparameterize=reparameterize,
        sample_and_log_prob=sample_with_density(reparameterize, log_abs_det),
        dist=dist,
        kl_to_prior=kl_to_prior,
        near=near,
        gaussian=gaussian,
    )


def mean_field_log_sd(scale_KxK: Array, turn_KxK: Array | None = None) -> Array:
    """log sigma_K, sigma_k^2 = 1 / (Q' (S S')^-1 Q)_kk, Q = turn or I: given the others, along Q's axes."""
    inverse_KxK, _ = inverse_and_log_abs_det(scale_KxK)
    root_KxK = inverse_KxK if turn_KxK is None else inverse_KxK @ turn_KxK
    return -0.5 * jnp.log(jnp.sum(root_KxK**2, axis=0))
