"""What is measured on a trained model, split by split: local fits, log p(x), and both bounds on simulated
data.

Each stage works through the datapoints in blocks and keeps each, so that a run that was killed goes on at the
first block that is not there, with the same result.
"""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from vaelab.evidence import Estimator, Evidence
from vaelab.evidence.annealing import Annealing
from vaelab.evidence.bdmc import Bidirectional, bidirectional
from vaelab.measure import fit as local_fit
from vaelab.measure.calibration import Calibration, calibration
from vaelab.measure.evidence import Choice, choose_estimator, estimate_log_evidence
from vaelab.measure.subject import Measured, Outcome, Subject
from vaelab.model.latent import bind
from vaelab.runtime.devices import Progress, map_datapoints, take
from vaelab.runtime.directory import stored, stored_json
from vaelab.runtime.processes import of_first
from vaelab.runtime.progress import progress_bar
from vaelab.types import Key, LatentModel, Params, PosteriorFamily


def measure(subject: Subject, split: str, points: Measured, directory: Path, console: Console) -> Outcome:
    """Every stage of one split, or what is stored of it in the directory."""
    settings, stages = subject.settings, directory / "stages"
    in_blocks = functools.partial(
        _in_blocks,
        count=len(points.inputs.index_N),
        size=settings.points_per_save,
        console=console,
    )
    fits, seconds = fit_families(subject, split, points, directory, console)
    phis = proposals(subject, fits)
    estimator, choice = chosen_estimator(subject, split, points, phis, directory, console)
    if choice:
        console.print(f"evidence {split}: {choice['reason']}", highlight=False)
    weigh = functools.partial(_weigh, subject, estimator, points, phis)
    evidence = in_blocks(stages, f"evidence {split}", Evidence.template(), weigh)
    both = None
    if points.z_NxK is not None and settings.evidence.start in (*fits, "prior"):
        template = Bidirectional(Evidence.template(), Evidence.template(), 0)
        both = in_blocks(
            stages,
            f"two-sided {split}",
            template,
            functools.partial(_both_bounds, subject, points, fits),
        )
    calibrations = {}
    if points.z_NxK is not None:
        calibrations = {name: _calibrate(subject, name, points, fit) for name, fit in fits.items()}
    return Outcome(points, fits, seconds, estimator, choice, evidence, both, calibrations)


Fits = dict[str, local_fit.LocalFit]


def fit_families(
    subject: Subject, split: str, points: Measured, directory: Path, console: Console
) -> tuple[Fits, dict[str, float]]:
    """(the local fits of each family, the seconds they took), or what is stored of them."""
    settings, count = subject.settings, len(points.inputs.index_N)
    fits, seconds = {}, {}
    for name in settings.families:
        total = count * len(settings.starts)
        fits[name], seconds_N = _in_blocks(
            directory / "stages",
            f"inference {split} {name}",
            FIT,
            functools.partial(_fit, subject, name, points),
            count=count,
            size=settings.points_per_save,
            console=console,
            total=total,
            unit="points" if total == count else "fits",
        )
        seconds[name] = float(np.sum(seconds_N))
    return fits, seconds


def proposals(subject: Subject, fits: Fits) -> tuple[np.ndarray, ...]:
    """phi_NxP of each law from which the evidence is estimated."""
    sources = {
        "optimum": lambda name: fits[name].inference.phi_P,
        "encoder": lambda name: fits[name].phi_start,
    }
    return tuple(sources[source](name) for name, source in subject.settings.evidence.proposals)


def chosen_estimator(
    subject: Subject,
    split: str,
    points: Measured,
    phis: tuple[np.ndarray, ...],
    directory: Path,
    console: Console,
) -> tuple[Estimator, dict[str, Any] | None]:
    """(what the evidence is estimated by, how it was chosen), the latter None where there is one alone."""
    estimators = subject.settings.evidence.estimators
    if len(estimators) == 1:
        return estimators[0], None
    choose = functools.partial(_choose, subject, points, phis)
    choice = stored_json(directory / "stages" / f"choice_{split}.json", choose, console)
    return estimators[choice["winner"]], choice


FIT = local_fit.LocalFit.template(), 0  # what is stored of a block of fits, and the seconds they took


def block_paths(stages: Path, stage: str, *, count: int, size: int) -> tuple[list[slice], list[Path]]:
    """The blocks of `size` rows, and where what a stage has computed of each is stored."""
    blocks = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    return blocks, [stages / f"{stage.replace(' ', '_')}_{rows.start}.npz" for rows in blocks]


def _in_blocks(
    stages: Path,
    stage: str,
    template: Any,
    compute: Callable[[slice, Progress], Any],
    *,
    count: int,
    size: int,
    console: Console,
    total: int | None = None,
    unit: str = "points",
) -> Any:
    """compute(rows, progress) over blocks of `size` rows, each stored as it is done; joined in order."""
    blocks, paths = block_paths(stages, stage, count=count, size=size)
    there = of_first(lambda: [path.exists() for path in paths])
    if all(there):
        parts = [
            stored(path, template, functools.partial(compute, rows, lambda done: None), console)
            for path, rows in zip(paths, blocks, strict=True)
        ]
    else:
        times = (total or count) // count
        kept = [block for block, is_there in zip(blocks, there, strict=True) if is_there]
        done = times * sum(block.stop - block.start for block in kept)
        with progress_bar(console, stage, times * count, unit, done=done) as advance:
            parts = [
                stored(path, template, functools.partial(compute, rows, advance), console)
                for path, rows in zip(paths, blocks, strict=True)
            ]
    return jax.tree.map(lambda *arrays: np.concatenate([np.atleast_1d(a) for a in arrays]), *parts)


def _fit(
    subject: Subject, name: str, points: Measured, rows: slice, progress: Progress
) -> tuple[local_fit.LocalFit, np.ndarray]:
    """(the local fits, the seconds they took)."""
    began, settings = time.perf_counter(), subject.settings
    inputs = take(points.inputs, rows)
    fitted = local_fit.fit_locally(
        subject.model,
        subject.families[name],
        settings.inference[name],
        subject.theta,
        inputs,
        subject.start(name, inputs),
        subject.keys.inference,
        starts=settings.starts,
        chunk_size=settings.memory,
        progress=progress,
    )
    return fitted, np.float64(time.perf_counter() - began)


def _calibrate(subject: Subject, name: str, points: Measured, fit: local_fit.LocalFit) -> Calibration:
    return calibration(
        subject.families[name],
        fit.inference.phi_P,
        points.inputs.index_N,
        points.z_NxK,
        subject.keys.calibrate,
        num_draws=RANKED_DRAWS,
    )


RANKED_DRAWS = 199  # so that 20 bins of ranks are alike


def _choose(subject: Subject, points: Measured, phis: tuple[np.ndarray, ...]) -> dict[str, Any]:
    """The choice as it is stored: {"winner", "reason", "trials": [...]}."""
    settings = subject.settings
    choice: Choice = choose_estimator(
        subject.model,
        settings.evidence.estimators,
        subject.theta,
        points.inputs,
        phis,
        subject.keys.pilot,
        pilot_points=settings.evidence.pilot_points,
        chunk_size=settings.memory,
    )
    return {**choice._asdict(), "trials": [trial._asdict() for trial in choice.trials]}


def _weigh(
    subject: Subject,
    estimator: Estimator,
    points: Measured,
    phis: tuple[np.ndarray, ...],
    rows: slice,
    progress: Progress,
) -> Evidence:
    return estimate_log_evidence(
        subject.model,
        estimator,
        subject.theta,
        *take((points.inputs, phis), rows),
        subject.keys.evidence,
        chunk_size=subject.settings.memory,
        progress=progress,
    )


@functools.lru_cache(maxsize=16)
def _from_both_sides(
    model: LatentModel, family: PosteriorFamily, settings: Annealing
) -> Callable[..., Bidirectional]:
    """One datapoint of `_both_bounds`; the same function for the same arguments, so that it compiles once."""

    def one(shared: tuple[Params, Key], row: tuple[jax.Array, ...]) -> Bidirectional:
        (theta, key), (x_D, index, z_K, phi_P) = shared, row
        log_joint, key = bind(model, theta, x_D), jax.random.fold_in(key, index)
        return bidirectional(log_joint, family, phi_P, z_K, key, settings=settings)

    return one


def _both_bounds(
    subject: Subject,
    points: Measured,
    fits: dict[str, local_fit.LocalFit],
    rows: slice,
    progress: Progress,
) -> Bidirectional:
    """Bidirectional Monte Carlo at each simulated datapoint, from its q* or the prior."""
    settings = subject.settings.evidence
    name = settings.start if settings.start in fits else next(iter(fits))
    family, phi_NxP = subject.families[name], fits[name].inference.phi_P
    if settings.start == "prior":
        phi_NxP = np.broadcast_to(np.asarray(family.init()), phi_NxP.shape)

    return map_datapoints(
        _from_both_sides(subject.model, family, settings.annealing),
        (subject.theta, subject.keys.bidirectional),
        take((*points.inputs, points.z_NxK, phi_NxP), rows),
        chunk_size=subject.settings.memory,
        progress=progress,
    )
