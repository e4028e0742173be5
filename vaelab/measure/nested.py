"""The approximation gap in parts where z has levels: nested families, fitted at the same datapoints; nats.

    L[q*_diagonal]  <=  L[q*_per_level]  <=  L[q*_full]  <=  log p(x)
           within-level gap   across-level gap   non-Gaussian gap

The first is what a q loses that has no correlations within a level, the second what one loses that has none
across levels, the third what no Gaussian q has. From the row of a family on they add up to its approximation
gap.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vaelab.measure.gap import exact_gap, mean_and_stderr
from vaelab.measure.subject import Outcome, Subject
from vaelab.posterior.project import has_projection
from vaelab.types import PosteriorFamily

CHAIN = (("diagonal",), ("per_level",), ("full", "cholesky"))
"""Families, each among the next ones; those of one place are of the same distributions."""

PARTS = ("within_level", "across_level", "non_gaussian")


def entries(subject: Subject, name: str, outcome: Outcome, averaged_N: np.ndarray) -> dict[str, Any]:
    """The entry `approximation_parts` of a family's row, of the parts from its place on that are measured.

    With num_points, those of the row's means at which the other families are finite too; {} for a model
    without levels, or a family in no place.
    """
    if not subject.model.levels:
        return {}
    bounds_N, errors_N = {"log p(x)": np.float64(outcome.evidence.log_evidence)}, {}
    errors_N["log p(x)"] = np.float64(outcome.evidence.stderr)
    for other, fit in outcome.fits.items():
        bounds_N[other], errors_N[other] = (np.float64(part) for part in fit.elbo_optimal)
    pairs = _pairs(name, outcome.fits)
    used_N = averaged_N & np.logical_and.reduce(
        [np.isfinite(bounds_N[one]) for pair in pairs.values() for one in pair] or [averaged_N]
    )
    if not pairs or not used_N.any():
        return {}
    parts = {
        part: mean_and_stderr(
            (bounds_N[high] - bounds_N[low])[used_N], errors_N=np.hypot(errors_N[low], errors_N[high])[used_N]
        )
        for part, (low, high) in pairs.items()
    }
    return {"approximation_parts": {"num_points": int(np.sum(used_N)), **parts}}


def exact(subject: Subject, name: str, outcome: Outcome, used_N: np.ndarray) -> dict[str, Any]:
    """The same in closed form, for a model that has one."""
    pairs = _pairs(name, outcome.fits) if subject.model.levels else {}
    if not pairs:
        return {}
    x_NxD, bounds_N = outcome.points.inputs.x_NxD, {}
    for other in {one for pair in pairs.values() for one in pair} - {"log p(x)"}:
        family = subject.families[other]
        if not has_projection(family):
            return {}
        phi_NxP = outcome.fits[other].phi_start
        closed = exact_gap(subject.model, family, subject.theta, x_NxD, phi_NxP)
        bounds_N |= {other: np.float64(closed.elbo_optimal), "log p(x)": np.float64(closed.log_evidence)}
    none = {"errors_N": np.zeros(int(np.sum(used_N)))}
    parts = {
        part: mean_and_stderr((bounds_N[high] - bounds_N[low])[used_N], **none)
        for part, (low, high) in pairs.items()
    }
    return {"approximation_parts": {"num_points": int(np.sum(used_N)), **parts}}


def _pairs(name: str, fits: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """part -> (the family below it, the one above, or log p(x)), from the place of this family on."""
    places = [number for number, same in enumerate(CHAIN) if name in same]
    if not places:
        return {}
    chain: list[str | None] = [next((other for other in same if other in fits), None) for same in CHAIN]
    chain[places[0]] = name
    ladder = [*chain, "log p(x)"]
    pairs = {part: (ladder[i], ladder[i + 1]) for i, part in enumerate(PARTS) if i >= places[0]}
    return {part: pair for part, pair in pairs.items() if None not in pair}


def nested_in(family: PosteriorFamily, fits: Mapping[str, Any]) -> list[str]:
    """The fitted families all of whose distributions this one has, the smallest first.

    Every family has the diagonal one in it, but those that share numbers with the model: these are held.
    """
    if family.shared_of is not None:
        return []
    name = family.name
    places = [number for number, same in enumerate(CHAIN) if name in same]
    before = CHAIN[: places[0]] if places else CHAIN[:1]
    return [other for same in before for other in same if other in fits and other != name]
