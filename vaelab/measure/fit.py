"""q* for every datapoint: rounds of the inner loop for those that need them, then both bounds scored.

Draws that optimise, that select and that report are three, so that no figure is flattered by what chose it.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.inference.loop import Inference, infer
from vaelab.inference.solver import SolverOf
from vaelab.model.latent import bind
from vaelab.objective.draws import Estimate, elbo_pairs, estimate_mean
from vaelab.posterior.project import same_distribution, searched_as
from vaelab.runtime.devices import Progress, map_datapoints, rows_at_a_time, take
from vaelab.runtime.memory import Memory
from vaelab.types import Array, Key, LatentModel, Params, PosteriorFamily


class InferenceSettings(NamedTuple):
    """How q* is found and scored: see `infer`, `fit_locally` and `estimate_elbo`."""

    solver: SolverOf
    num_steps: int
    max_rounds: int
    certificate_groups: int
    tolerance: float
    elbo_samples: int
    elbo_chunk_size: int
    average_last: int = 0


class LocalFit(NamedTuple):
    """One family fitted to each datapoint: the encoder's phi scored, the optimum found, the optimum scored.

    gain: L[q*] - L[q_phi], with the error of their difference, as they share draws.
    rounds: how often the inner loop was run, over all starts.
    from_prior: whether the optimum was reached from the prior, and not from the encoder's phi.
    """

    phi_start: np.ndarray
    elbo_start: Estimate
    inference: Inference
    elbo_optimal: Estimate
    gain: Estimate
    rounds: np.ndarray
    from_prior: np.ndarray

    @classmethod
    def template(cls) -> "LocalFit":
        """The structure without its arrays."""
        nothing = Estimate(0, 0)
        return cls(0, nothing, Inference(0, nothing, 0), nothing, nothing, 0, 0)


class _Keys(NamedTuple):
    infer: Key
    score: Key
    select: Key


def _keys(key: Key, index: Array) -> _Keys:
    return _Keys(*jax.random.split(jax.random.fold_in(key, index), 3))


@functools.lru_cache(maxsize=16)
def _round(
    model: LatentModel, family: PosteriorFamily, settings: InferenceSettings
) -> Callable[..., Inference]:
    """One round of one datapoint; the same function for the same arguments, so that it compiles once.

    The tolerance is an argument of the function.
    """
    searched = searched_as(family)
    solver = settings.solver(searched)

    def one(shared, row):
        (theta, key, number, tolerance), (x_D, index, phi_P) = shared, row
        found = infer(
            solver,
            bind(model, theta, x_D),
            searched,
            same_distribution(phi_P, family, searched),
            jax.random.fold_in(_keys(key, index).infer, number),
            num_steps=settings.num_steps,
            certificate_groups=settings.certificate_groups,
            tolerance=tolerance,
            average_last=settings.average_last,
            concavity_KxK=model.concavity(theta, x_D) if model.concavity else None,
        )
        return found._replace(phi_P=same_distribution(found.phi_P, searched, family))

    return one


@functools.lru_cache(maxsize=16)
def _score(
    model: LatentModel, family: PosteriorFamily, settings: InferenceSettings, purpose: str
) -> Callable[..., tuple[Estimate, ...]]:
    """The bounds of two phi of one datapoint, on draws that they share, and the second's lead over the first.

    purpose: a key of `_Keys`.
    """

    def one(shared, row):
        (theta, key), (x_D, index, phis) = shared, row
        log_joint, key = bind(model, theta, x_D), getattr(_keys(key, index), purpose)
        first_M, second_M = (
            elbo_pairs(
                log_joint,
                family,
                phi_P,
                key,
                num_samples=settings.elbo_samples,
                chunk_size=settings.elbo_chunk_size,
            )
            for phi_P in phis
        )
        return estimate_mean(first_M), estimate_mean(second_M), estimate_mean(second_M - first_M)

    return one


def fit_locally(
    model: LatentModel,
    family: PosteriorFamily,
    settings: InferenceSettings,
    theta: Params,
    data: tuple[np.ndarray, np.ndarray],
    phi_start_NxP: np.ndarray,
    key: Key,
    *,
    starts: tuple[str, ...] = ("encoder",),
    chunk_size: int | Memory,
    progress: Progress = lambda count: None,
    tolerance_R: np.ndarray | None = None,
) -> LocalFit:
    """q* for each datapoint of data = (x_NxD, index_N), its bound, and the bound of phi_start.

    starts: where the inner loop begins: "encoder" (phi_start), "prior", or both, of which a datapoint keeps
    the better by a bound on draws of its own, that the reported bounds do not share. Datapoints that have
    not converged go on from where they are for another round, up to max_rounds, without those that have;
    what a datapoint comes to does not depend on which others are with it. The two reported bounds share draws
    that the solver never saw. `progress` counts the first round of each start.

    tolerance_R: where given, these are R runs as one program, each with a tolerance of its own: theta, data,
    phi_start, the key and the result have a leading R.
    """
    runs = None if tolerance_R is None else len(tolerance_R)
    mapped = functools.partial(map_datapoints, chunk_size=chunk_size, runs=runs)
    shared = theta, key, settings.tolerance if tolerance_R is None else np.float32(tolerance_R)
    found = [
        _rounds(
            _round(model, family, settings._replace(tolerance=0.0)),
            shared,
            data,
            np.broadcast_to(np.asarray(family.init()), phi_start_NxP.shape)
            if start == "prior"
            else phi_start_NxP,
            range(number * settings.max_rounds, (number + 1) * settings.max_rounds),
            chunk_size,
            progress,
            runs,
        )
        for number, start in enumerate(starts)
    ]

    def score(purpose: str, *phis: np.ndarray) -> tuple[Estimate, ...]:
        return mapped(_score(model, family, settings, purpose), (theta, key), (*data, phis))

    best = np.zeros(phi_start_NxP.shape[:-1], int)
    if len(starts) > 1:
        *bounds, _ = score("select", *(fit.phi_P for fit, _ in found))
        values = np.stack([bound.value for bound in bounds])
        best = np.argmax(np.where(np.isfinite(values), values, -np.inf), axis=0)
    chosen = jax.tree.map(
        lambda *parts: np.stack(parts)[(best, *np.indices(best.shape))], *(fit for fit, _ in found)
    )
    at_start, at_optimum, gain = score("score", phi_start_NxP, chosen.phi_P)
    rounds = np.sum([rounds for _, rounds in found], axis=0)
    return LocalFit(
        phi_start_NxP, at_start, chosen, at_optimum, gain, rounds, np.array(starts)[best] == "prior"
    )


# A further round takes a whole chunk for the few that are left. Few rows at a time cost a CPU little, for an
# accelerator they leave it idle.
ROWS_ON_CPU = 128


def _rounds(
    one: Callable[..., Inference],
    shared: tuple[Params, Key, float | np.ndarray],
    data: tuple[np.ndarray, np.ndarray],
    phi_NxP: np.ndarray,
    numbers: range,
    chunk_size: int | Memory,
    progress: Progress,
    runs: int | None,
) -> tuple[Inference, np.ndarray]:
    """(the fits, how many rounds each took); `numbers` are folded into the key, one for each round.

    Several runs have a leading R, as in `fit_locally`.
    """
    theta, key, tolerance = shared
    lead, count = phi_NxP.shape[:-2], phi_NxP.shape[-2]
    rows = (*data, phi_NxP)

    def of_round(number: int) -> tuple[Params, Key, Array, float | np.ndarray]:
        return theta, key, jnp.full(lead, number, jnp.int32), tolerance

    at_most = max(ROWS_ON_CPU // (runs or 1), 1) if jax.default_backend() == "cpu" else None
    size = rows_at_a_time(one, of_round(0), rows, chunk_size, at_most=at_most, runs=runs)
    mapped = functools.partial(map_datapoints, one, chunk_size=size, runs=runs)
    fitted = mapped(of_round(numbers.start), rows, progress=progress)
    rounds = np.ones(phi_NxP.shape[:-1], int)
    each = tuple(np.indices(lead)[..., None])  # the runs' own numbers, to go before positions of their rows
    for number in numbers[1:]:
        left = [np.flatnonzero(~converged_N) for converged_N in fitted.converged.reshape(-1, count)]
        most = max(map(len, left))
        if not most:
            break
        # Filled up with copies to one whole chunk at least, so that the same program serves.
        filled = np.stack([np.resize(own if own.size else 0, max(most, size)) for own in left])
        at = (*each, filled.reshape(*lead, -1))
        again = mapped(of_round(number), take((*data, fitted.phi_P), at))
        for run, own in zip(np.ndindex(lead), left, strict=True):
            for whole, part in zip(jax.tree.leaves(fitted), jax.tree.leaves(again), strict=True):
                whole[(*run, own)] = part[(*run, slice(own.size))]
            rounds[(*run, own)] += 1
    return fitted, rounds
