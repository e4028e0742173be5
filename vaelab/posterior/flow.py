"""Normalising flows: z = T(mu + sigma * eps), T invertible with weights w, phi = [mu_K, log sigma_K, w].

    log q(z) = log N(u; mu, sigma^2) - log|det dT/du| at u = T^-1(z)

An encoder emits mu and log sigma for each datapoint and shares w among all (`shared_size`); the inner loop
frees the whole of phi for each datapoint, a *local* flow. T is the identity at `init()`, so that a fresh flow
is the prior, while its hidden weights are random and its gradients are not zero. There is no closed form of
the KL.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vaelab.keys import named_key
from vaelab.model.likelihood import LOG_2PI
from vaelab.posterior.location_scale import mean_field_log_sd
from vaelab.types import Array, PosteriorFamily, SharedPhi

if TYPE_CHECKING:
    import distrax

MAX_LOG_SCALE = 3.0  # |log scale| of one layer stays below it: a soft bound, so that no draw overflows


def _shift_and_log_scale(raw_K: Array, raw_scale_K: Array) -> tuple[Array, Array]:
    return raw_K, MAX_LOG_SCALE * jnp.tanh(raw_scale_K / MAX_LOG_SCALE)


def _weights(key: jax.Array, mask_inxout: np.ndarray, out: int) -> dict[str, Array]:
    """One hidden layer: random inwards, zero outwards."""
    fan_in = np.maximum(mask_inxout.sum(axis=0), 1.0)
    w_in = jax.random.normal(key, mask_inxout.shape) / jnp.sqrt(jnp.asarray(fan_in, jnp.float32))[None, :]
    hidden = mask_inxout.shape[1]
    return {
        "in": w_in,
        "bias": jnp.zeros(hidden),
        "out": jnp.zeros((hidden, out)),
        "out_bias": jnp.zeros(out),
    }


def _network(w: dict[str, Array], x_K: Array, mask_in: np.ndarray, mask_out: np.ndarray) -> Array:
    hidden = jnp.tanh(x_K @ (w["in"] * mask_in) + w["bias"])
    return hidden @ (w["out"] * mask_out) + w["out_bias"]


def _flow(
    name: str,
    K: int,
    weights: list[dict[str, Array]],
    layer: Callable[[dict[str, Array], int], "distrax.Bijector"],
    *,
    slow_inverse: bool,
) -> PosteriorFamily:
    import distrax

    from vaelab.posterior.bijectors import chain

    flat_R, unravel = ravel_pytree(weights)

    def split(phi_P: Array | SharedPhi) -> tuple[Array, Array, list["distrax.Bijector"]]:
        """mu_K, log sigma_K and the layers of T, the first first."""
        phi = phi_P if isinstance(phi_P, SharedPhi) else SharedPhi(phi_P[: 2 * K], phi_P[2 * K :])
        return phi.local_P[:K], phi.local_P[K:], [layer(w, i) for i, w in enumerate(unravel(phi.shared_R))]

    def reparameterize(phi_P: Array | SharedPhi, eps_K: Array) -> Array:
        mu_K, log_sigma_K, layers = split(phi_P)
        return chain(layers).forward(mu_K + jnp.exp(log_sigma_K) * eps_K)

    def sample_and_log_prob(phi_P: Array | SharedPhi, eps_K: Array) -> tuple[Array, Array]:
        mu_K, log_sigma_K, layers = split(phi_P)
        z_K, log_det = chain(layers).forward_and_log_det(mu_K + jnp.exp(log_sigma_K) * eps_K)
        log_base = -0.5 * jnp.sum(eps_K**2 + LOG_2PI) - jnp.sum(log_sigma_K)
        return z_K, log_base - log_det

    def score_of_draw(phi_P: Array | SharedPhi, eps_K: Array) -> Array:
        mu_K, log_sigma_K, layers = split(phi_P)
        z_K, score_K = mu_K + jnp.exp(log_sigma_K) * eps_K, -eps_K * jnp.exp(-log_sigma_K)
        for bijector in layers:
            z_K, score_K = bijector.forward_with_score(z_K, score_K)
        return score_K

    def dist(phi_P: Array | SharedPhi) -> "distrax.Distribution":
        mu_K, log_sigma_K, layers = split(phi_P)
        base = distrax.Independent(distrax.Normal(mu_K, jnp.exp(log_sigma_K)), 1)
        return distrax.Transformed(base, chain(layers))

    def near(mu_K: Array, scale_KxK: Array) -> Array:
        # With the identity for T the mean-field optimum of N(mu, S S').
        return jnp.concatenate([mu_K, mean_field_log_sd(scale_KxK), flat_R])

    return PosteriorFamily(
        name=name,
        latent_dim=K,
        param_size=2 * K + flat_R.size,
        shared_size=flat_R.size,
        init=lambda: jnp.concatenate([jnp.zeros(2 * K), flat_R]),
        reparameterize=reparameterize,
        sample_and_log_prob=sample_and_log_prob,
        near=near,
        score_of_draw=score_of_draw if slow_inverse else None,
        dist=dist,
    )


def _check(latent_dim: int, num_layers: int, hidden: int) -> None:
    if latent_dim < 2 or min(num_layers, hidden) < 1:
        raise ValueError(
            f"a flow needs latent_dim >= 2 and a layer of one hidden unit at least, "
            f"not {latent_dim=} {num_layers=} {hidden=}"
        )


def real_nvp(latent_dim: int, *, num_layers: int, hidden: int) -> PosteriorFamily:
    """Affine couplings, each moving every other dimension (Dinh, Sohl-Dickstein & Bengio 2017, eq. 7-8).

    Raises ValueError for a size below 1 or a latent_dim below 2.
    """
    from vaelab.posterior.bijectors import coupling

    K = latent_dim
    _check(K, num_layers, hidden)
    keys = jax.random.split(named_key(0, "real_nvp"), num_layers)
    weights = [_weights(key, np.ones((K, hidden), np.float32), 2 * K) for key in keys]
    even_K = np.arange(K) % 2 == 0

    every_in, every_out = np.ones((K, hidden), np.float32), np.ones((hidden, 2 * K), np.float32)

    def layer(w: dict[str, Array], i: int) -> "distrax.Bijector":
        def parameters(x_K: Array) -> tuple[Array, Array]:
            raw_2K = _network(w, x_K, every_in, every_out)
            return _shift_and_log_scale(raw_2K[:K], raw_2K[K:])

        return coupling(even_K if i % 2 == 0 else ~even_K, parameters)

    return _flow("real_nvp", K, weights, layer, slow_inverse=False)


def iaf(latent_dim: int, *, num_layers: int, hidden: int) -> PosteriorFamily:
    """Inverse autoregressive flow, the order of the dimensions reversed from layer to layer.

    (Kingma et al. 2016, section 4; the masks are those of Germain et al. 2015, section 4.) Samples, with
    their density and its gradient, take one pass; the density at other z, as in importance sampling from
    another distribution, takes K. Raises ValueError for a size below 1 or a latent_dim below 2.
    """
    from vaelab.posterior.bijectors import InverseAutoregressive

    K = latent_dim
    _check(K, num_layers, hidden)
    degree_K, degree_H = np.arange(K), np.arange(hidden) % (K - 1)
    mask_in = np.float32(degree_K[:, None] <= degree_H[None, :])
    mask_out = np.tile(np.float32(degree_H[:, None] < degree_K[None, :]), (1, 2))
    keys = jax.random.split(named_key(0, "iaf"), num_layers)
    weights = [_weights(key, mask_in, 2 * K) for key in keys]

    def layer(w: dict[str, Array], i: int) -> "distrax.Bijector":
        def parameters(u_K: Array) -> tuple[Array, Array]:
            ordered_K = u_K if i % 2 == 0 else u_K[::-1]
            raw_2K = _network(w, ordered_K, mask_in, mask_out)
            shift_K, log_scale_K = _shift_and_log_scale(raw_2K[:K], raw_2K[K:])
            return (shift_K, log_scale_K) if i % 2 == 0 else (shift_K[::-1], log_scale_K[::-1])

        return InverseAutoregressive(parameters, reverse=i % 2 == 1)

    return _flow("iaf", K, weights, layer, slow_inverse=True)
