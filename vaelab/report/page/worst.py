"""The datapoints that lose the most of log p(x), and why: what their own numbers say."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vaelab.measure.rows import HEAVY

FAR_BELOW = -3.5  # in robust standard deviations, 1.4826 times the median absolute deviation
FEW = 10  # datapoints, of which no law can be told that one of them is out of

Arrays = Mapping[str, np.ndarray]


class Worst(NamedTuple):
    """A datapoint of a row: where it is in the row's arrays, its index, what it loses, and the reasons.

    What needs an encoder is None where there is none.
    """

    place: int
    index: int
    inference: float | None
    amortization: float | None
    approximation: float
    log_evidence: float
    reasons: tuple[str, ...]


def gaps(row: Mapping[str, Any], per_datapoint: Arrays) -> dict[str, np.ndarray]:
    """The gaps of each datapoint of a row; without an encoder the approximation gap alone."""
    optimal, log_evidence = _of(row, per_datapoint, "elbo_optimal"), _of(row, per_datapoint, "log_evidence")
    if optimal is None or log_evidence is None:
        return {}
    found = {"approximation": np.float64(log_evidence) - optimal}
    amortized = _of(row, per_datapoint, "elbo_amortized")
    if amortized is None:
        return found
    found["amortization"] = np.float64(optimal) - amortized
    return {**found, "inference": np.float64(log_evidence) - amortized}


def worst(row: Mapping[str, Any], per_datapoint: Arrays, *, count: int = 8) -> list[Worst]:
    """By the inference gap, without an encoder by the approximation gap; what is not finite comes first."""
    gap_of = gaps(row, per_datapoint)
    if not gap_of:
        return []
    lost_N = gap_of.get("inference", gap_of["approximation"])
    order_N = np.argsort(-np.where(np.isfinite(lost_N), lost_N, np.inf), kind="stable")
    log_evidence, index_N = (_of(row, per_datapoint, name) for name in ("log_evidence", "index"))
    far_N = robust_z(log_evidence)

    def one(place: int) -> Worst:
        own = {name: float(gap_N[place]) for name, gap_N in gap_of.items()}
        return Worst(
            place,
            place if index_N is None else int(index_N[place]),
            own.get("inference"),
            own.get("amortization"),
            own["approximation"],
            float(log_evidence[place]),
            _reasons(row, per_datapoint, place, own, float(far_N[place])),
        )

    return [one(int(place)) for place in order_N[:count]]


def robust_z(values_N: np.ndarray) -> np.ndarray:
    """(value - median) / (1.4826 MAD); zeros where the values are few or have no spread."""
    values_N = np.float64(values_N)
    finite = values_N[np.isfinite(values_N)]
    if finite.size < FEW:
        return np.zeros_like(values_N)
    centre = np.median(finite)
    spread = 1.4826 * np.median(np.abs(finite - centre))
    return (values_N - centre) / spread if spread > 0.0 else np.zeros_like(values_N)


def _reasons(
    row: Mapping[str, Any], per_datapoint: Arrays, place: int, own: dict[str, float], far: float
) -> tuple[str, ...]:
    def at(name: str, missing: float) -> float:
        array = _of(row, per_datapoint, name)
        return missing if array is None else float(array[place])

    found = []
    for name, words in (
        ("log_evidence", "log p(x)"),
        ("elbo_optimal", "L[q*]"),
        ("elbo_amortized", "L[q_phi]"),
    ):
        if not np.isfinite(at(name, 0.0)):
            found.append(f"{words} is not finite")
    if np.isfinite(k := at("pareto_k", 0.0)) and k > HEAVY:
        found.append(f"heavy weights (k-hat {k:.2f})")
    if at("acceptance", 1.0) == 0.0:
        found.append("no move was accepted")
    if not at("converged", 1.0):
        found.append(f"not converged (excess {at('excess', np.nan):.2f} ± {at('excess_stderr', np.nan):.2f})")
    if np.isfinite(far) and far < FAR_BELOW:
        found.append(f"log p(x) far below the others (z {far:.1f})")
    if not found:
        encoder = own.get("amortization", -np.inf) > own["approximation"]
        found.append(f"the {row.get('amortized_by') or 'encoder'}" if encoder else "the family")
    return tuple(found)


def _of(row: Mapping[str, Any], per_datapoint: Arrays, name: str) -> np.ndarray | None:
    """An array of the row's family, or of its split."""
    split, family = row["split"], row["family"]
    return per_datapoint.get(f"{split}/{family}/{name}", per_datapoint.get(f"{split}/{name}"))
