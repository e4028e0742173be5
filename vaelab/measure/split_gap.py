"""Where the amortization gap sits: in the mean of q or in its scale, and in which dimension; nats.

Gaussian q_phi = N(mu, S S') and q* = N(mu*, S* S*'), and two bounds between theirs:

    mean first     [ L(mu*, S) - L(mu, S) ]  +  [ L(mu*, S*) - L(mu*, S) ]
    scale first    [ L(mu, S*) - L(mu, S) ]  +  [ L(mu*, S*) - L(mu, S*) ]

Either way mean and scale add up to the gap. Where the ways differ, by the interaction of mean and scale,
neither is the right one: their mean is reported, and both. For a Gaussian posterior of precision Lam they are
the same,

    mean    1/2 (mu - mu*)' Lam (mu - mu*)
    scale   1/2 sum_i (u_i - 1 - log u_i), u_i = Lam_ii s_i^2, for a diagonal S

By dimension the first way is a path: L(mu*, S) - L(mu, S) = sum_k (mu*_k - mu_k) int_0^1 dL/dmu_k dt along
the straight line from mu to mu*, and for the diagonal family another from log sigma to log sigma* at mu*.
What two dimensions gain together they share (Aumann & Shapley 1974; Sundararajan, Taly & Yan 2017).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.measure.fit import LocalFit, Problem
from vaelab.measure.gap import mean_and_stderr
from vaelab.model.latent import bind
from vaelab.model.prior import standard_normal_log_prob
from vaelab.runtime.chunks import map_runs, rows_at_a_time
from vaelab.runtime.memory import Memory
from vaelab.types import Array, LatentModel, Params, PosteriorFamily

NUM_NODES = 3  # of Gauss-Legendre quadrature along each line: exact for polynomials of degree 5


class GapSplit(NamedTuple):
    """Parts of the gap at the datapoints at which it is split, `[n, ...]` each.

    mean_gain_nx2: L(mu*, S) - L(mu, S), and L(mu*, S*) - L(mu, S*), each on shared draws
    mean_nxK: the first by dimension; scale_nxK: L(mu*, S*) - L(mu*, S) likewise; no columns where the scale
        has more than a number for each dimension
    """

    mean_gain_nx2: np.ndarray
    mean_nxK: np.ndarray
    scale_nxK: np.ndarray

    @classmethod
    def template(cls) -> "GapSplit":
        """The structure without its arrays."""
        return cls(0, 0, 0)


def split_gaps(
    model: LatentModel,
    family: PosteriorFamily,
    problems: Sequence[Problem],
    phis: Sequence[np.ndarray],
    noises: Sequence[np.ndarray],
    *,
    chunk_size: int | Memory,
) -> list[GapSplit]:
    """The split of each datapoint of each run, all runs as one program.

    problems: with phi_start, the encoder's; phis: phi_nxP of q*. noises: eps_nxSxK of each bound and
    gradient, taken with both signs: what a moved mean changes to first order cancels.
    """
    thetas = [problem.theta for problem in problems]
    rows = [
        (p.data[0], p.phi_start_NxP, best, np.float32(eps_nxSxK))
        for p, best, eps_nxSxK in zip(problems, phis, noises, strict=True)
    ]
    static = model, family
    size = rows_at_a_time(_draws_at_once, thetas, rows, chunk_size, static=static)
    return map_runs(_split, thetas, rows, static=static, chunk_size=size)


PASSES = 4  # through the model, whose arrays a gradient holds at once, about


def _draws_at_once(model: LatentModel, family: PosteriorFamily, theta: Params, row: Any) -> Array:
    """What is traced for the memory of `_split`, as a gradient takes long to trace."""
    x_D, start_P, _, eps_SxK = row
    log_joint, both_SxK = bind(model, theta, x_D), jnp.tile(eps_SxK, (2 * PASSES, 1))
    return jax.vmap(lambda eps_K: log_joint(family.reparameterize(start_P, eps_K)))(both_SxK)


def _split(model: LatentModel, family: PosteriorFamily, theta: Params, row: Any) -> GapSplit:
    """The split of one datapoint."""
    x_D, start_P, best_P, eps_SxK = row
    log_joint, K = bind(model, theta, x_D), family.latent_dim
    both_SxK = jnp.concatenate([eps_SxK, -eps_SxK])

    # A number for each dimension beside the mean, as the diagonal family has.
    of_each_dimension = family.param_size == 2 * K and family.kl_to_prior is not None

    def bound(phi_P: Array) -> Array:
        """L at phi; without the entropy of q where only its mean is moved, which does not change that."""

        def term(eps_K: Array) -> Array:
            z_K = family.reparameterize(phi_P, eps_K)
            return log_joint(z_K) - (standard_normal_log_prob(z_K) if of_each_dimension else 0.0)

        mean = jnp.mean(jax.vmap(term)(both_SxK))
        return mean - family.kl_to_prior(phi_P) if of_each_dimension else mean

    better_mean_P = jnp.concatenate([best_P[:K], start_P[K:]])
    better_scale_P = jnp.concatenate([start_P[:K], best_P[K:]])
    corners = jnp.stack([start_P, better_mean_P, better_scale_P, best_P])
    lines = [(start_P, better_mean_P)]
    if of_each_dimension:
        lines.append((better_mean_P, best_P))
    at, weight = np.polynomial.legendre.leggauss(NUM_NODES)
    at_T, weight_T = jnp.float32(0.5 * (at + 1.0))[:, None], jnp.float32(0.5 * weight)
    nodes = jnp.concatenate([corners, *(first[None] + at_T * (last - first)[None] for first, last in lines)])
    # One loop, and so one program, for bounds and gradients; the gradients at the corners are not used.
    bounds, grads = jax.lax.map(jax.value_and_grad(bound), nodes)
    low, high, low_at_best, high_at_best = bounds[: len(corners)]
    grads = grads[len(corners) :].reshape(len(lines), NUM_NODES, -1)
    gains = [weight_T @ grad * (last - first) for grad, (first, last) in zip(grads, lines, strict=True)]
    return GapSplit(
        jnp.stack([high - low, high_at_best - low_at_best]),
        gains[0][:K],
        gains[1][K:] if len(lines) > 1 else jnp.zeros(0),
    )


def entry(split: GapSplit, fit: LocalFit, *, num_draws: int) -> dict[str, Any] | None:
    """The entry `amortization_split` of a row: means over the split datapoints with errors, nats.

    Returns: gap, as reported; mean, scale: over both ways, what is of the scale being the rest of the gap;
    mean_first, scale_first: each with mean and scale; interaction: what the mean gains less once the scale is
    that of q*. by_dimension: mean and scale (None where it has none of a dimension alone), mean first;
    remainder: the gap, or its mean part, less the sum of these. None where nothing is finite.
    """
    count, K = split.mean_nxK.shape
    ends = (np.float64(bound.value[:count]) for bound in (fit.elbo_start, fit.elbo_optimal))
    columns = np.column_stack([*ends, *(np.float64(part) for part in split)])
    columns = columns[np.isfinite(columns).all(axis=1)]
    if not len(columns):
        return None
    start, best, first, second = columns.T[:4]
    of_mean, of_scale = columns.T[4 : 4 + K], columns.T[4 + K :]
    gap, stat = best - start, mean_and_stderr
    whole = gap if len(of_scale) else first
    return {
        "num_points": len(columns),
        "num_draws": num_draws,
        "gap": stat(gap),
        "mean": stat(0.5 * (first + second)),
        "scale": stat(gap - 0.5 * (first + second)),
        "mean_first": {"mean": stat(first), "scale": stat(gap - first)},
        "scale_first": {"mean": stat(second), "scale": stat(gap - second)},
        "interaction": stat(first - second),
        "by_dimension": {
            "mean": [stat(part) for part in of_mean],
            "scale": [stat(part) for part in of_scale] if len(of_scale) else None,
            "remainder": stat(whole - np.sum(columns[:, 4:], axis=1)),
        },
    }
