"""One run: train, refit, infer, weigh the evidence, report; and the directory that remembers it.

The same command on the same directory goes on where the last one stopped, and does nothing twice: training
from its newest checkpoint, every later stage from the arrays it left in `stages/`.
"""

import io
import json
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from ml_collections import ConfigDict
from rich.console import Console

from vaelab import certificate, gap, local_fit, report
from vaelab.build import Experiment, build, build_study
from vaelab.checkpoint import Checkpointer
from vaelab.evidence import Evidence
from vaelab.inference import evaluations
from vaelab.parallel import map_datapoints
from vaelab.train import TrainState, evaluator, fit, init_state
from vaelab.types import ConfigError, Params

NUM_PICTURES = 12
ESTIMATOR = "importance sampling"


def run(config: ConfigDict, workdir: str, console: Console) -> list[dict[str, Any]]:
    """Runs all stages that `workdir` does not hold yet; returns the rows of its `gap.json`.

    A config with a `study` in it is computed whole, and leaves `study.json` and `study.png`; it has no rows.

    Raises ConfigError, DataError, CheckpointError or NonFiniteError, each with one line that says what to do.
    """
    directory = Path(workdir).expanduser()
    if "study" in config:
        _study(config, directory, console)
        return []
    finished = _finished(directory / "gap.json", config, console)
    if finished is not None:
        _show(finished["rows"], console)
        return finished["rows"]
    experiment = build(config)
    open_directory(directory, config)
    psis, theta = {}, experiment.theta
    for number, name in enumerate(experiment.systems):
        if experiment.num_steps(name):
            state = _train(experiment, name, number, theta, directory, console)
            theta, psis[name] = state.theta, state.psi

    rows, per_datapoint, fits = [], {}, {}
    for split in experiment.inputs:
        split_rows, arrays, fits[split] = _measure(experiment, split, theta, psis, directory, console)
        rows += split_rows
        per_datapoint |= arrays
    _write_results(experiment, directory, rows, per_datapoint, fits, theta)
    _show(rows, console)
    console.print(f"results are in {directory}", highlight=False)
    return rows


def _show(rows: list[dict[str, Any]], console: Console) -> None:
    console.print(report.gap_table(rows))
    for row in rows:
        for problem in row["broken_orders"]:
            console.print(f"order broken on {row['split']}: {problem}", style="red", markup=False)


def _finished(results: Path, config: ConfigDict, console: Console) -> Any:
    """What a finished run of this config left in `results`; None where it is not there, or damaged."""
    if not results.exists():
        return None
    open_directory(results.parent, config)
    try:
        content = json.loads(results.read_text())
    except ValueError:
        set_aside(results, console)
        return None
    console.print(f"{results.parent} is finished; its results:", highlight=False)
    return content


def set_aside(path: Path, console: Console) -> None:
    """Renames a file that cannot be read back, so that it is made anew and nothing is lost."""
    damaged = path.with_name(f"damaged-{path.name}")
    path.replace(damaged)
    console.print(f"{path} is damaged: kept as {damaged.name} and made anew", style="red", highlight=False)


def _study(config: ConfigDict, directory: Path, console: Console) -> None:
    results = directory / "study.json"
    tables = _finished(results, config, console)
    if tables is None:
        compute = build_study(config)
        open_directory(directory, config)
        found = compute()
        tables = found.tables
        found.plot(directory / "study.png")
        report.write_whole(results, (json.dumps(tables, indent=2) + "\n").encode())
    for title, rows in tables.items():
        console.print(report.plain_table(title, rows))
    console.print(f"results are in {directory}", highlight=False)


def open_directory(workdir: Path, config: ConfigDict) -> Path:
    """The run's directory, made if need be, with `config.json` in it.

    Raises ConfigError if it belongs to a run of another config, or cannot be written.
    """
    text = config.to_json_best_effort(indent=2, sort_keys=True) + "\n"
    path = workdir / "config.json"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "stages").mkdir(exist_ok=True)
        if not path.exists():
            if (workdir / "gap.json").exists() or (workdir / "checkpoints").exists():
                raise ConfigError(f"{workdir} holds results but no config.json: take another --workdir")
            report.write_whole(path, text.encode())
        saved = path.read_text()
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is damaged: take another --workdir, or mend it") from None
    except OSError as error:
        raise ConfigError(f"--workdir={workdir} cannot be written: {error.strerror or error}") from error
    if saved != text:
        try:
            changed = _differences(json.loads(saved), json.loads(text))
        except ValueError:
            raise ConfigError(f"{path} is damaged: take another --workdir, or mend it") from None
        raise ConfigError(
            f"{workdir} belongs to a run of another config ({'; '.join(changed[:3])}"
            f"{'; ...' if len(changed) > 3 else ''}): take another --workdir"
        )
    return workdir


def _differences(saved: Any, wanted: Any, path: str = "config") -> list[str]:
    if isinstance(saved, dict) and isinstance(wanted, dict):
        names = sorted(saved.keys() | wanted.keys())
        return [d for n in names for d in _differences(saved.get(n), wanted.get(n), f"{path}.{n}")]
    return [] if saved == wanted else [f"{path} is {saved!r} there and {wanted!r} here"]


def _train(
    experiment: Experiment, name: str, number: int, theta: Params, directory: Path, console: Console
) -> TrainState:
    """Trains one family's system from its newest checkpoint, or from the start, to its last step."""
    settings, keys = experiment.train, experiment.keys
    system, num_steps = experiment.systems[name], experiment.num_steps(name)
    stage = f"refit_{name}" if number else "train"
    key = jax.random.fold_in(keys.train, number)
    log = report.MetricsLog(directory / "metrics.jsonl")
    template = init_state(system, jax.random.fold_in(keys.encoder, number), theta)
    evaluate = evaluator(system, num_samples=settings.validation_samples, chunk_size=1000)
    with Checkpointer(
        directory / "checkpoints" / stage, max_to_keep=settings.keep_checkpoints
    ) as checkpoints:
        restored = checkpoints.restore_latest(template)
        start, state = restored or (0, template)
        log.forget_after(stage, start)
        if start >= num_steps:
            return state
        if start:
            console.print(f"{stage} goes on from step {start}", highlight=False)
        with report.progress_bar(console, stage.replace("_", " "), num_steps, "steps") as advance:
            advance(start)
            began = time.perf_counter()
            for progress in fit(
                state,
                experiment.train_split.pixels_NxD,
                experiment.train_split.index_N,
                key,
                system=system,
                order_seed=experiment.order_seed,
                num_steps=num_steps,
                batch_size=settings.batch_size,
                chunk_size=settings.chunk_size,
                max_skipped=settings.max_skipped,
            ):
                state, metrics = progress.state, progress.metrics
                step, values = int(state.step), _chunk_values(settings.bound_name, metrics)
                for line in progress.skipped:
                    console.print(f"left out {line}", style="red", highlight=False)
                if progress.skipped:
                    values["num_skipped"] = len(progress.skipped)
                if step % settings.evaluate_every == 0 or step == num_steps:
                    values["validation_elbo"], values["validation_stderr"] = evaluate(
                        state.theta, state.psi, *experiment.validation, keys.evaluate
                    )
                log.write(stage, step, **values, seconds=time.perf_counter() - began)
                shown = (settings.bound_name, "validation_elbo")
                advance(len(metrics.bound), **{name: values[name] for name in shown if name in values})
                if step % settings.checkpoint_every == 0 or step == num_steps:
                    checkpoints.save(step, state)
    return state


def _chunk_values(bound_name: str, metrics: Any) -> dict[str, float]:
    """Means over the chunk's steps that were taken."""
    taken = np.isfinite(metrics.bound) & np.isfinite(metrics.grad_norm)
    if not taken.any():
        return {}
    return {
        bound_name: float(np.mean(metrics.bound[taken])),
        "grad_norm": float(np.mean(metrics.grad_norm[taken])),
    }


def _stored(path: Path, template: Any, compute: Callable[[], Any], console: Console) -> Any:
    """compute(), or what an earlier run of it left at `path`; `template` gives the structure."""
    treedef = jax.tree.structure(template)
    if path.exists():
        try:
            # The zip holds a checksum of each array.
            with path.open("rb") as file, np.load(file) as arrays:
                return jax.tree.unflatten(treedef, [arrays[str(i)] for i in range(treedef.num_leaves)])
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            set_aside(path, console)
    result = compute()
    buffer = io.BytesIO()
    np.savez(buffer, **{str(i): leaf for i, leaf in enumerate(jax.tree.leaves(result))})
    report.write_whole(path, buffer.getvalue())
    return result


def _measure(
    experiment: Experiment,
    split: str,
    theta: Params,
    psis: dict[str, Params],
    directory: Path,
    console: Console,
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray], dict[str, local_fit.LocalFit]]:
    """The rows of `gap.json`, the per-datapoint arrays and the local fits of one split, every family."""
    inputs, settings = experiment.inputs[split], experiment.evaluate
    count = len(inputs.index_N)
    fits: dict[str, local_fit.LocalFit] = {}
    seconds: dict[str, float] = {}
    for name in settings.families:

        def fit_family(name: str = name) -> tuple[local_fit.LocalFit, np.ndarray]:
            began = time.perf_counter()
            fits_to_do = count * len(settings.starts)
            unit = "points" if fits_to_do == count else "fits"
            with report.progress_bar(console, f"inference {split} {name}", fits_to_do, unit) as advance:
                fitted = local_fit.fit_locally(
                    experiment.latent_model,
                    experiment.systems[name].family,
                    settings.inference[name],
                    theta,
                    inputs,
                    _starts(experiment, name, theta, psis, inputs.x_NxD),
                    experiment.keys.inference,
                    starts=settings.starts,
                    chunk_size=settings.memory,
                    progress=advance,
                )
            return fitted, np.float64(time.perf_counter() - began)

        path = directory / "stages" / f"inference_{split}_{name}.npz"
        fits[name], seconds[name] = _stored(path, (local_fit.LocalFit.template(), 0), fit_family, console)

    def weigh() -> Evidence:
        with report.progress_bar(console, f"evidence {split}", count, "points") as advance:
            return gap.estimate_log_evidence(
                experiment.latent_model,
                tuple(experiment.systems[name].family for name in fits),
                theta,
                inputs,
                tuple(fitted.inference.phi_P for fitted in fits.values()),
                experiment.keys.evidence,
                num_samples=settings.evidence_samples,
                draw_chunk_size=settings.evidence_draw_chunk_size,
                chunk_size=settings.memory,
                progress=advance,
            )

    path = directory / "stages" / f"evidence_{split}.npz"
    evidence = _stored(path, Evidence(0, 0, 0), weigh, console)
    rows, arrays = (
        [],
        {
            f"{split}/index": inputs.index_N,
            f"{split}/log_evidence": evidence.log_evidence,
            f"{split}/log_evidence_stderr": evidence.stderr,
            f"{split}/effective_sample_size": evidence.effective_sample_size,
        },
    )
    for name, fitted in fits.items():
        row = _row(experiment, split, name, fits, evidence, theta, has_encoder=name in psis)
        rows.append({**row, "seconds": float(seconds[name])})
        columns = {
            "elbo_optimal": fitted.elbo_optimal.value,
            "elbo_optimal_stderr": fitted.elbo_optimal.stderr,
            "excess": fitted.inference.excess.value,
            "excess_stderr": fitted.inference.excess.stderr,
            "converged": fitted.inference.converged,
            "rounds": fitted.rounds,
            "from_prior": fitted.from_prior,
        }
        if name in psis:
            columns["elbo_amortized"] = fitted.elbo_start.value
            columns["elbo_amortized_stderr"] = fitted.elbo_start.stderr
        arrays |= {f"{split}/{name}/{key}": value for key, value in columns.items()}
    return rows, arrays, fits


def _row(
    experiment: Experiment,
    split: str,
    name: str,
    fits: dict[str, local_fit.LocalFit],
    evidence: Evidence,
    theta: Params,
    *,
    has_encoder: bool,
) -> dict[str, Any]:
    """One row of `gap.json`, closed forms beside it where the model has them."""
    settings, fitted, family = experiment.evaluate, fits[name], experiment.systems[name].family
    measured = gap.Gap(fitted.elbo_start.value, fitted.elbo_optimal.value, evidence.log_evidence)
    statistics = gap.summarize(measured, has_encoder=has_encoder)
    ordered = [(f"log p(x) >= ({ESTIMATOR})", measured.log_evidence)]
    ordered.insert(0, (f"L[q*_{name}]", measured.elbo_optimal))
    if name != "diagonal" and "diagonal" in fits:
        # Every other family has the diagonal one in it.
        ordered.insert(0, ("L[q*_diagonal]", fits["diagonal"].elbo_optimal.value))
    broken = gap.broken_orders(ordered)
    if has_encoder:
        broken += gap.broken_orders(
            [(f"L[q_phi] ({name})", measured.elbo_amortized), (f"L[q*_{name}]", measured.elbo_optimal)]
        )
        broken += gap.broken_orders([(f"L[q_phi] ({name})", measured.elbo_amortized), ordered[-1]])
    finite_N = np.isfinite(measured.elbo_optimal)
    if not finite_N.all():
        index_N = experiment.inputs[split].index_N[~finite_N]
        broken.insert(0, f"L[q*_{name}] is not finite at {len(index_N)} datapoints, index {index_N[0]} first")
    inference = settings.inference[name]
    log_concave = experiment.latent_model.concavity is not None
    evaluations_a_round = evaluations(
        inference.solver(family),
        family,
        num_steps=inference.num_steps,
        certificate_groups=inference.certificate_groups,
        log_concave=log_concave,
    )
    row = {
        "split": split,
        "family": name,
        "num_points": len(measured.elbo_optimal),
        **statistics,
        "num_unconverged": int(np.sum(~fitted.inference.converged)),
        "num_from_prior": int(np.sum(fitted.from_prior)),
        "certificate": certificate.kind(family, log_concave=log_concave),
        "num_negative": int(np.sum(measured.amortization < 0)) if has_encoder else None,
        "decoder_evaluations_per_point": round(evaluations_a_round * float(np.mean(fitted.rounds))),
        "broken_orders": broken,
    }
    row["log_evidence"] |= {"estimator": ESTIMATOR, "bias": "lower"}
    if experiment.latent_model.exact is not None and family.project is not None:
        x_NxD = experiment.inputs[split].x_NxD
        exact = gap.exact_gap(experiment.latent_model, family, theta, x_NxD, fitted.phi_start)
        row["exact"] = gap.summarize(exact, has_encoder=has_encoder)
    return row


def _starts(
    experiment: Experiment, name: str, theta: Params, psis: dict[str, Params], x_NxD: np.ndarray
) -> np.ndarray:
    """phi of the family's own encoder at each x; without one, of the trained encoder's law projected.

    Where there is no such projection either, the prior.
    """
    encoder_name = name if name in psis else next(iter(psis))
    source, target = experiment.systems[encoder_name], experiment.systems[name].family

    def encode(psi: Params, x_D: jax.Array) -> jax.Array:
        if encoder_name == name:
            return ravel_pytree(source.encoder.apply(psi, x_D))[0]
        if target.project is None or source.family.location_scale is None:
            return target.init()
        return target.project(*source.family.location_scale(source.encoder.apply(psi, x_D)))

    return map_datapoints(encode, psis[encoder_name], x_NxD, chunk_size=1000)


def _write_results(
    experiment: Experiment,
    directory: Path,
    rows: list[dict[str, Any]],
    per_datapoint: dict[str, np.ndarray],
    fits: dict[str, dict[str, local_fit.LocalFit]],
    theta: Params,
) -> None:
    """The plots, the arrays, and `gap.json` last, as it marks the run as finished."""
    report.plot_gaps(directory / "gaps.png", rows, per_datapoint)
    if len(experiment.image_shape) == 2:
        report.plot_images(
            directory / "images.png", _pictures(experiment, fits, theta), experiment.image_shape
        )
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **per_datapoint)
    report.write_whole(directory / "per_datapoint.npz", buffer.getvalue())
    report.write_whole(directory / "gap.json", report.to_json(rows))


def _pictures(
    experiment: Experiment, fits: dict[str, dict[str, local_fit.LocalFit]], theta: Params
) -> dict[str, np.ndarray]:
    """Data, reconstructions at the centre (eps = 0) of the encoder's q and of q*, draws from the model."""
    latent_model, family = experiment.latent_model, experiment.systems[next(iter(experiment.systems))].family
    split = next(iter(experiment.inputs))
    fitted = fits[split][family.name]
    decode = jax.jit(jax.vmap(latent_model.mean, (None, 0)))

    def at_mean(phi_NxP: np.ndarray) -> np.ndarray:
        centre = jax.jit(jax.vmap(family.reparameterize, (0, None)))
        z_NxK = centre(phi_NxP[:NUM_PICTURES], jnp.zeros(latent_model.latent_dim))
        return np.asarray(decode(theta, z_NxK))

    count = min(NUM_PICTURES, len(experiment.inputs[split].index_N))
    z_NxK = jax.random.normal(experiment.keys.pictures, (count, latent_model.latent_dim))
    return {
        split: experiment.inputs[split].x_NxD[:NUM_PICTURES],
        "encoder": at_mean(fitted.phi_start),
        "optimum": at_mean(fitted.inference.phi_P),
        "model": np.asarray(decode(theta, z_NxK)),
    }
