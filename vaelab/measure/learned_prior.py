"""What the q of datapoints are worth against a prior that is learned: its log density at draws of them; nats.

    KL(q || p) = KL(q || N(0, I)) + E_q[ log N(z; 0, I) - log p(z) ],

the first part in closed form for a Gaussian q and the second from draws, whatever the density of the prior.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.keys import purpose_key
from vaelab.measure.subject import Subject
from vaelab.model.prior import has_known_prior, standard_normal_log_prob
from vaelab.runtime.chunks import map_datapoints
from vaelab.types import Array, Key, LatentModel, Params, PosteriorFamily


def is_learned(model: LatentModel) -> bool:
    """Whether p(z) is known and not N(0, I); a user's log p(x, z) does not say what it is."""
    return not has_known_prior(model) and model.prior is not None


def log_prior_at(subject: Subject, z_NxSxK: np.ndarray) -> np.ndarray:
    """log p(z) of each of these z, `[N, S]`."""
    rows = (np.float32(z_NxSxK),)
    static, memory = (subject.model,), subject.settings.memory
    return np.float64(map_datapoints(_log_prior, subject.theta, rows, static=static, chunk_size=memory))


def _log_prior(model: LatentModel, theta: Params, row: tuple[Array]) -> Array:
    return jax.vmap(model.log_prior, (None, 0))(theta, row[0])


def beyond_standard(
    subject: Subject, family: PosteriorFamily, phi_NxP: np.ndarray, index_N: np.ndarray, num_draws: int
) -> np.ndarray:
    """E_q[log N(z; 0, I) - log p(z)] of each datapoint, `[N]`, from num_draws draws with both signs.

    The draws of a datapoint are those of its index. NaN where phi is not finite.
    """
    key = purpose_key(subject.keys.inference, "rate")
    static, rows = (subject.model, family, num_draws), (np.asarray(phi_NxP), index_N)
    memory = subject.settings.memory
    shared = subject.theta, key
    return np.float64(map_datapoints(_beyond, shared, rows, static=static, chunk_size=memory))


def _beyond(
    model: LatentModel, family: PosteriorFamily, num_draws: int, shared: tuple[Params, Key], row: Any
) -> Array:
    (theta, key), (phi_P, index) = shared, row
    eps_SxK = jax.random.normal(jax.random.fold_in(key, index), (num_draws, family.latent_dim))

    def one(eps_K: Array) -> Array:
        z_K = family.reparameterize(phi_P, eps_K)
        return standard_normal_log_prob(z_K) - model.log_prior(theta, z_K)

    return jnp.mean(jax.vmap(one)(jnp.concatenate([eps_SxK, -eps_SxK])))
