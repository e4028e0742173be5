"""log p(x) by quadrature, for one datapoint and K <= 2: no draws, no bias."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.model.prior import standard_normal_log_prob
from vaelab.objective.draws import log_weight
from vaelab.types import Array, LogJoint, PosteriorFamily

MAX_DIM = 2
CHUNK = 1024  # nodes at a time
BEYOND = 4.0


class Quadrature(NamedTuple):
    """An integral over all z, in nats.

    log_evidence: log p(x)
    error: the largest of rounding, what leaving out every other node along each axis changes, and what the
        nodes beyond the square added
    """

    log_evidence: Array
    error: Array

    @property
    def finite(self) -> Array:
        return jnp.isfinite(self.log_evidence) & jnp.isfinite(self.error)


def quadrature(
    log_joint: LogJoint, family: PosteriorFamily, phi_P: Array, *, num_nodes: int, half_width: float
) -> Quadrature:
    """log int N(eps; 0, I) w(eps) deps, w = p(x, z) / q_phi(z) at z = reparameterize(phi, eps).

    The trapezium rule with num_nodes (odd) along each axis of eps, from -half_width to half_width. For an
    analytic integrand that is small at the ends it converges faster than any power of the spacing (Trefethen
    & Weideman 2014), so the error of the half as fine rule bounds that of this one, unless the posterior
    has mass outside the square, or a feature between all nodes. q_phi near the posterior makes the integrand
    smooth: half_width 8 and 65 nodes reach float32 then. Narrow posteriors seen from the prior, and steep
    decoders, need more. For other modes than q_phi's, the same number of nodes lies in a square BEYOND times
    as wide; those outside the first one are added, and what they add is an error.

    Raises ValueError for K > 2, and for an even num_nodes.
    """
    K = family.latent_dim
    if K > MAX_DIM:
        raise ValueError(
            f"quadrature is for at most {MAX_DIM} latent dimensions and the model has {K}: take annealing"
        )
    if num_nodes % 2 == 0 or num_nodes < 3:
        raise ValueError(
            f"num_nodes={num_nodes} must be odd, and 3 or more, so that half the nodes are a rule"
        )
    log_w = log_weight(log_joint, family, phi_P, phi_P)
    axis_S = jnp.linspace(-half_width, half_width, num_nodes)
    eps_SxK = jnp.stack(jnp.meshgrid(*[axis_S] * K, indexing="ij"), axis=-1).reshape(-1, K)
    spacing = 2.0 * half_width / (num_nodes - 1)

    def log_f(eps_SxK: Array) -> Array:
        def one(eps_K: Array) -> Array:
            return standard_normal_log_prob(eps_K) + log_w(eps_K)

        return jax.lax.map(one, eps_SxK, batch_size=CHUNK).reshape([num_nodes] * K)

    def rule(values: Array, spacing: float) -> Array:
        return jax.nn.logsumexp(values) + K * jnp.log(spacing)

    inside = log_f(eps_SxK)
    fine, coarse = rule(inside, spacing), rule(inside[(slice(None, None, 2),) * K], 2.0 * spacing)
    is_beyond = jnp.any(jnp.abs(BEYOND * eps_SxK) > half_width, axis=1).reshape(inside.shape)
    wide = jnp.where(is_beyond, log_f(BEYOND * eps_SxK), -jnp.inf)
    # Far out a density may be NaN that is 0 there: no mass is counted where none can be told.
    total = jnp.logaddexp(fine, rule(jnp.where(jnp.isnan(wide), -jnp.inf, wide), BEYOND * spacing))
    rounding = 4.0 * jnp.finfo(fine.dtype).eps * jnp.abs(fine)
    error = jnp.maximum(jnp.maximum(jnp.abs(fine - coarse), total - fine), rounding)
    return Quadrature(total, jnp.where(jnp.isfinite(fine), error, jnp.inf))


def evaluations(latent_dim: int, *, num_nodes: int) -> int:
    """Evaluations of the decoder that `quadrature` takes for one datapoint, values alone."""
    return 2 * num_nodes**latent_dim
