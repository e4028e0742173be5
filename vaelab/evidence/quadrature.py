"""log p(x) by quadrature, for one datapoint and K <= 2: no draws, no bias, blind between its nodes."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.evidence.importance import Components
from vaelab.model.prior import standard_normal_log_prob
from vaelab.objective.draws import log_weight
from vaelab.types import Array, LogJoint, PosteriorFamily

MAX_DIM = 2
CHUNK = 1024  # nodes at a time
BEYOND = 4.0


class Quadrature(NamedTuple):
    """An integral over all z, in nats.

    log_evidence: log p(x)
    error: the largest of rounding, what taking every other node alone changes along the axes, for each half
        of the nodes, and what nodes beyond the square would add
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
    & Weideman 2014), so the error of the half as fine rules bounds that of this one, unless the posterior
    has mass outside the square, or a feature between all nodes: one that a single node meets is in one of the
    half as fine rules alone. q_phi near the posterior makes the integrand smooth: half_width 8 and 65 nodes
    reach float32 then. Narrow posteriors seen from the prior, and steep decoders, need more. For other modes
    than q_phi's, the same number of nodes lies in a square BEYOND times as wide; what those outside the first
    one would add is an error, and not added: a narrow mode may lie on one of them. `quadrature_over_modes`
    integrates about all the modes that are known.

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

    def log_f(eps_K: Array) -> Array:
        return standard_normal_log_prob(eps_K) + log_w(eps_K)

    inside = _on_grid(log_f, K, num_nodes, half_width)
    fine, error = _trapezium(inside, 2.0 * half_width / (num_nodes - 1))
    wide = _on_grid(log_f, K, num_nodes, BEYOND * half_width)
    axis_S = jnp.linspace(-BEYOND * half_width, BEYOND * half_width, num_nodes)
    outside_S = jnp.abs(axis_S) > half_width
    is_beyond = outside_S if K == 1 else outside_S[:, None] | outside_S[None, :]
    # Far out a density may be NaN that is 0 there: no mass is counted where none can be told.
    wide = jnp.where(is_beyond & ~jnp.isnan(wide), wide, -jnp.inf)
    added = jax.nn.logsumexp(wide) + K * jnp.log(BEYOND * 2.0 * half_width / (num_nodes - 1))
    error = jnp.maximum(error, jnp.logaddexp(fine, added) - fine)
    return Quadrature(fine, jnp.where(jnp.isfinite(fine), error, jnp.inf))


def _on_grid(log_f: LogJoint, latent_dim: int, num_nodes: int, half_width: float) -> Array:
    axis_S = jnp.linspace(-half_width, half_width, num_nodes)
    eps_SxK = jnp.stack(jnp.meshgrid(*[axis_S] * latent_dim, indexing="ij"), axis=-1).reshape(-1, latent_dim)
    return jax.lax.map(log_f, eps_SxK, batch_size=CHUNK).reshape([num_nodes] * latent_dim)


def _trapezium(values: Array, spacing: float) -> tuple[Array, Array]:
    """(log of the integral, its error) of exp(values) on a square grid: every half as fine rule beside it."""
    K = values.ndim
    fine = jax.nn.logsumexp(values) + K * jnp.log(spacing)
    halves = [
        jax.nn.logsumexp(values[tuple(slice(first, None, 2) for first in firsts)])
        + K * jnp.log(2.0 * spacing)
        for firsts in itertools.product((0, 1), repeat=K)
    ]
    error = jnp.max(jnp.abs(jnp.stack(halves) - fine))
    return fine, jnp.maximum(error, 4.0 * jnp.finfo(fine.dtype).eps * jnp.abs(fine))


def quadrature_over_modes(
    log_joint: LogJoint, components: Components, *, num_nodes: int, half_width: float
) -> Quadrature:
    """log int p(x, z) dz as a sum over the modes, each on a square of its own.

        int f = sum_m int f r_m,        r_m(z) = a_m c_m(z) / sum_j a_j c_j(z),        sum_m r_m = 1,

    c_m a Gaussian distribution about mode m at its scale, and a_m its weight: where f is nearly the sum of
    a_m c_m, f r_m is nearly a_m c_m, whatever the widths and however far apart. What nodes outside of all
    these squares, in ones BEYOND times as wide, would add is an error; what lies between all nodes is not
    seen.
    """
    K = components.mu_MxK.shape[1]

    def away(z_K: Array) -> Array:
        return jnp.einsum("mij,mj->mi", components.inverse_MxKxK, z_K[None, :] - components.mu_MxK)

    def log_shares(z_K: Array) -> Array:
        square_M = jnp.sum(away(z_K) ** 2, axis=1)
        return jax.nn.log_softmax(components.log_weight_M - components.log_det_M - 0.5 * square_M)

    def about(m: Array) -> tuple[Array, Array, Array]:
        some = components.log_weight_M[m] > -jnp.inf

        def log_f(eps_K: Array) -> Array:
            z_K = components.mu_MxK[m] + components.scale_MxKxK[m] @ eps_K
            return log_joint(z_K) + log_shares(z_K)[m] + components.log_det_M[m]

        def log_f_beyond(eps_K: Array) -> Array:
            z_K = components.mu_MxK[m] + components.scale_MxKxK[m] @ eps_K
            seen_M = jnp.all(jnp.abs(away(z_K)) <= half_width, axis=1) & (components.log_weight_M > -jnp.inf)
            value = log_f(eps_K)
            return jnp.where(jnp.any(seen_M) | jnp.isnan(value), -jnp.inf, value)

        fine, error = _trapezium(_on_grid(log_f, K, num_nodes, half_width), spacing)
        added = jax.nn.logsumexp(_on_grid(log_f_beyond, K, num_nodes, BEYOND * half_width))
        parts = fine, added + K * jnp.log(BEYOND * spacing)
        return *(jnp.where(some, part, -jnp.inf) for part in parts), jnp.where(some, error, 0.0)

    spacing = 2.0 * half_width / (num_nodes - 1)
    part_M, beyond_M, error_M = jax.lax.map(about, jnp.arange(len(components.mu_MxK)))
    total = jax.nn.logsumexp(part_M)
    error = jnp.sum(jnp.exp(part_M - total) * jnp.expm1(error_M)) + jnp.sum(jnp.exp(beyond_M - total))
    rounding = 4.0 * jnp.finfo(total.dtype).eps * jnp.abs(total)
    return Quadrature(total, jnp.where(jnp.isfinite(total), jnp.maximum(jnp.log1p(error), rounding), jnp.inf))


def evaluations(latent_dim: int, *, num_nodes: int) -> int:
    """Evaluations of the decoder that `quadrature` takes for one datapoint, values alone."""
    return 2 * num_nodes**latent_dim
