"""The stages that look beyond the mode that a fit sits at: search, fits at other modes, log p(x) from all."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from rich.console import Console

from vaelab.evidence.quadrature import MAX_DIM
from vaelab.evidence.weights import Evidence
from vaelab.measure import prior_side, search_cost
from vaelab.measure import search as searching
from vaelab.measure.blocks import Measurement, Stage, run_stage
from vaelab.measure.by_modes import compare_sides, evidence_by_modes
from vaelab.measure.fit import LocalFit, Problem
from vaelab.measure.refit import Refitted, refit
from vaelab.measure.search import Searched
from vaelab.measure.subject import Subject
from vaelab.model.prior import has_known_prior
from vaelab.runtime.chunks import Progress, map_datapoints
from vaelab.runtime.devices import take


class OtherModes(NamedTuple):
    """What a search has shown of a run's split, [N] in front.

    fits: of each family, at the best of the modes
    refits: the same with where they sit, and what is lost at the mode of the fit before
    searched: the modes of each datapoint
    by_modes: those whose log p(x) is from all of their modes
    pilot: which datapoints were looked at from the prior's side too
    missed_N: at which of these log p(x) from there is higher than from all modes by more than the errors
    shortfall: the mean by which it is, over those of the pilot that were missed; 0 where none was
    narrowest: the least width of a mode that the search is expected to meet, see `search.narrowest`
    """

    fits: dict[str, LocalFit]
    refits: dict[str, Refitted]
    searched: Searched
    by_modes: np.ndarray
    pilot: np.ndarray
    missed_N: np.ndarray
    shortfall: float
    narrowest: float | None = None


MOST_SEARCHED = 512  # dimensions: each ascent keeps a K x K matrix, and each mode a factorisation of one


def search(
    runs: Sequence[Measurement], split: str, fits: Sequence[dict[str, LocalFit]], console: Console
) -> list[OtherModes | None]:
    """Searches each run's datapoints for modes, and fits each family at those that promise more.

    None where no search is asked for, or z has more dimensions than can be searched.
    """
    subject = runs[0].subject
    if not subject.settings.search.num_starts or subject.model.latent_dim > MOST_SEARCHED:
        return [None] * len(runs)
    return [_searched(run, split, own, console) for run, own in zip(runs, fits, strict=True)]


def _searched(run: Measurement, split: str, fits: dict[str, LocalFit], console: Console) -> OtherModes:
    subject, inputs = run.subject, run.points.inputs
    count, key = len(inputs.index_N), subject.keys.search
    phis = {name: fit.inference.phi_P for name, fit in fits.items()}
    at = searching.fitted(subject.families, phis, subject.settings.memory)
    pilot = searching.pilot_rows(count, subject.settings.search.pilot_points)

    def search_pilot(rows: slice, progress: Progress) -> Searched:
        return searching.search_pilot(subject, *take((inputs, at), pilot[rows]), key)

    (seen,) = _run(run, f"modes {split} pilot", Searched.template(), search_pilot, len(pilot), console)

    def search_rest(rows: slice, progress: Progress) -> Searched:
        everywhere = bool((seen.num_modes > 1).any())
        rest = np.setdiff1d(np.arange(rows.start, rows.stop), pilot)
        parts, order = [seen], [pilot]
        if rest.size:
            part = take((inputs, at), rest)
            parts.append(searching.search_rest(subject, *part, key, pilot=seen, everywhere=everywhere))
            order.append(rest)
        whole = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
        where = {row: number for number, row in enumerate(np.concatenate(order))}
        progress(rows.stop - rows.start)
        return take(whole, np.array([where[row] for row in range(rows.start, rows.stop)]))

    (searched,) = _run(run, f"modes {split}", Searched.template(), search_rest, count, console)
    refits = {
        name: _refitted(run, split, name, number, fit, searched, console)
        for number, (name, fit) in enumerate(fits.items())
    }
    best = {name: each.fit for name, each in refits.items()}
    twice = _is_twice(subject, seen.num_modes)
    least = searching.narrowest(subject.settings.search, subject.model.latent_dim, twice=twice)
    none_N = np.zeros(count, bool)
    return OtherModes(best, refits, searched, np.zeros(0, int), pilot, none_N, 0.0, least)


def _is_twice(subject: Subject, num_modes: np.ndarray) -> bool:
    return searching.is_searched_twice(subject.settings.search, subject.model.latent_dim, num_modes)


def _run(run, label, template, compute, count, console) -> list:
    """A stage of a single run."""

    def of_runs(numbers: Sequence[int], rows: slice, progress: Progress) -> list:
        return [compute(rows, progress)]

    size = run.subject.settings.points_per_save
    return run_stage(Stage(label, template, of_runs, count, size), [run.directory], console)


def _refitted(
    run: Measurement,
    split: str,
    name: str,
    number: int,
    fit: LocalFit,
    searched: Searched,
    console: Console,
) -> Refitted:
    subject, inputs = run.subject, run.points.inputs
    settings = subject.settings.inference[name]

    def compute(rows: slice, progress: Progress) -> Refitted:
        data, own, modes = take((inputs, fit, searched.modes), rows)
        problem = Problem(
            subject.theta, data, own.phi_start, subject.keys.inference, subject.settings.tolerance
        )
        progress(rows.stop - rows.start)
        return refit(
            subject.model,
            subject.families[name],
            settings,
            problem,
            own,
            modes,
            modes.reached_F[:, number],
            num_refits=subject.settings.search.num_refits,
            first_round=len(subject.settings.starts) * settings.max_rounds,
            chunk_size=subject.settings.memory,
        )

    label, count = f"inference {split} {name} modes", len(inputs.index_N)
    return _run(run, label, Refitted.template(), compute, count, console)[0]


def weigh(
    run: Measurement, split: str, other: OtherModes, evidence: Evidence, console: Console
) -> tuple[Evidence, OtherModes]:
    """(log p(x) from all modes where there are several, or the prior's side where higher; what was so)."""
    rows = np.flatnonzero(other.searched.num_modes > 1)
    if rows.size:
        compute = partial(_by_modes, run, other, rows)
        (part,) = _run(run, f"evidence {split} modes", Evidence.template(), compute, rows.size, console)
        # Both are low in expectation: where the estimate at hand is clearly the higher one it stands.
        lower_N = compare_sides(part, take(evidence, rows)).missed_N
        evidence = _with_rows(evidence, rows[~lower_N], take(part, ~lower_N))
        other = other._replace(by_modes=rows[~lower_N])
    compared = compare_sides(evidence, other.searched.prior_side)
    suspects = np.flatnonzero(compared.missed_N)
    if not suspects.size:
        return evidence, other

    def again(block: slice, progress: Progress) -> tuple[Evidence, Evidence]:
        subject, at = run.subject, suspects[block]
        modes = other.searched.modes
        z_NxMxK = np.where(np.isfinite(modes.log_weight_M[at])[:, :, None], modes.z_MxK[at], 0.0)
        size_N = np.abs(z_NxMxK).max(axis=(1, 2))
        known = has_known_prior(subject.model)
        scale_N = np.where(known, 1.0, np.clip(1.5 * size_N, prior_side.WIDE, 1e6)).astype(np.float32)
        keys = (jax.random.fold_in(subject.keys.search, number) for number in (2, 5))
        inputs = take(run.points.inputs, at)
        tempering = subject.settings.search.enlarged(subject.model.latent_dim)
        return tuple(prior_side.tempered(subject, inputs, scale_N, key, tempering)[0] for key in keys)

    template = Evidence.template(), Evidence.template()
    ((second, third),) = _run(run, f"prior side {split}", template, again, suspects.size, console)
    # What flagged a datapoint may be chance: a second run confirms it, and a third one reports.
    still = compare_sides(take(evidence, suspects), second)
    missed_N = np.zeros(len(evidence.log_evidence), bool)
    missed_N[suspects[still.missed_N]] = True
    if not missed_N.any():
        return evidence, other
    lead_N = compare_sides(take(evidence, suspects), third).shortfall_N
    finite_N = lead_N[still.missed_N & np.isfinite(lead_N)]
    shortfall = float(np.mean(finite_N)) if finite_N.size else float("inf")
    share = np.mean(missed_N[other.pilot])
    # Elsewhere as much may be missing, and as often.
    outside_N = ~np.isin(np.arange(len(missed_N)), other.pilot)
    stderr_N = np.array(evidence.stderr, np.float32)
    stderr_N[outside_N] = np.hypot(stderr_N[outside_N], shortfall * np.sqrt(share))
    evidence = _with_rows(
        evidence._replace(stderr=stderr_N), suspects[still.missed_N], take(third, still.missed_N)
    )
    return evidence, other._replace(missed_N=missed_N, shortfall=shortfall)


def evaluations(subject: Subject, others: OtherModes) -> float:
    """Gradient evaluations of all datapoints for their modes: search, looks, log p(x) from all of them."""
    settings, sizes, K = subject.settings.search, subject.settings.evidence.by_modes, subject.model.latent_dim
    count, num_several = len(others.missed_N), int(np.sum(others.searched.num_modes > 1))
    num_searched, num_pilot = int(np.sum(others.searched.searched)), len(others.pilot)
    twice = _is_twice(subject, others.searched.num_modes[others.pilot])
    total = search_cost.evaluations(settings, K, num_searched=num_searched, num_pilot=num_pilot, twice=twice)
    total += (count - num_pilot) * search_cost.look_evaluations(settings)
    weighed = 2 * settings.max_modes * sizes.num_nodes**K if K <= MAX_DIM else sizes.num_samples
    return total + num_several * (weighed + settings.max_modes * (2 * K + 1))


def _by_modes(
    run: Measurement, other: OtherModes, rows: np.ndarray, block: slice, progress: Progress
) -> Evidence:
    subject, at = run.subject, rows[block]
    count = len(run.points.inputs.index_N)
    padded = np.resize(at, max(at.size, min(count, subject.settings.search.pilot_points)))
    result = map_datapoints(
        evidence_by_modes,
        (subject.theta, jax.random.fold_in(subject.keys.search, 3)),
        (*take(run.points.inputs, padded), take(other.searched.modes, padded)),
        static=(subject.model, subject.settings.evidence.by_modes),
        chunk_size=subject.settings.memory,
    )
    progress(at.size)
    return take(result, slice(at.size))


def _with_rows(evidence: Evidence, rows: np.ndarray, part: Evidence) -> Evidence:
    """The evidence with these rows replaced."""

    def replaced(whole: np.ndarray, new: np.ndarray) -> np.ndarray:
        whole = np.array(whole)
        whole[rows] = new
        return whole

    return jax.tree.map(replaced, evidence, part)
