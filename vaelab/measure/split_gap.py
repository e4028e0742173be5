"""Where the amortization gap sits: in the mean of q or in its scale, and in which dimension; nats.

Gaussian q_phi = N(mu, S S') and q* = N(mu*, S* S*'), and two bounds between theirs, on the draws of these:

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

from vaelab.keys import purpose_key
from vaelab.measure.fit import InferenceSettings, LocalFit, Problem, score_runs
from vaelab.measure.gap import mean_and_stderr
from vaelab.model.latent import bind
from vaelab.objective.draws import Estimate
from vaelab.objective.elbo import elbo, elbo_from_draws
from vaelab.runtime.devices import map_runs
from vaelab.runtime.memory import Memory
from vaelab.types import Array, Key, LatentModel, Params, PosteriorFamily

NUM_NODES = 3  # of Gauss-Legendre quadrature along each line: exact for polynomials of degree 5


class GapSplit(NamedTuple):
    """Of the datapoints at which the gap is split, `[n]` each.

    better_mean: L(mu*, S); better_scale: L(mu, S*)
    mean_nxK: what each dimension's mean gains on the way to mu*; scale_nxK: likewise its scale, at mu*; no
        columns where the scale has more than a number for each dimension
    """

    better_mean: Estimate
    better_scale: Estimate
    mean_nxK: np.ndarray
    scale_nxK: np.ndarray

    @classmethod
    def template(cls) -> "GapSplit":
        """The structure without its arrays."""
        return cls(Estimate(0, 0), Estimate(0, 0), 0, 0)


def num_split(count: int, size: int, wanted: int) -> int:
    """How many of `count` datapoints are split: about as many as are wanted, in whole chunks of `size`."""
    return min(count, size * max(1, round(wanted / size)))


def split_gaps(
    model: LatentModel,
    family: PosteriorFamily,
    settings: InferenceSettings,
    problems: Sequence[Problem],
    phis: Sequence[np.ndarray],
    *,
    size: int,
    path_draws: int,
    chunk_size: int | Memory,
) -> list[GapSplit]:
    """The split of each datapoint of each run, all runs as one program.

    problems: with phi_start, the encoder's; phis: phi_nxP of q*. size: rows of a chunk of the program of the
    bounds. path_draws: of each gradient by dimension, in antithetic pairs.
    """
    K = family.latent_dim
    starts = [problem.phi_start_NxP for problem in problems]
    swapped = [
        (np.concatenate([best[:, :K], start[:, K:]], 1), np.concatenate([start[:, :K], best[:, K:]], 1))
        for start, best in zip(starts, phis, strict=True)
    ]
    bounds = score_runs((model, family, settings), problems, size, "score", swapped)
    paths = map_runs(
        _along,
        [(problem.theta, purpose_key(problem.key, "split of the gap")) for problem in problems],
        [(*p.data, start, best) for p, start, best in zip(problems, starts, phis, strict=True)],
        static=(model, family, path_draws),
        chunk_size=chunk_size,
        brief=True,
    )
    return [
        GapSplit(by_mean, by_scale, *path) for (by_mean, by_scale, _), path in zip(bounds, paths, strict=True)
    ]


def _along(
    model: LatentModel, family: PosteriorFamily, num_draws: int, shared: tuple[Params, Key], row: Any
) -> tuple[Array, Array]:
    """(gain of each dimension's mean [K], of its scale [K or 0]) of one datapoint, mean first."""
    (theta, key), (x_D, index, start_P, best_P) = shared, row
    log_joint, K = bind(model, theta, x_D), family.latent_dim
    key = jax.random.fold_in(key, index)

    objective = elbo_from_draws if family.kl_to_prior is None else elbo

    def bound(phi_P: Array) -> Array:
        return objective(log_joint, family, phi_P, key, num_samples=num_draws, antithetic=True)

    at, weight = np.polynomial.legendre.leggauss(NUM_NODES)
    at_T, weight_T = jnp.float32(0.5 * (at + 1.0))[:, None], jnp.float32(0.5 * weight)
    between_P = jnp.concatenate([best_P[:K], start_P[K:]])
    lines = [(start_P, between_P)]
    if family.param_size == 2 * K:  # a number for each dimension beside the mean
        lines.append((between_P, best_P))
    nodes = jnp.concatenate([first[None] + at_T * (last - first)[None] for first, last in lines])
    grads = jax.lax.map(jax.grad(bound), nodes).reshape(len(lines), NUM_NODES, -1)
    gains = [weight_T @ grad * (last - first) for grad, (first, last) in zip(grads, lines, strict=True)]
    return gains[0][:K], gains[1][K:] if len(lines) > 1 else jnp.zeros(0)


def entry(split: GapSplit, fit: LocalFit, *, path_draws: int) -> dict[str, Any] | None:
    """The entry `amortization_split` of a row: means over the split datapoints with errors, nats.

    Returns: gap; mean, scale: over both ways; mean_first, scale_first: each with mean and scale; interaction:
    what the mean gains less once the scale is q*'s. by_dimension: mean and scale (None where it has none of a
    dimension alone), mean first; remainder: the gap, or its mean part, less the sum of these. None where no
    bound is finite.
    """
    count, K = split.mean_nxK.shape
    bounds = fit.elbo_start, fit.elbo_optimal, split.better_mean, split.better_scale
    values = [np.float64(bound.value[:count]) for bound in bounds]
    columns = np.column_stack([*values, np.float64(split.mean_nxK), np.float64(split.scale_nxK)])
    columns = columns[np.isfinite(columns).all(axis=1)]
    if not len(columns):
        return None
    start, best, by_mean, by_scale = columns.T[:4]
    of_mean, of_scale = columns.T[4 : 4 + K], columns.T[4 + K :]
    reached = best if len(of_scale) else by_mean
    stat = mean_and_stderr
    first, second = (by_mean - start, best - by_mean), (best - by_scale, by_scale - start)
    return {
        "num_points": len(columns),
        "gap": stat(best - start),
        "mean": stat(0.5 * (first[0] + second[0])),
        "scale": stat(0.5 * (first[1] + second[1])),
        "mean_first": {"mean": stat(first[0]), "scale": stat(first[1])},
        "scale_first": {"mean": stat(second[0]), "scale": stat(second[1])},
        "interaction": stat(first[0] - second[0]),
        "by_dimension": {
            "num_draws": path_draws,
            "mean": [stat(part) for part in of_mean],
            "scale": [stat(part) for part in of_scale] if len(of_scale) else None,
            "remainder": stat(reached - start - np.sum(columns[:, 4:], axis=1)),
        },
    }
