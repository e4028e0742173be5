"""q* for every datapoint: rounds of the inner loop for those that need them, then both bounds scored.

Draws that optimise, that select and that report are three, so that no figure is flattered by what chose it.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vaelab.inference.loop import Inference, infer
from vaelab.inference.solver import SolverOf
from vaelab.model.latent import bind
from vaelab.objective.draws import Estimate, elbo_pairs, estimate_mean
from vaelab.posterior.chain import of_model
from vaelab.posterior.project import same_distribution, searched_as
from vaelab.runtime.chunks import Progress, map_runs, rows_at_a_time
from vaelab.runtime.devices import take
from vaelab.runtime.memory import Memory
from vaelab.types import Array, Key, LatentModel, Params, PosteriorFamily


class InferenceSettings(NamedTuple):
    """How q* is fitted and scored: see `infer`, `fit_locally` and `estimate_elbo`.

    What "converged" asks for, the tolerance, is an argument of its own, as it may differ between runs of one
    program.
    """

    solver: SolverOf
    num_steps: int
    max_rounds: int
    certificate_groups: int
    elbo_samples: int
    elbo_chunk_size: int
    average_last: int = 0


class LocalFit(NamedTuple):
    """One family fitted to each datapoint: phi_start scored, the optimum, the optimum scored.

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


class Problem(NamedTuple):
    """What is fitted in one run: q* of the datapoints data = (x_NxD, index_N) under the model at theta."""

    theta: Params
    data: tuple[np.ndarray, np.ndarray]
    phi_start_NxP: np.ndarray
    key: Key
    tolerance: float


def fit_locally(
    model: LatentModel,
    family: PosteriorFamily,
    settings: InferenceSettings,
    theta: Params,
    data: tuple[np.ndarray, np.ndarray],
    phi_start_NxP: np.ndarray,
    key: Key,
    *,
    tolerance: float = 0.05,
    starts: tuple[str, ...] = ("encoder",),
    chunk_size: int | Memory,
    progress: Progress = lambda count: None,
) -> LocalFit:
    """q* for each datapoint of data = (x_NxD, index_N), its bound, and the bound of phi_start; nats.

    `fit_runs` of a single run; see there. tolerance: nats, what "converged" asks for.
    """
    problem = Problem(theta, data, phi_start_NxP, key, tolerance)
    arguments = {"starts": starts, "chunk_size": chunk_size, "progress": progress}
    return fit_runs(model, family, settings, [problem], **arguments)[0]


def fit_runs(
    model: LatentModel,
    family: PosteriorFamily,
    settings: InferenceSettings,
    problems: Sequence[Problem],
    *,
    starts: tuple[str, ...] = ("encoder",),
    chunk_size: int | Memory,
    progress: Progress = lambda count: None,
) -> list[LocalFit]:
    """q* for each datapoint of each run, its bound, and the bound of phi_start; all runs as one program.

    starts: where the inner loop begins: "encoder" (phi_start), "prior", or both, of which a datapoint keeps
    the better by a bound on draws of its own, that the reported bounds do not share. Datapoints that have
    not converged go on from where they are for another round, up to max_rounds, without those that have;
    what a datapoint comes to does not depend on which others are with it. The two reported bounds share draws
    that the solver never saw. `progress` counts the first round of each start.

    Raises DoesNotFit where one datapoint of all runs takes more than the Memory given.
    """
    attempts = [
        fit_in_rounds(
            model,
            family,
            settings,
            problems,
            [_starting_phi(family, start, problem) for problem in problems],
            range(number * settings.max_rounds, (number + 1) * settings.max_rounds),
            chunk_size,
            progress,
        )
        for number, start in enumerate(starts)
    ]
    by_run = [list(attempt) for attempt in zip(*attempts, strict=True)]
    score = functools.partial(score_runs, (model, family, settings), problems, chunk_size)
    best = [np.zeros(len(problem.phi_start_NxP), int) for problem in problems]
    if len(starts) > 1:
        scored = score("select", [tuple(fit.phi_P for fit, _ in attempts) for attempts in by_run])
        best = [_highest([bound.value for bound in bounds[:-1]]) for bounds in scored]
    chosen = [
        jax.tree.map(lambda *parts, at=at: np.stack(parts)[at, np.arange(len(at))], *(fit for fit, _ in each))
        for each, at in zip(by_run, best, strict=True)
    ]
    scored = score("score", [(p.phi_start_NxP, fit.phi_P) for p, fit in zip(problems, chosen, strict=True)])
    return [
        LocalFit(
            problem.phi_start_NxP,
            at_start,
            inference,
            at_optimum,
            gain,
            np.sum([rounds for _, rounds in each], axis=0),
            np.array(starts)[at] == "prior",
        )
        for problem, inference, (at_start, at_optimum, gain), each, at in zip(
            problems, chosen, scored, by_run, best, strict=True
        )
    ]


def _starting_phi(family: PosteriorFamily, start: str, problem: Problem) -> np.ndarray:
    if start == "prior":
        init_P = ravel_pytree(of_model(family, problem.theta, family.init()))[0]
        return np.broadcast_to(np.asarray(init_P), problem.phi_start_NxP.shape)
    return problem.phi_start_NxP


def _highest(values: Sequence[np.ndarray]) -> np.ndarray:
    """The number of the start with the highest bound, for each datapoint; what is not finite loses."""
    stacked = np.stack(values)
    return np.argmax(np.where(np.isfinite(stacked), stacked, -np.inf), axis=0)


class _Keys(NamedTuple):
    infer: Key
    score: Key
    select: Key


def _keys(key: Key, index: Array) -> _Keys:
    return _Keys(*jax.random.split(jax.random.fold_in(key, index), 3))


def _round(
    model: LatentModel, family: PosteriorFamily, settings: InferenceSettings, shared: Any, row: Any
) -> Inference:
    """One round of one datapoint."""
    (theta, key, number, tolerance), (x_D, index, phi_P) = shared, row
    fitted = searched_as(family)
    inference = infer(
        settings.solver(fitted),
        bind(model, theta, x_D),
        fitted,
        same_distribution(phi_P, family, fitted),
        jax.random.fold_in(_keys(key, index).infer, number),
        num_steps=settings.num_steps,
        certificate_groups=settings.certificate_groups,
        tolerance=tolerance,
        average_last=settings.average_last,
        concavity_KxK=model.concavity(theta, x_D) if model.concavity else None,
    )
    return inference._replace(phi_P=same_distribution(inference.phi_P, fitted, family))


def _score(
    model: LatentModel,
    family: PosteriorFamily,
    settings: InferenceSettings,
    purpose: str,
    shared: tuple[Params, Key],
    row: Any,
) -> tuple[Estimate, ...]:
    """The bounds of two phi of one datapoint, on draws that they share, and the second's lead over the first.

    purpose: a key of `_Keys`.
    """
    (theta, key), (x_D, index, phis) = shared, row
    log_joint, key = bind(model, theta, x_D), getattr(_keys(key, index), purpose)
    draws = {"num_samples": settings.elbo_samples, "chunk_size": settings.elbo_chunk_size}
    first_M, second_M = (elbo_pairs(log_joint, family, phi_P, key, **draws) for phi_P in phis)
    first, second = estimate_mean(first_M), estimate_mean(second_M)
    # Equal distributions round alike: their difference is 0, without an error.
    size = jnp.maximum(jnp.abs(first.value), jnp.abs(second.value)) * jnp.any(first_M != second_M)
    return first, second, estimate_mean(second_M - first_M, size=size)


def score_runs(
    static: tuple[Any, ...],
    problems: Sequence[Problem],
    chunk_size: int | Memory,
    purpose: str,
    phis: Sequence[tuple[np.ndarray, ...]],
) -> list[tuple[Estimate, ...]]:
    """`_score` of each datapoint of each run, of the two phi_NxP of the run."""
    return map_runs(
        _score,
        [(problem.theta, problem.key) for problem in problems],
        [(*problem.data, phi) for problem, phi in zip(problems, phis, strict=True)],
        static=(*static, purpose),
        chunk_size=chunk_size,
    )


# A further round takes a whole chunk for the few that have not converged. Few rows at a time cost a CPU
# little, for an accelerator they leave it idle.
ROWS_ON_CPU = 128


def fit_in_rounds(
    model: LatentModel,
    family: PosteriorFamily,
    settings: InferenceSettings,
    problems: Sequence[Problem],
    phis: Sequence[np.ndarray],
    numbers: range,
    chunk_size: int | Memory,
    progress: Progress,
) -> list[tuple[Inference, np.ndarray]]:
    """(the fits from these phi, how many rounds each took) of each run.

    numbers: what is folded into the key, one for each round.
    """

    def shared(number: int) -> list[tuple[Params, Key, Array, float]]:
        return [(p.theta, p.key, jnp.int32(number), p.tolerance) for p in problems]

    static, num_runs = (model, family, settings), len(problems)
    rows = [(*problem.data, phi) for problem, phi in zip(problems, phis, strict=True)]
    at_most = max(ROWS_ON_CPU // num_runs, 1) if jax.default_backend() == "cpu" else None
    size = rows_at_a_time(_round, shared(numbers.start), rows, chunk_size, static=static, at_most=at_most)
    run_round: Callable[..., list[Inference]] = functools.partial(
        map_runs, _round, static=static, chunk_size=size
    )
    fits = run_round(shared(numbers.start), rows, progress=progress)
    rounds = [np.ones(len(phi), int) for phi in phis]
    for number in numbers[1:]:
        open_rows = [np.flatnonzero(~fit.converged) for fit in fits]
        most = max(map(len, open_rows))
        if not most:
            break
        # Filled up with copies to one whole chunk at least, so that the same program serves.
        filled = [np.resize(at if at.size else 0, max(most, size)) for at in open_rows]
        again = run_round(
            shared(number),
            [take((*p.data, fit.phi_P), at) for p, fit, at in zip(problems, fits, filled, strict=True)],
        )
        for fit, refit, taken, at in zip(fits, again, rounds, open_rows, strict=True):
            for whole, part in zip(jax.tree.leaves(fit), jax.tree.leaves(refit), strict=True):
                whole[at] = part[: at.size]
            taken[at] += 1
    return list(zip(fits, rounds, strict=True))
