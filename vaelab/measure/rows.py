"""From what was measured on a split to the rows of `gap.json` and the arrays of `per_datapoint.npz`."""

import itertools
from typing import Any

import numpy as np

from vaelab.evidence import Evidence
from vaelab.evidence.bdmc import temperatures_for
from vaelab.evidence.weights import HEAVY
from vaelab.inference import certificate
from vaelab.inference.loop import evaluations
from vaelab.measure import by_group, diagnostics, ended, gap, nested, other_modes, pairs, remarks, split_gap
from vaelab.measure.fit import LocalFit
from vaelab.measure.subject import Outcome, Subject
from vaelab.objective.draws import Estimate
from vaelab.posterior.project import has_projection
from vaelab.runtime.devices import take
from vaelab.types import PosteriorFamily


def rows(subject: Subject, split: str, outcome: Outcome) -> list[dict[str, Any]]:
    """A row for each family."""
    return [_row(subject, split, name, outcome) for name in outcome.fits]


def arrays(subject: Subject, split: str, outcome: Outcome) -> dict[str, np.ndarray]:
    """What stands behind the rows, one value a datapoint under each name."""
    evidence, both = outcome.evidence, outcome.bidirectional
    measured = {
        "index": outcome.points.inputs.index_N,
        "log_evidence": evidence.log_evidence,
        "log_evidence_stderr": evidence.stderr,
        "effective_sample_size": evidence.effective_sample_size,
        "pareto_k": evidence.pareto_k,
        "acceptance": evidence.acceptance,
    }
    if outcome.points.label_N is not None:
        measured["labels"] = outcome.points.label_N
    if both is not None:
        for side, bound in (("lower", both.lower), ("upper", both.upper)):
            measured |= {
                f"two_sided_{side}": bound.log_evidence,
                f"two_sided_{side}_stderr": bound.stderr,
            }
    if outcome.others is not None:
        others = outcome.others
        prior_side = others.searched.prior_side
        measured |= {
            "num_modes": others.searched.num_modes,
            "searched": others.searched.searched,
            "modes_missed": others.missed_N,
            "prior_side": prior_side.log_evidence,
            "prior_side_stderr": prior_side.stderr,
        }
    for name, fitted in outcome.fits.items():
        ends_N = ended.ended(fitted)
        columns = {
            "elbo_optimal": fitted.elbo_optimal.value,
            "elbo_optimal_stderr": fitted.elbo_optimal.stderr,
            "excess": fitted.inference.excess.value,
            "excess_stderr": fitted.inference.excess.stderr,
            "converged": ends_N == ended.CONVERGED,
            "ended": ended.codes(ends_N),
            "rounds": fitted.rounds,
            "from_prior": fitted.from_prior,
        }
        if outcome.others is not None:
            refit = outcome.others.refits[name]
            columns["elbo_local"], columns["elbo_local_stderr"] = refit.local
            columns["wrong_mode_gap"], columns["wrong_mode_gap_stderr"] = refit.lost
        if name in subject.amortized:
            columns["elbo_amortized"] = fitted.elbo_start.value
            columns["elbo_amortized_stderr"] = fitted.elbo_start.stderr
        if name in outcome.diagnostics:
            columns |= diagnostics.columns(outcome.diagnostics[name])
        measured |= {f"{name}/{key}": value for key, value in columns.items()}
    return {f"{split}/{key}": value for key, value in measured.items()}


def _row(subject: Subject, split: str, name: str, outcome: Outcome) -> dict[str, Any]:
    """One row of `gap.json`, closed forms beside it where the model has them."""
    fitted, family = outcome.fits[name], subject.families[name]
    has_encoder = name in subject.amortized
    measured = gap.Gap(fitted.elbo_start.value, fitted.elbo_optimal.value, outcome.evidence.log_evidence)
    averaged_N = gap.averaged(measured, has_encoder=has_encoder)
    errors = take(_errors(fitted, outcome.evidence), averaged_N)
    ends = ended.counts(ended.ended(fitted))
    settings = subject.settings.inference[name]
    log_concave = subject.model.concavity is not None
    evaluations_a_round = evaluations(
        settings.solver(family),
        family,
        num_steps=settings.num_steps,
        certificate_groups=settings.certificate_groups,
        log_concave=log_concave,
    )
    row = {
        "split": split,
        "family": name,
        "prior": subject.model.prior,
        "given": subject.model.given.kind if subject.model.given else None,
        "amortized_by": subject.amortized.get(name),
        "num_points": len(averaged_N),
        "num_left_out": int(np.sum(~averaged_N)),
        **gap.summarize(take(measured, averaged_N), has_encoder=has_encoder, errors=errors),
        "num_unconverged": len(averaged_N) - ends[ended.CONVERGED],
        "ended": ends,
        "num_from_prior": int(np.sum(fitted.from_prior)),
        "certificate": certificate.kind(family, log_concave=log_concave),
        "num_negative": int(np.sum(measured.amortization < 0)) if has_encoder else None,
        "decoder_evaluations_per_point": round(evaluations_a_round * float(np.mean(fitted.rounds))),
        "seconds": outcome.seconds[name],
        **_orders(family, name, outcome, has_encoder=has_encoder),
        "notes": remarks.suspects(name, outcome)
        + remarks.about_modes(name, outcome)
        + remarks.about_no_search(subject.model.latent_dim, subject.settings.search.num_starts),
    }
    row["log_evidence"] |= _about_evidence(outcome)
    if outcome.others is not None:
        row |= _modes(subject, name, outcome)
    row |= nested.entries(subject, name, outcome, averaged_N)
    row |= _beside(subject, name, outcome, row, averaged_N)
    if outcome.bidirectional is not None:
        row["two_sided"] = _two_sided(subject, outcome)
    if name in outcome.calibrations:
        row["calibration"] = outcome.calibrations[name]._asdict()
    if subject.model.exact is not None and has_projection(family):
        x_NxD = outcome.points.inputs.x_NxD
        exact = gap.exact_gap(subject.model, family, subject.theta, x_NxD, fitted.phi_start)
        closed_forms = dict.fromkeys(errors, np.zeros(np.sum(averaged_N)))
        row["exact"] = gap.summarize(take(exact, averaged_N), has_encoder=has_encoder, errors=closed_forms)
        row["exact"] |= nested.exact(subject, name, outcome, averaged_N)
    row["notes"] = _left_out(outcome.points.inputs.index_N, averaged_N) + row["notes"]
    return row


def _about_evidence(outcome: Outcome) -> dict[str, Any]:
    """How log p(x) was estimated, and how far that can be trusted."""
    estimator, k_N = outcome.estimator, outcome.evidence.pareto_k
    about = {
        "estimator": estimator.name,
        "bias": estimator.bias,
        # Infinite is a k-hat of weights too few to tell, as those of a handful of SMC runs.
        "num_heavy_tailed": int(np.sum(np.isfinite(k_N) & (k_N > HEAVY))),
        "decoder_evaluations_per_point": round(estimator.evaluations),
    }
    if estimator.reach is not None:
        about["reach"] = estimator.reach
    if outcome.choice is not None:
        about |= {"reason": outcome.choice["reason"], "trials": outcome.choice["trials"]}
    if outcome.others is not None:
        about["num_by_modes"] = len(outcome.others.by_modes)
    return about


def _left_out(index_N: np.ndarray, averaged_N: np.ndarray) -> list[str]:
    """The line about the datapoints that the means leave out, if there are any."""
    if averaged_N.all():
        return []
    line = f"the means leave out {int(np.sum(~averaged_N)):,} of {len(averaged_N):,} datapoints"
    return [f"{line}: a number there is not finite, index {index_N[~averaged_N][0]} first"]


def _beside(
    subject: Subject, name: str, outcome: Outcome, row: dict[str, Any], averaged_N: np.ndarray
) -> dict[str, Any]:
    """What a row has beside its gaps: groups of datapoints, what its q carry, where its gaps sit, bits."""
    fitted, has_encoder = outcome.fits[name], name in subject.amortized
    measured = gap.Gap(fitted.elbo_start.value, fitted.elbo_optimal.value, outcome.evidence.log_evidence)
    made = by_group.groups(outcome.points, outcome.evidence.log_evidence, given=subject.model.given)
    errors = _errors(fitted, outcome.evidence)
    beside = by_group.entries(measured, averaged_N, made, has_encoder=has_encoder, errors=errors)
    if name in outcome.diagnostics:
        beside["diagnostics"] = diagnostics.entry(outcome.diagnostics[name])
    if name in outcome.splits:
        num_draws = subject.settings.diagnostics.split_draws
        beside["amortization_split"] = split_gap.entry(outcome.splits[name], fitted, num_draws=num_draws)
    if name == "diagonal":
        beside |= _correlations(outcome)
    if subject.quantized is not None:
        beside["bits_per_dim"] = diagnostics.bits(row, subject.quantized)
    return beside


def _correlations(outcome: Outcome) -> dict[str, Any]:
    """What the diagonal family lacks by pairs of latents, where the full one stands beside it."""
    for beside, scale_MxKxK in outcome.optimal_scales.items():
        high, low = (np.float64(outcome.fits[name].elbo_optimal.value) for name in (beside, "diagonal"))
        with np.errstate(invalid="ignore"):
            gap_M = (high - low)[: len(scale_MxKxK)]
        return {"correlations": pairs.entry(scale_MxKxK, gap_M, beside)}
    return {}


def _modes(subject: Subject, name: str, outcome: Outcome) -> dict[str, Any]:
    """What was searched, with its cost, and what the first fit lost by its mode."""
    others, lost = outcome.others, outcome.others.refits[name].lost
    count = len(others.searched.searched)
    cost = other_modes.evaluations(subject, others) / count
    entries = {"modes": remarks.summary(name, outcome, cost)}
    entries["modes"]["optimum_from"] = remarks.optimum_from(name, outcome, subject.amortized.get(name))
    finite_N = np.isfinite(lost.value)
    if finite_N.any():
        mean = gap.mean_and_stderr(lost.value[finite_N], errors_N=lost.stderr[finite_N])
        entries["wrong_mode_gap"] = mean
    return entries


def _errors(fitted: LocalFit, evidence: Evidence) -> dict[str, np.ndarray]:
    """The standard error of each datapoint's own value of each statistic of a row, `[N]` each."""
    start, optimum = fitted.elbo_start.stderr, fitted.elbo_optimal.stderr
    return {
        "elbo_amortized": start,
        "amortization_gap": fitted.gain.stderr,
        "inference_gap": np.hypot(start, evidence.stderr),
        "elbo_optimal": optimum,
        "log_evidence": evidence.stderr,
        "approximation_gap": np.hypot(optimum, evidence.stderr),
    }


def _orders(family: PosteriorFamily, name: str, outcome: Outcome, *, has_encoder: bool) -> dict[str, Any]:
    """Which of the orders that theory asks for are broken: in the mean, and at how many datapoints."""
    fits, evidence = outcome.fits, outcome.evidence
    optimum, log_evidence = fits[name].elbo_optimal, Estimate(evidence.log_evidence, evidence.stderr)
    chain = {f"L[q*_{name}]": optimum, f"log p(x) ({outcome.estimator.name})": log_evidence}
    smaller = {f"L[q*_{other}]": fits[other].elbo_optimal for other in nested.nested_in(family, fits)}
    chain = {**smaller, **chain}
    if outcome.bidirectional is not None:
        upper = outcome.bidirectional.upper
        chain["log p(x) from above (two-sided)"] = Estimate(upper.log_evidence, upper.stderr)
    pairs = [(*pair, None) for pair in itertools.pairwise(chain.items())]
    if has_encoder:
        amortized = (f"L[q_phi] ({name})", fits[name].elbo_start)
        pairs.append((amortized, (f"L[q*_{name}]", optimum), fits[name].gain))
        pairs.append((amortized, list(chain.items())[-1], None))
    broken, counts = [], {}
    for (low_name, low), (high_name, high), difference in pairs:
        errors_N = np.hypot(low.stderr, high.stderr) if difference is None else difference.stderr
        broken += gap.broken_orders([(low_name, low.value), (high_name, high.value)], errors_N=errors_N)
        counts[f"{low_name} <= {high_name}"] = gap.num_broken(low, high, difference=difference)
    return {"broken_orders": broken, "num_broken_orders": counts}


def _two_sided(subject: Subject, outcome: Outcome) -> dict[str, Any]:
    """Both bounds on simulated data, their width, and the temperatures that the wanted width takes."""
    both, settings = outcome.bidirectional, subject.settings.evidence
    lower, upper = both.lower, both.upper
    width = gap.mean_and_stderr(both.width, errors_N=np.hypot(lower.stderr, upper.stderr))
    used, wanted = settings.annealing.num_temperatures, settings.wanted_width
    planned = (
        temperatures_for(width["mean"], num_temperatures=used, wanted=wanted) if width["mean"] > 0.0 else None
    )
    return {
        "lower": gap.mean_and_stderr(lower.log_evidence, errors_N=lower.stderr),
        "upper": gap.mean_and_stderr(upper.log_evidence, errors_N=upper.stderr),
        "width": width,
        "num_temperatures": used,
        "wanted_width": wanted,
        "planned_temperatures": planned,
    }
