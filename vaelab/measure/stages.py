"""What is measured on trained models, split by split: local fits, log p(x), both bounds on simulated data.

Every stage takes a sequence of runs, works through their datapoints in blocks, and keeps each block of each
run, so that a run that was killed goes on at the first block that is not there, with the same result. The
blocks that several runs lack are one program.
"""

import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from rich.console import Console

from vaelab.evidence import Estimator, Evidence
from vaelab.evidence.annealing import Annealing
from vaelab.evidence.bdmc import Bidirectional, bidirectional
from vaelab.measure import other_modes
from vaelab.measure.blocks import Measurement, Stage, run_stage, stage_of
from vaelab.measure.calibration import Calibration, calibration
from vaelab.measure.diagnostics import detailed_noise, diagnose, num_detailed
from vaelab.measure.encoding import moments
from vaelab.measure.evidence import Choice, Weighed, choose_estimator, weigh_runs
from vaelab.measure.fit import LocalFit, Problem, fit_runs
from vaelab.measure.other_modes import OtherModes
from vaelab.measure.split_gap import GapSplit, split_gaps
from vaelab.measure.subject import Outcome, Subject
from vaelab.model.latent import bind
from vaelab.runtime.chunks import Progress, map_runs
from vaelab.runtime.devices import take
from vaelab.runtime.directory import stored_json
from vaelab.types import Key, LatentModel, Params, PosteriorFamily

Fits = dict[str, LocalFit]


def measure(runs: Sequence[Measurement], split: str, console: Console) -> list[Outcome]:
    """Every stage of one split of each run, or what is stored of it in the run's directory.

    Raises ConfigError where one datapoint takes more memory than there may be.
    """
    first, directories = runs[0].subject, [run.directory for run in runs]
    fits: list[Fits] = [{} for _ in runs]
    seconds: list[dict[str, float]] = [{} for _ in runs]
    for name in first.settings.families:
        stage = _fit_stage(runs, split, name)
        for run, (fit, seconds_N) in enumerate(run_stage(stage, directories, console)):
            fits[run][name], seconds[run][name] = fit, float(np.sum(seconds_N))
    others = other_modes.search(runs, split, fits, console)
    fits = [other.fits if other else each for other, each in zip(others, fits, strict=True)]

    splits = _gap_splits(runs, split, fits, console)

    weighed = [
        Weighed(run.subject.theta, run.points.inputs, _proposals(run.subject, own), run.subject.keys.evidence)
        for run, own in zip(runs, fits, strict=True)
    ]
    choices = [_chosen(run, split, each, console) for run, each in zip(runs, weighed, strict=True)]
    winners = [choice["winner"] if choice else 0 for choice in choices]
    evidence: dict[int, Evidence] = {}
    for winner in dict.fromkeys(winners):
        same = [run for run, each in enumerate(winners) if each == winner]
        stage = _evidence_stage(runs, split, weighed, first.settings.evidence.estimators[winner])
        evidence |= dict(zip(same, run_stage(stage, directories, console, numbers=same), strict=True))
    for number, (run, other) in enumerate(zip(runs, others, strict=True)):
        if other is not None:
            evidence[number], others[number] = other_modes.weigh(run, split, other, evidence[number], console)

    both: list[Bidirectional | None] = [None] * len(runs)
    simulated = runs[0].points.z_NxK is not None
    if simulated and first.settings.evidence.start in (*first.settings.families, "prior"):
        both = run_stage(_two_sided_stage(runs, split, fits, others), directories, console)
    return [
        Outcome(
            points=run.points,
            fits=fits[number],
            seconds=seconds[number],
            estimator=first.settings.evidence.estimators[winners[number]],
            choice=choices[number],
            evidence=evidence[number],
            bidirectional=both[number],
            others=others[number],
            calibrations={n: _calibrate(run, n, fit) for n, fit in fits[number].items()} if simulated else {},
            diagnostics={n: diagnose(run.subject, run.points, n, fit) for n, fit in fits[number].items()}
            if first.settings.diagnostics.enabled
            else {},
            splits=splits[number],
            optimal_scales=_optimal_scales(run.subject, fits[number]),
        )
        for number, run in enumerate(runs)
    ]


def _fit_stage(runs: Sequence[Measurement], split: str, name: str) -> Stage:
    """The local fits of a family, with the seconds that they took."""
    settings = runs[0].subject.settings

    def compute(numbers: Sequence[int], rows: slice, progress: Progress) -> list[tuple[LocalFit, np.ndarray]]:
        began = time.perf_counter()
        problems = []
        for subject, points, _ in (runs[number] for number in numbers):
            inputs = take(points.inputs, rows)
            start, keys = subject.start(name, inputs), subject.keys
            problems.append(Problem(subject.theta, inputs, start, keys.inference, subject.settings.tolerance))
        fits = fit_runs(
            runs[0].subject.model,
            runs[0].subject.families[name],
            settings.inference[name],
            problems,
            starts=settings.starts,
            chunk_size=settings.memory,
            progress=progress,
        )
        seconds = np.float64((time.perf_counter() - began) / len(numbers))
        return [(fit, seconds) for fit in fits]

    template = LocalFit.template(), 0
    return stage_of(runs, f"inference {split} {name}", template, compute, times=len(settings.starts))


def _gap_splits(
    runs: Sequence[Measurement], split: str, fits: Sequence[Fits], console: Console
) -> list[dict[str, GapSplit]]:
    """The amortization gap of the first datapoints in parts, of each Gaussian family with an encoder."""
    subject, split_of = runs[0].subject, [{} for _ in runs]
    settings = subject.settings
    chosen = settings.diagnostics
    if not (chosen.enabled and chosen.split_points):
        return split_of
    count = min(chosen.split_points, len(runs[0].points.inputs.index_N))
    for name in fits[0]:
        family = subject.families[name]
        if name not in subject.amortized or family.gaussian is None:
            continue

        def compute(
            numbers: Sequence[int], rows: slice, progress: Progress, *, name=name, family=family
        ) -> list[GapSplit]:
            parts = [_problem_of_fit(runs[n], fits[n][name], rows) for n in numbers]
            phis = [fits[n][name].inference.phi_P[rows] for n in numbers]
            noises = [
                detailed_noise(runs[n].subject, runs[n].points.inputs.index_N, "split of the gap")[
                    rows, : chosen.split_draws // 2
                ]
                for n in numbers
            ]
            results = split_gaps(subject.model, family, parts, phis, noises, chunk_size=settings.memory)
            progress((rows.stop - rows.start) * len(numbers))
            return results

        label = f"split of the gap {split} {name}"
        stage = Stage(label, GapSplit.template(), compute, count, settings.points_per_save)
        for run, result in enumerate(run_stage(stage, [run.directory for run in runs], console)):
            split_of[run][name] = result
    return split_of


def _optimal_scales(subject: Subject, fits: Fits) -> dict[str, np.ndarray]:
    """S of q*_full of the first datapoints, where the diagonal family stands beside it."""
    chosen, names = subject.settings.diagnostics, [name for name in RICHEST if name in fits]
    if not chosen.enabled or "diagonal" not in fits or not names:
        return {}
    fit = fits[names[0]]
    phi_NxP = fit.inference.phi_P[: num_detailed(subject, len(fit.rounds))]
    return {names[0]: moments(subject.families[names[0]], phi_NxP)[1]}


def _problem_of_fit(run: Measurement, fit: LocalFit, rows: slice) -> Problem:
    """What the fit has solved at these rows."""
    subject = run.subject
    inputs, phi_NxP = take((run.points.inputs, fit.phi_start), rows)
    return Problem(subject.theta, inputs, phi_NxP, subject.keys.inference, subject.settings.tolerance)


def _proposals(subject: Subject, fits: Fits) -> tuple[np.ndarray, ...]:
    """phi_NxP of each distribution from which the evidence is estimated."""
    sources = {
        "optimum": lambda name: fits[name].inference.phi_P,
        "encoder": lambda name: fits[name].phi_start,
    }
    return tuple(sources[source](name) for name, source in subject.settings.evidence.proposals)


def _chosen(run: Measurement, split: str, weighed: Weighed, console: Console) -> dict[str, Any] | None:
    """How the estimator of the evidence is chosen, as it is stored; None where there is one alone."""
    settings = run.subject.settings
    if len(settings.evidence.estimators) == 1:
        return None

    def choose() -> dict[str, Any]:
        choice: Choice = choose_estimator(
            run.subject.model,
            settings.evidence.estimators,
            *weighed._replace(key=run.subject.keys.pilot),
            pilot_points=settings.evidence.pilot_points,
            chunk_size=settings.memory,
        )
        return {**choice._asdict(), "trials": [trial._asdict() for trial in choice.trials]}

    choice = stored_json(run.directory / "stages" / f"choice_{split}.json", choose, console)
    console.print(f"evidence {split}: {choice['reason']}", highlight=False)
    return choice


def _evidence_stage(
    runs: Sequence[Measurement], split: str, weighed: Sequence[Weighed], estimator: Estimator
) -> Stage:
    subject = runs[0].subject

    def compute(numbers: Sequence[int], rows: slice, progress: Progress) -> list[Evidence]:
        parts = [
            weighed[number]._replace(
                data=take(weighed[number].data, rows), phis=take(weighed[number].phis, rows)
            )
            for number in numbers
        ]
        memory = subject.settings.memory
        return weigh_runs(subject.model, estimator, parts, chunk_size=memory, progress=progress)

    return stage_of(runs, f"evidence {split}", Evidence.template(), compute)


def _two_sided_stage(
    runs: Sequence[Measurement], split: str, fits: Sequence[Fits], others: Sequence[OtherModes | None]
) -> Stage:
    """Bidirectional Monte Carlo at each simulated datapoint, from its q* or the prior.

    From the prior too where there are several modes: a path from a q* at one of them does not come back from
    a z of another, and the bound from above is then none.
    """
    subject = runs[0].subject
    settings = subject.settings.evidence
    name = settings.start if settings.start in fits[0] else next(iter(fits[0]))
    family = subject.families[name]

    def rows_of(number: int) -> tuple[Any, ...]:
        phi_NxP = fits[number][name].inference.phi_P
        from_prior_N = np.full(len(phi_NxP), settings.start == "prior")
        if others[number] is not None:
            from_prior_N |= others[number].searched.num_modes > 1
        phi_NxP = np.where(from_prior_N[:, None], np.asarray(family.init()), phi_NxP)
        points = runs[number].points
        return *points.inputs, points.z_NxK, phi_NxP

    def compute(numbers: Sequence[int], rows: slice, progress: Progress) -> list[Bidirectional]:
        return map_runs(
            _from_both_sides,
            [(runs[n].subject.theta, runs[n].subject.keys.bidirectional) for n in numbers],
            [take(rows_of(number), rows) for number in numbers],
            static=(subject.model, family, settings.annealing),
            chunk_size=subject.settings.memory,
            progress=progress,
        )

    template = Bidirectional(Evidence.template(), Evidence.template(), 0)
    return stage_of(runs, f"two-sided {split}", template, compute)


def _from_both_sides(
    model: LatentModel,
    family: PosteriorFamily,
    settings: Annealing,
    shared: tuple[Params, Key],
    row: tuple[Any, ...],
) -> Bidirectional:
    (theta, key), (x_D, index, z_K, phi_P) = shared, row
    log_joint, key = bind(model, theta, x_D), jax.random.fold_in(key, index)
    return bidirectional(log_joint, family, phi_P, z_K, key, settings=settings)


RICHEST = ("full", "cholesky")  # families of all Gaussian distributions
RANKED_DRAWS = 199  # so that 20 bins of ranks are alike


def _calibrate(run: Measurement, name: str, fit: LocalFit) -> Calibration:
    return calibration(
        run.subject.families[name],
        fit.inference.phi_P,
        run.points.inputs.index_N,
        run.points.z_NxK,
        run.subject.keys.calibrate,
        num_draws=RANKED_DRAWS,
    )
