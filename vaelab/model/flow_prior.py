"""A normalising flow as a prior: the distributions of a flow family, one of them learned with the model."""

import jax

from vaelab.model.prior import Prior
from vaelab.types import Array, Key, Params, PosteriorFamily


def flow_prior(latent_dim: int, *, family: PosteriorFamily) -> Prior:
    """p(z) = N(u; mu, sigma^2) |det du/dz|, u an invertible function of z; parameters phi_P of the family.

    A coupling flow (Dinh, Sohl-Dickstein & Bengio 2017) has z = T(u) as in the family. An autoregressive one,
    whose T takes one pass forward and K backward, is turned round, u = T(z): the density, which each step of
    training and of inference asks for, takes one pass, and a sample K (Papamakarios, Pavlakou & Murray 2017;
    as a prior Chen et al. 2017). N(0, I) at the start; the inner weights are the same for every seed.
    """
    turned = family.score_of_draw is not None  # what a family has whose density takes K passes

    def log_prob(params: Params, z_K: Array) -> Array:
        distribution = family.dist(params["phi_P"])
        if not turned:
            return distribution.log_prob(z_K)
        u_K, log_det = distribution.bijector.forward_and_log_det(z_K)
        return distribution.distribution.log_prob(u_K) + log_det

    def sample(params: Params, key: Key) -> Array:
        eps_K, phi_P = jax.random.normal(key, (latent_dim,)), params["phi_P"]
        if not turned:
            return family.reparameterize(phi_P, eps_K)
        u_K = phi_P[:latent_dim] + jax.numpy.exp(phi_P[latent_dim : 2 * latent_dim]) * eps_K
        return family.dist(phi_P).bijector.inverse(u_K)

    return Prior("flow", lambda key: {"phi_P": family.init()}, log_prob, sample)
