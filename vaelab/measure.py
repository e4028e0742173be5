"""What is measured on a trained model: local fits, evidence and the rows of `gap.json`, split by split."""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from rich.console import Console

from vaelab import certificate, gap, local_fit, report
from vaelab.build import Experiment
from vaelab.evidence import Evidence
from vaelab.inference import evaluations
from vaelab.parallel import map_datapoints
from vaelab.rundir import stored
from vaelab.types import Params

ESTIMATOR = "importance sampling"


def measure(
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
        fits[name], seconds[name] = stored(path, (local_fit.LocalFit.template(), 0), fit_family, console)

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
    evidence = stored(path, Evidence(0, 0, 0), weigh, console)
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
