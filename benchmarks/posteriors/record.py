"""What is known of the posteriors of a group: `Posteriors`; the best diagonal bound by dense quadrature."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.model.prior import standard_normal_log_prob
from vaelab.types import Array

HALF_WIDTH = 8.0  # of the nodes, in standard deviations of q
NODES = {1: 2001, 2: 161}  # along each axis


class Posteriors(NamedTuple):
    """N posteriors of one shape, the datapoints of one audit; x is what the audit sees, in float32.

    density: (x, z_K) -> [], log p(x, z), or log p(x given z) under N(0, I) where is_likelihood
    encode: (mu_NxK, sigma_NxK), or None
    log_evidence_N: log p(x) of the float32 numbers in x, in float64
    best_diagonal_N: the largest L[q] of all diagonal Gaussians q; NaN where it is not known
    attained_N: what L[q] of one of them is, or more: the best is no lower; NaN where none is at hand
    num_parts_N: the components of the posterior, overlapping ones too
    num_modes_N: its modes, but for those of less than 1% of the heaviest's mass; 0 where their number is not
        clear
    apart_N: the largest Mahalanobis distance of two parts under the mean of their covariances; 0 of one part
    kind_N: a word for each datapoint: what it is, and what is particular in its encoder
    starts_NxSx2K: (mean, log sd) from which the best diagonal q is looked for, where K <= 2
    """

    latent_dim: int
    density: Callable[[Any, Array], Array]
    is_likelihood: bool
    x: dict[str, np.ndarray]
    encode: tuple[np.ndarray, np.ndarray] | None
    log_evidence_N: np.ndarray
    best_diagonal_N: np.ndarray
    attained_N: np.ndarray
    num_parts_N: np.ndarray
    num_modes_N: np.ndarray
    apart_N: np.ndarray
    kind_N: np.ndarray
    starts_NxSx2K: np.ndarray | None

    def log_joint(self, x: Any, z_K: Array) -> Array:
        """log p(x, z) of one datapoint, in the precision of its arguments; nats."""
        value = self.density(x, z_K)
        return value + standard_normal_log_prob(z_K) if self.is_likelihood else value

    def first(self, count: int) -> "Posteriors":
        """The group of the first `count` datapoints."""
        return self.at(np.arange(min(count, len(self.log_evidence_N))))

    def at(self, rows: np.ndarray) -> "Posteriors":
        """The group of these datapoints, in this order."""
        fields = ("x", "encode", "log_evidence_N", "best_diagonal_N", "attained_N")
        fields += ("num_parts_N", "num_modes_N", "apart_N", "kind_N", "starts_NxSx2K")
        kept = {name: jax.tree.map(lambda a: np.asarray(a)[rows], getattr(self, name)) for name in fields}
        return self._replace(**kept)


def float32(**arrays: Any) -> dict[str, np.ndarray]:
    """The arrays as an audit sees them; every exact value is of these numbers."""
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}


def single(x: dict[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
    """One datapoint, in float64."""
    return {name: np.asarray(array[row], np.float64) for name, array in x.items()}


def moments_start(mean_NxK: np.ndarray, sd_NxK: np.ndarray) -> np.ndarray:
    """starts_NxSx2K of a single start, and of one with half its standard deviations."""
    rows = [np.concatenate([mean_NxK, np.log(sd_NxK * factor)], axis=1) for factor in (1.0, 0.5)]
    return np.stack(rows, axis=1)


def with_best_diagonal(group: Posteriors) -> Posteriors:
    """The group with the unknown best diagonal bounds filled in, where K <= 2 and there are starts.

    L[q] = E_q[log p(x, z)] + sum_k log s_k + K / 2 log(2 pi e) by the trapezium rule in float64, climbed by
    L-BFGS from every start; the highest is taken.
    """
    K = group.latent_dim
    unknown = np.flatnonzero(np.isnan(group.best_diagonal_N))
    if K not in NODES or group.starts_NxSx2K is None or not unknown.size:
        return group
    best_N = group.best_diagonal_N.copy()
    with jax.enable_x64(True):
        axis_S = jnp.linspace(-HALF_WIDTH, HALF_WIDTH, NODES[K])
        eps_SxK = jnp.stack(jnp.meshgrid(*[axis_S] * K, indexing="ij"), axis=-1).reshape(-1, K)
        weight_S = jnp.exp(-0.5 * jnp.sum(eps_SxK**2, axis=1))
        weight_S = weight_S / jnp.sum(weight_S)

        def bound(phi: Array, x: Any) -> Array:
            mean_K, log_sd_K = phi[:K], phi[K:]
            z_SxK = mean_K[None] + jnp.exp(log_sd_K)[None] * eps_SxK
            expected = weight_S @ jax.vmap(group.log_joint, (None, 0))(x, z_SxK)
            return expected + jnp.sum(log_sd_K) + 0.5 * K * jnp.log(2.0 * jnp.pi * jnp.e)

        value_and_grad = jax.jit(jax.value_and_grad(bound))
        for row in unknown:
            best_N[row] = _climbed(value_and_grad, single(group.x, row), group.starts_NxSx2K[row])
    best_N[unknown] = np.fmax(best_N, group.attained_N)[unknown]
    return group._replace(best_diagonal_N=best_N, attained_N=best_N)


def _climbed(value_and_grad: Callable[..., Any], x: Any, starts_SxP: np.ndarray) -> float:
    """The highest of the local optima from all starts, NaN if none is finite."""
    from scipy import optimize

    def loss(step: np.ndarray, start: np.ndarray, scale: np.ndarray) -> tuple[float, np.ndarray]:
        value, grad = value_and_grad(jnp.asarray(start + scale * step, jnp.float64), x)
        return -float(value), -scale * np.asarray(grad)

    ends = []
    for start in np.unique(starts_SxP, axis=0):
        # The mean in standard deviations of the start: a thin q is no worse conditioned than a wide one.
        mean_scale = np.exp(start[start.size // 2 :])
        fit = optimize.minimize(
            loss,
            np.zeros(start.size),
            args=(start, np.concatenate([mean_scale, np.ones_like(mean_scale)])),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 300, "ftol": 1e-13, "gtol": 1e-7},
        )
        ends.append(-fit.fun)
    return float(np.nanmax(ends))
