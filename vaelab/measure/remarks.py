"""What of a row deserves a look, in words: numbers not to be trusted, and what the modes do to them."""

from collections import Counter
from typing import Any

import numpy as np

from vaelab.inference.starts import KINDS
from vaelab.measure.other_modes import MOST_SEARCHED, OtherModes
from vaelab.measure.subject import Outcome

UNSURE = 0.1  # nats: of quadrature, whose error says of what it may have missed
NARROW = 1 / 3  # times the width of the widest: modes above it should be met where several are seen
OUTSIDE = (
    ": q reaches where the density is 0; transform z so that its support is all of R^K, or give support="
)


def _lead(shortfall: float) -> str:
    return f"{shortfall:.4g} nats higher" if np.isfinite(shortfall) else "finite where the other is not"


def _where(bad_N: np.ndarray, index_N: np.ndarray) -> str:
    return f"at {np.sum(bad_N):,} of {len(bad_N):,} datapoints, index {index_N[bad_N][0]} first"


def suspects(name: str, outcome: Outcome) -> list[str]:
    """One line for each kind of number that is not to be trusted, with the datapoints that have it."""
    bound_N, evidence = outcome.fits[name].elbo_optimal.value, outcome.evidence
    estimator, outside_N = outcome.estimator.name, bound_N == -np.inf
    by_nodes = estimator == "quadrature"
    kinds = (
        (f"quadrature is off by {UNSURE} nats or more", by_nodes & (evidence.stderr > UNSURE), ""),
        (f"no move was accepted ({estimator})", evidence.acceptance == 0.0, ""),
        (f"log p(x) ({estimator}) is not finite", ~np.isfinite(evidence.log_evidence), ""),
        (f"L[q*_{name}] is not finite", ~np.isfinite(bound_N) & ~outside_N, ""),
        (f"L[q*_{name}] is -inf", outside_N, OUTSIDE),
    )
    index_N = outcome.points.inputs.index_N
    return [f"{what} {_where(bad_N, index_N)}{why}" for what, bad_N, why in kinds if bad_N.any()]


def about_no_search(latent_dim: int, num_starts: int) -> list[str]:
    """That a search for modes was asked for, and z has too many dimensions for it; else nothing."""
    if not num_starts or latent_dim <= MOST_SEARCHED:
        return []
    return [
        f"other modes are not looked for in {latent_dim:,} dimensions, more than {MOST_SEARCHED}: L[q*] and "
        "log p(x) are those of the modes at which the fits ended"
    ]


def about_modes(name: str, outcome: Outcome) -> list[str]:
    """What the search for modes has shown of this family's fits and of log p(x); nothing of a single mode."""
    others = outcome.others
    if others is None:
        return []
    searched, index_N = others.searched, outcome.points.inputs.index_N
    several_N, crowded_N = searched.num_modes > 1, np.asarray(searched.modes.crowded, bool)
    lesser_N, lines = at_lesser_mode(others, name), []
    if several_N.any():
        lines.append(
            f"several modes: log p(x, z) has up to {searched.num_modes.max()} of weight "
            f"{_where(several_N, index_N)}; log p(x) there is from all that were seen{_unseen(others)}"
        )
    if lesser_N.any():
        lost = np.mean(np.float64(others.refits[name].lost.value)[lesser_N])
        lines.append(
            f"the lesser mode: the {name} fit from its start ends in a mode whose bound is {lost:.4g} nats "
            f"lower in the mean than the best, which is reported, {_where(lesser_N, index_N)}"
        )
    unknown_N = np.isnan(others.refits[name].lost.value)
    if unknown_N.any():
        lines.append(
            f"the lesser mode: the {name} fit may sit in one {_where(unknown_N, index_N)}; this family is "
            "not fitted at other modes"
        )
    if crowded_N.any():
        lines.append(
            f"more modes than are kept {_where(crowded_N, index_N)}: log p(x) lacks the others; raise "
            "inference.modes.max_modes"
        )
    if others.missed_N.any():
        lines.append(
            f"modes missed: from the prior's side log p(x) is {_lead(others.shortfall)} "
            f"{_where(others.missed_N, index_N)}, {len(others.pilot):,} looked at so; there that estimate "
            "stands, elsewhere the error has the difference in it"
        )
    return lines


def _unseen(others: OtherModes) -> str:
    least = others.narrowest
    said = f", as modes less than {least:.2g} times as wide as the widest may not be" if least else ""
    return (
        f"{said}: each log p(x) here is a lower bound, beyond its error" if may_lack_modes(others) else said
    )


def may_lack_modes(others: OtherModes) -> bool:
    """Whether any log p(x) of these datapoints may lack modes that no start has met.

    So where several are seen at one of them, and those less than NARROW times as wide as the widest are the
    least that the search is expected to meet: its error is then that of the modes that were seen.
    """
    several = bool(np.any(others.searched.num_modes > 1))
    return several and others.narrowest is not None and others.narrowest > NARROW


def at_lesser_mode(others: OtherModes, name: str) -> np.ndarray:
    """Where the fit from its own start ends in a mode of a bound lower than the best, beyond the error."""
    lost = others.refits[name].lost
    return np.float64(lost.value) > 5.0 * np.nan_to_num(np.float64(lost.stderr)) + 1e-3


def optimum_from(name: str, outcome: Outcome, amortized_by: str | None) -> dict[str, int]:
    """How many of this family's optima were reached from each kind of start, those of none left out.

    A fit that stays is from the encoder, or what stands for it, or from the prior; one at another mode is
    from the start of the ascent that led to the mode: see `starts.KINDS`.
    """
    refit, kind_NxM = outcome.others.refits[name], outcome.others.searched.modes.start_M
    fit = outcome.fits[name]
    start = np.where(fit.from_prior, "prior", amortized_by or "start").astype(object)
    again = np.flatnonzero(refit.again)
    for row in again:
        start[row] = KINDS[int(kind_NxM[row, refit.mode[row]])]
    return dict(Counter(start.tolist()))


def summary(name: str, outcome: Outcome, evaluations_per_point: float) -> dict[str, Any]:
    """The entry `modes` of a row: what was looked at, and what it showed."""
    others = outcome.others
    searched = others.searched
    refit = others.refits[name]
    finite_N = np.isfinite(refit.lost.value)
    return {
        "num_searched": int(np.sum(searched.searched)),
        "num_pilot": len(others.pilot),
        "num_several": int(np.sum(searched.num_modes > 1)),
        "most": int(np.max(searched.num_modes)),
        "narrowest": others.narrowest,
        "may_lack": may_lack_modes(others),
        "num_crowded": int(np.sum(searched.modes.crowded)),
        "num_refitted": int(np.sum(refit.again)),
        "num_at_lesser": int(np.sum(at_lesser_mode(others, name))),
        "lost": float(np.mean(np.float64(refit.lost.value)[finite_N])) if finite_N.any() else None,
        "num_missed": int(np.sum(others.missed_N)),
        "shortfall": others.shortfall,
        "decoder_evaluations_per_point": round(evaluations_per_point),
    }
