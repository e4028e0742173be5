"""p(x, z given y): y in the decoder and, where it is asked for, in the prior, beside x in each datapoint.

A datapoint is the row [x_D, y_C]; the likelihood scores x alone, given y, so that log p(x) is log p(x given
y) in all that is measured. A prior p(z given y) = N(m(y), diag(s(y)^2)) is one of u = (z - m(y)) / s(y),
N(0, I): the latent of the model is u, and the decoder reads m(y) + s(y) u. A bound does not change with such
a map of z, nor does the best one of a family that the map takes to itself: diagonal, per_level, full.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.model.prior import standard_normal
from vaelab.types import Array, Given, Key, LatentModel, Network, Params


class Condition(NamedTuple):
    """y of a data set: the first data_dim numbers of a row are x, the others y.

    kind: label, one-hot, or library_size, the log of the total of x
    weight_M: how often each of M y is drawn with x: each class of a label, or each of log_total_M; () of a
        library size where a loaded run has none to draw from, and its model no `sample`
    log_total_M: the y of a library size that are drawn; () of a label
    in_prior: whether p(z given y) has a mean and a scale for each y
    """

    kind: str
    data_dim: int
    weight_M: tuple[float, ...]
    log_total_M: tuple[float, ...] = ()
    in_prior: bool = False

    @property
    def size(self) -> int:
        return 1 if self.kind == "library_size" else len(self.weight_M)


def with_library_size(network: Network, latent_dim: int, data_dim: int) -> Network:
    """A decoder of [z_K, log l] for likelihoods of counts: log rate = log l + log softmax(its own of z).

    l times a part of each dimension, and the parts add up to 1. (Lopez et al. 2018.)
    """

    def apply(params: Params, zy: Array) -> Array:
        out_Q = network.apply(params, zy[:latent_dim])
        log_rate_D = zy[latent_dim] + jax.nn.log_softmax(out_Q[:data_dim])
        return jnp.concatenate([log_rate_D, out_Q[data_dim:]])

    return network._replace(apply=apply)


def conditioned(model: LatentModel, condition: Condition) -> LatentModel:
    """The model of x given y, of a decoder of [z, y] as it is made for latent_dim + C dimensions.

    theta = {"decoder": the model's own}, and with in_prior "shift_CxK" and "log_scale_CxK", both 0 at the
    start. One with a decoder that is affine, and a concave likelihood, is concave in z all the same.
    """
    size, D = condition.size, condition.data_dim
    K, prior = model.latent_dim - condition.size, standard_normal(model.latent_dim - condition.size)

    def init(key: Key) -> Params:
        own = {"shift_CxK": jnp.zeros((size, K)), "log_scale_CxK": jnp.zeros((size, K))}
        return {"decoder": model.init(key)} | (own if condition.in_prior else {})

    def both(theta: Params, z_K: Array, y_C: Array) -> Array:
        if condition.in_prior:
            z_K = y_C @ theta["shift_CxK"] + jnp.exp(y_C @ theta["log_scale_CxK"]) * z_K
        return jnp.concatenate([z_K, y_C])

    def log_likelihood(theta: Params, row_R: Array, z_K: Array) -> Array:
        return model.log_likelihood(theta["decoder"], row_R[:D], both(theta, z_K, row_R[D:]))

    def mean(theta: Params, z_K: Array, y_C: Array) -> Array:
        return model.mean(theta["decoder"], both(theta, z_K, y_C))

    def sample_of(theta: Params, key: Key, z_K: Array, y_C: Array) -> Array:
        return model.sample(theta["decoder"], key, both(theta, z_K, y_C))

    def sample(theta: Params, key: Key, z_K: Array) -> Array:
        key_x, key_y = jax.random.split(key)
        m = jax.random.categorical(key_y, jnp.log(jnp.array(condition.weight_M)))
        totals_M = condition.log_total_M
        y_C = jnp.array(totals_M)[m][None] if totals_M else jax.nn.one_hot(m, size)
        return jnp.concatenate([sample_of(theta, key_x, z_K, y_C), y_C])

    return LatentModel(
        latent_dim=K,
        init=init,
        log_prior=prior.log_prob,
        log_likelihood=log_likelihood,
        mean=None,
        sample=sample if condition.weight_M else None,
        # Under p(u) = N(0, I), and a decoder that is affine in m + s u.
        concavity=(lambda theta, row_R: jnp.eye(K)) if model.concavity else None,
        sample_prior=prior.sample,
        prior=prior.name,
        given=Given(condition.kind, D, size, mean, sample_of, condition.weight_M),
    )
