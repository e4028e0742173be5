"""What is measured on a trained model, split by split: local fits, log p(x), and both bounds on simulated
data.

Each stage works through the datapoints in blocks and keeps each, so that a run that was killed goes on at the
first block that is not there, with the same result.
"""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from rich.console import Console

from vaelab import local_fit, report
from vaelab.build import Experiment, Inputs
from vaelab.evidence import Choice, Estimator, Evidence, choose_estimator, estimate_log_evidence
from vaelab.evidence.annealing import Annealing
from vaelab.evidence.bdmc import Bidirectional, bidirectional
from vaelab.evidence.calibration import Calibration, calibration
from vaelab.inference import same_law
from vaelab.model import bind
from vaelab.parallel import Progress, map_datapoints
from vaelab.processes import of_first
from vaelab.regime import Table
from vaelab.rundir import stored, stored_json
from vaelab.splits import Measured, datapoints
from vaelab.train import TrainState
from vaelab.types import Key, LatentModel, Params, PosteriorFamily


class Trained(NamedTuple):
    """What training left: theta; psi of each family's encoder; the table, of mean-field learning."""

    theta: Params
    psis: dict[str, Params]
    table: Table | None = None

    def after(self, family: str, state: TrainState) -> "Trained":
        """With what a training of this family left."""
        if isinstance(state.psi, Table):
            return Trained(state.theta, {}, state.psi)
        return self._replace(theta=state.theta, psis={**self.psis, family: state.psi})


class Outcome(NamedTuple):
    """All that was measured on one split; `rows` makes rows of it.

    amortized: what gave each family's phi that the optimum is compared with; a family that is not in it had
        none, and was fitted from wherever the inner loop starts.
    choice: how the estimator was chosen, where a pilot was asked for.
    bidirectional, calibrations: both bounds, and those of each family's q*, on simulated data.
    """

    points: Measured
    fits: dict[str, local_fit.LocalFit]
    amortized: dict[str, str]
    seconds: dict[str, float]
    estimator: Estimator
    choice: dict[str, Any] | None
    evidence: Evidence
    bidirectional: Bidirectional | None
    calibrations: dict[str, Calibration]


def measure(
    experiment: Experiment,
    split: str,
    trained: Trained,
    directory: Path,
    console: Console,
) -> Outcome:
    """Every stage of one split, or what is stored of it in the directory."""
    theta = trained.theta
    points, settings = datapoints(experiment, split, theta), experiment.evaluate
    stages, count = directory / "stages", len(points.inputs.index_N)
    in_blocks = functools.partial(_in_blocks, count=count, size=settings.points_per_save, console=console)
    fits, seconds = {}, {}
    for name in settings.families:
        fit = functools.partial(_fit, experiment, split, name, trained, points)
        stage, total = f"inference {split} {name}", count * len(settings.starts)
        template = local_fit.LocalFit.template(), 0
        fits[name], seconds_N = in_blocks(
            stages, stage, template, fit, total=total, unit="points" if total == count else "fits"
        )
        seconds[name] = float(np.sum(seconds_N))

    sources = {
        "optimum": lambda name: fits[name].inference.phi_P,
        "encoder": lambda name: fits[name].phi_start,
    }
    phis = tuple(sources[source](name) for name, source in settings.evidence.proposals)
    estimators, choice = settings.evidence.estimators, None
    if len(estimators) > 1:
        choose = functools.partial(_choose, experiment, theta, points, phis)
        choice = stored_json(stages / f"choice_{split}.json", choose, console)
        console.print(f"evidence {split}: {choice['reason']}", highlight=False)
    estimator = estimators[choice["winner"] if choice else 0]
    weigh = functools.partial(_weigh, experiment, estimator, theta, points, phis)
    evidence = in_blocks(stages, f"evidence {split}", Evidence.template(), weigh)
    both = None
    if points.z_NxK is not None and settings.evidence.start in (*fits, "prior"):
        template = Bidirectional(Evidence.template(), Evidence.template(), 0)
        both = in_blocks(
            stages,
            f"two-sided {split}",
            template,
            functools.partial(_both_bounds, experiment, theta, points, fits),
        )
    calibrations = {}
    if points.z_NxK is not None:
        calibrations = {name: _calibrate(experiment, name, points, fit) for name, fit in fits.items()}
    amortized = {name: how for name in fits if (how := _amortized(experiment, split, name, trained))}
    return Outcome(points, fits, amortized, seconds, estimator, choice, evidence, both, calibrations)


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
    blocks = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    paths = [stages / f"{stage.replace(' ', '_')}_{rows.start}.npz" for rows in blocks]
    there = of_first(lambda: [path.exists() for path in paths])
    if all(there):
        parts = [
            stored(path, template, functools.partial(compute, rows, lambda done: None), console)
            for path, rows in zip(paths, blocks, strict=True)
        ]
    else:
        with report.progress_bar(console, stage, total or count, unit) as advance:
            parts = []
            for path, rows, done in zip(paths, blocks, there, strict=True):
                parts.append(stored(path, template, functools.partial(compute, rows, advance), console))
                if done:
                    advance((rows.stop - rows.start) * (total or count) // count)
    return jax.tree.map(lambda *arrays: np.concatenate([np.atleast_1d(a) for a in arrays]), *parts)


def _fit(
    experiment: Experiment,
    split: str,
    name: str,
    trained: Trained,
    points: Measured,
    rows: slice,
    progress: Progress,
) -> tuple[local_fit.LocalFit, np.ndarray]:
    """(the local fits, the seconds they took)."""
    began, settings = time.perf_counter(), experiment.evaluate
    inputs = type(points.inputs)(*(array[rows] for array in points.inputs))
    fitted = local_fit.fit_locally(
        experiment.latent_model,
        experiment.families[name],
        settings.inference[name],
        trained.theta,
        inputs,
        _starts(experiment, split, name, trained, inputs),
        experiment.keys.inference,
        starts=settings.starts,
        chunk_size=settings.memory,
        progress=progress,
    )
    return fitted, np.float64(time.perf_counter() - began)


def _amortized(experiment: Experiment, split: str, name: str, trained: Trained) -> str | None:
    """What gives this family's phi on this split: its encoder, with or without steps, or the table."""
    first = experiment.stages[0]
    if trained.table is not None and split == "train" and name == first.family:
        return "table"
    if name not in trained.psis:
        return None
    refined = experiment.regime == "semi_amortized" and name == first.family
    return "encoder and steps" if refined else "encoder"


def _starts(experiment: Experiment, split: str, name: str, trained: Trained, inputs: Inputs) -> np.ndarray:
    """phi of the family as it was learned, of each datapoint: a row of the table or the encoder's.

    Of a family that has none, of the trained encoder's law projected; where there is no such projection
    either, the prior.
    """
    how, target = _amortized(experiment, split, name, trained), experiment.families[name]
    if how == "table":
        return _rows_of_table(experiment, trained.table, inputs.index_N)
    encoder_name = name if how else next(iter(trained.psis), None)
    if encoder_name is None:
        return np.tile(np.asarray(target.init()), (len(inputs.index_N), 1))
    # The last stage of a family is the one that has its encoder.
    source = next(s.system for s in reversed(experiment.stages) if s.family == encoder_name)

    def encode(shared: tuple[Params, Params, Key], row: tuple[jax.Array, jax.Array]) -> jax.Array:
        (theta, psi, key), (x_D, index) = shared, row
        phi_P = source.regime.recognise(theta, psi, x_D, jax.random.fold_in(key, index))
        if how:
            return ravel_pytree(phi_P)[0]
        if target.project is None or source.family.location_scale is None:
            return target.init()
        return target.project(*source.family.location_scale(phi_P))

    shared = (trained.theta, trained.psis[encoder_name], experiment.keys.recognise)
    return map_datapoints(encode, shared, tuple(inputs), chunk_size=1000)


def _rows_of_table(experiment: Experiment, table: Table, index_N: np.ndarray) -> np.ndarray:
    """phi of the datapoints of these indices, in the coordinates of the family."""
    system = experiment.stages[0].system
    order_N = np.argsort(experiment.train_split.index_N)
    row_N = order_N[np.searchsorted(experiment.train_split.index_N[order_N], index_N)]
    convert = functools.partial(same_law, family=system.regime.family, other=system.family)
    return np.asarray(jax.vmap(convert)(table.phi_NxP[row_N]))


def _calibrate(experiment: Experiment, name: str, points: Measured, fit: local_fit.LocalFit) -> Calibration:
    return calibration(
        experiment.families[name],
        fit.inference.phi_P,
        points.inputs.index_N,
        points.z_NxK,
        experiment.keys.calibrate,
        num_draws=RANKED_DRAWS,
    )


RANKED_DRAWS = 199  # so that 20 bins of ranks are alike


def _choose(
    experiment: Experiment, theta: Params, points: Measured, phis: tuple[np.ndarray, ...]
) -> dict[str, Any]:
    """The choice as it is stored: {"winner", "reason", "trials": [...]}."""
    settings = experiment.evaluate
    choice: Choice = choose_estimator(
        experiment.latent_model,
        settings.evidence.estimators,
        theta,
        points.inputs,
        phis,
        experiment.keys.pilot,
        pilot_points=settings.evidence.pilot_points,
        chunk_size=settings.memory,
    )
    return {**choice._asdict(), "trials": [trial._asdict() for trial in choice.trials]}


def _weigh(
    experiment: Experiment,
    estimator: Estimator,
    theta: Params,
    points: Measured,
    phis: tuple[np.ndarray, ...],
    rows: slice,
    progress: Progress,
) -> Evidence:
    return estimate_log_evidence(
        experiment.latent_model,
        estimator,
        theta,
        tuple(array[rows] for array in points.inputs),
        tuple(phi_NxP[rows] for phi_NxP in phis),
        experiment.keys.evidence,
        chunk_size=experiment.evaluate.memory,
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
    experiment: Experiment,
    theta: Params,
    points: Measured,
    fits: dict[str, local_fit.LocalFit],
    rows: slice,
    progress: Progress,
) -> Bidirectional:
    """Bidirectional Monte Carlo at each simulated datapoint, from its q* or the prior."""
    settings, model = experiment.evaluate.evidence, experiment.latent_model
    name = settings.start if settings.start in fits else next(iter(fits))
    family, phi_NxP = experiment.families[name], fits[name].inference.phi_P
    if settings.start == "prior":
        phi_NxP = np.broadcast_to(np.asarray(family.init()), phi_NxP.shape)

    data = tuple(array[rows] for array in (*points.inputs, points.z_NxK, phi_NxP))
    return map_datapoints(
        _from_both_sides(model, family, settings.annealing),
        (theta, experiment.keys.bidirectional),
        data,
        chunk_size=experiment.evaluate.memory,
        progress=progress,
    )
