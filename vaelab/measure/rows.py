"""From what was measured on a split to the rows of `gap.json` and the arrays of `per_datapoint.npz`."""

import itertools
from typing import Any

import numpy as np

from vaelab.evidence.bdmc import temperatures_for
from vaelab.inference import certificate
from vaelab.inference.loop import evaluations
from vaelab.measure import ended, gap
from vaelab.measure.subject import Outcome, Subject
from vaelab.objective.draws import Estimate
from vaelab.posterior.project import has_projection

UNSURE = 0.1  # nats: of quadrature, whose error says of what it may have missed
HEAVY = 0.7  # a larger Pareto k-hat says that neither the estimate nor its error is to be trusted


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
    if both is not None:
        for side, bound in (("lower", both.lower), ("upper", both.upper)):
            measured |= {
                f"two_sided_{side}": bound.log_evidence,
                f"two_sided_{side}_stderr": bound.stderr,
            }
    for name, fitted in outcome.fits.items():
        ends_N = ended.ended(fitted)
        columns = {
            "elbo_optimal": fitted.elbo_optimal.value,
            "elbo_optimal_stderr": fitted.elbo_optimal.stderr,
            "excess": fitted.inference.excess.value,
            "excess_stderr": fitted.inference.excess.stderr,
            "converged": ends_N == ended.CONVERGED,
            "ended": ends_N,
            "rounds": fitted.rounds,
            "from_prior": fitted.from_prior,
        }
        if name in subject.amortized:
            columns["elbo_amortized"] = fitted.elbo_start.value
            columns["elbo_amortized_stderr"] = fitted.elbo_start.stderr
        measured |= {f"{name}/{key}": value for key, value in columns.items()}
    return {f"{split}/{key}": value for key, value in measured.items()}


def _row(subject: Subject, split: str, name: str, outcome: Outcome) -> dict[str, Any]:
    """One row of `gap.json`, closed forms beside it where the model has them."""
    fitted, family = outcome.fits[name], subject.families[name]
    has_encoder = name in subject.amortized
    measured = gap.Gap(fitted.elbo_start.value, fitted.elbo_optimal.value, outcome.evidence.log_evidence)
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
        "amortized_by": subject.amortized.get(name),
        "num_points": len(measured.elbo_optimal),
        **gap.summarize(measured, has_encoder=has_encoder),
        "num_unconverged": len(measured.elbo_optimal) - ends[ended.CONVERGED],
        "ended": ends,
        "num_from_prior": int(np.sum(fitted.from_prior)),
        "certificate": certificate.kind(family, log_concave=log_concave),
        "num_negative": int(np.sum(measured.amortization < 0)) if has_encoder else None,
        "decoder_evaluations_per_point": round(evaluations_a_round * float(np.mean(fitted.rounds))),
        "seconds": outcome.seconds[name],
        **_orders(name, outcome, has_encoder=has_encoder),
    }
    k_N = outcome.evidence.pareto_k
    row["log_evidence"] |= {
        "estimator": outcome.estimator.name,
        "bias": outcome.estimator.bias,
        # Infinite is a k-hat of weights too few to tell, as those of a handful of SMC runs.
        "num_heavy_tailed": int(np.sum(np.isfinite(k_N) & (k_N > HEAVY))),
        "decoder_evaluations_per_point": round(outcome.estimator.evaluations),
    }
    if outcome.choice is not None:
        row["log_evidence"] |= {"reason": outcome.choice["reason"], "trials": outcome.choice["trials"]}
    if outcome.bidirectional is not None:
        row["two_sided"] = _two_sided(subject, outcome)
    if name in outcome.calibrations:
        row["calibration"] = outcome.calibrations[name]._asdict()
    if subject.model.exact is not None and has_projection(family):
        x_NxD = outcome.points.inputs.x_NxD
        exact = gap.exact_gap(subject.model, family, subject.theta, x_NxD, fitted.phi_start)
        row["exact"] = gap.summarize(exact, has_encoder=has_encoder)
    return row


def _orders(name: str, outcome: Outcome, *, has_encoder: bool) -> dict[str, Any]:
    """Which of the orders that theory asks for are broken: in the mean, and at how many datapoints.

    Every family has the diagonal one in it. What is not finite, or was never moved, is named by its index.
    """
    fits, evidence = outcome.fits, outcome.evidence
    optimum, log_evidence = fits[name].elbo_optimal, Estimate(evidence.log_evidence, evidence.stderr)
    chain = {f"L[q*_{name}]": optimum, f"log p(x) ({outcome.estimator.name})": log_evidence}
    if name != "diagonal" and "diagonal" in fits:
        chain = {"L[q*_diagonal]": fits["diagonal"].elbo_optimal, **chain}
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
        broken += gap.broken_orders([(low_name, low.value), (high_name, high.value)])
        counts[f"{low_name} <= {high_name}"] = gap.num_broken(low, high, difference=difference)
    index_N = outcome.points.inputs.index_N
    by_nodes = outcome.estimator.name == "quadrature"
    for what, bad_N in (
        (f"L[q*_{name}] is not finite", ~np.isfinite(optimum.value)),
        (f"log p(x) ({outcome.estimator.name}) is not finite", ~np.isfinite(evidence.log_evidence)),
        (f"no move was accepted ({outcome.estimator.name})", evidence.acceptance == 0.0),
        (f"quadrature is off by {UNSURE} nats or more", by_nodes & (evidence.stderr > UNSURE)),
    ):
        if bad_N.any():
            broken.insert(0, f"{what} at {bad_N.sum()} datapoints, index {index_N[bad_N][0]} first")
    return {"broken_orders": broken, "num_broken_orders": counts}


def _two_sided(subject: Subject, outcome: Outcome) -> dict[str, Any]:
    """Both bounds on simulated data, their width, and the temperatures that the wanted width takes."""
    both, settings = outcome.bidirectional, subject.settings.evidence
    width = gap.mean_and_stderr(both.width)
    used, wanted = settings.annealing.num_temperatures, settings.wanted_width
    planned = (
        temperatures_for(width["mean"], num_temperatures=used, wanted=wanted) if width["mean"] > 0.0 else None
    )
    return {
        "lower": gap.mean_and_stderr(both.lower.log_evidence),
        "upper": gap.mean_and_stderr(both.upper.log_evidence),
        "width": width,
        "num_temperatures": used,
        "wanted_width": wanted,
        "planned_temperatures": planned,
    }
