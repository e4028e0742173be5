"""An autoregressive prior, p(z) = prod_k p(z_k given z_<k), each factor a mixture of Gaussian distributions.

One masked network gives all factors in one pass (Germain et al. 2015); a sample takes K, one for each z_k.
"""

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.model.likelihood import LOG_2PI
from vaelab.model.prior import Prior
from vaelab.types import Array, Key, Params

MAX_LOG_SCALE = 5.0  # |log scale| of a component stays below it: a soft bound, so that nothing overflows


def autoregressive(latent_dim: int, *, hidden: int, num_gaussians: int) -> Prior:
    """The prior with one hidden layer, tanh, and num_gaussians components for each latent dimension.

    At the start the dimensions are independent, each an even mixture with mean 0 and variance 1; a single
    component is N(0, 1).
    """
    K, C = latent_dim, num_gaussians
    degree_K, degree_H = np.arange(K), np.arange(hidden) % max(K - 1, 1)
    mask_KxH = np.float32(degree_K[:, None] <= degree_H[None, :])
    # The last layer is [hidden, 3 C K], of each parameter of each component those of all dimensions.
    mask_HxQ = np.tile(np.float32(degree_H[:, None] < degree_K[None, :]), (1, 3 * C))
    fan_in_H = np.maximum(mask_KxH.sum(axis=0), 1.0)
    # Half of the variance at the start is that of the centres, where there are several.
    place_C = np.arange(C) - 0.5 * (C - 1)
    centre_C = place_C * np.sqrt(0.5 / np.mean(place_C**2)) if C > 1 else np.zeros(1)
    log_scale = 0.5 * np.log1p(-np.mean(centre_C**2))

    def init(key: Key) -> Params:
        start_3xCxK = np.zeros((3, C, K), np.float32)
        start_3xCxK[1] = centre_C[:, None]
        start_3xCxK[2] = MAX_LOG_SCALE * np.arctanh(log_scale / MAX_LOG_SCALE)
        inwards_KxH = jax.random.normal(key, mask_KxH.shape) / jnp.sqrt(fan_in_H)[None, :]
        return {
            "in_KxH": inwards_KxH,
            "bias_H": jnp.zeros(hidden),
            "out_HxQ": jnp.zeros((hidden, 3 * C * K)),
            "bias_Q": jnp.asarray(start_3xCxK.reshape(-1)),
        }

    def factors(params: Params, z_K: Array) -> tuple[Array, Array, Array]:
        """log weights, means and log scales, `[C, K]` each; column k is a function of z_<k."""
        hidden_H = jnp.tanh(z_K @ (params["in_KxH"] * mask_KxH) + params["bias_H"])
        out_Q = hidden_H @ (params["out_HxQ"] * mask_HxQ) + params["bias_Q"]
        logit_CxK, mean_CxK, raw_CxK = out_Q.reshape(3, C, K)
        log_scale_CxK = MAX_LOG_SCALE * jnp.tanh(raw_CxK / MAX_LOG_SCALE)
        return jax.nn.log_softmax(logit_CxK, axis=0), mean_CxK, log_scale_CxK

    def log_prob(params: Params, z_K: Array) -> Array:
        log_weight_CxK, mean_CxK, log_scale_CxK = factors(params, z_K)
        square_CxK = ((z_K[None, :] - mean_CxK) * jnp.exp(-log_scale_CxK)) ** 2
        log_CxK = log_weight_CxK - 0.5 * square_CxK - log_scale_CxK - 0.5 * LOG_2PI
        return jnp.sum(jax.nn.logsumexp(log_CxK, axis=0))

    def sample(params: Params, key: Key) -> Array:
        key_component, key_z = jax.random.split(key)
        noise_CxK = jax.random.gumbel(key_component, (C, K))
        eps_K = jax.random.normal(key_z, (K,))

        def settle(z_K: Array, _: None) -> tuple[Array, None]:
            # Each pass makes one more dimension final, from the first on.
            log_weight_CxK, mean_CxK, log_scale_CxK = factors(params, z_K)
            chosen_1xK = jnp.argmax(log_weight_CxK + noise_CxK, axis=0)[None]
            mean_K, log_scale_K = (
                jnp.take_along_axis(a, chosen_1xK, axis=0)[0] for a in (mean_CxK, log_scale_CxK)
            )
            return mean_K + jnp.exp(log_scale_K) * eps_K, None

        return jax.lax.scan(settle, jnp.zeros(K), None, length=K)[0]

    return Prior("autoregressive", init, log_prob, sample)
