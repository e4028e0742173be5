"""The datapoints that lose the most of log p(x), and why: what their numbers say."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vaelab.measure.rows import HEAVY

FAR_BELOW = -3.5  # in robust standard deviations, 1.4826 times the median absolute deviation
FEW = 10  # datapoints: too few to say that one of them is out of distribution

Arrays = Mapping[str, np.ndarray]


class Worst(NamedTuple):
    """A datapoint of a row: its position in the row's arrays, its index, what it loses, and the reasons.

    What needs an encoder is None without one.
    """

    position: int
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
    without_encoder = {"approximation": np.float64(log_evidence) - optimal}
    amortized = _of(row, per_datapoint, "elbo_amortized")
    if amortized is None:
        return without_encoder
    with_encoder = {
        "amortization": np.float64(optimal) - amortized,
        "inference": np.float64(log_evidence) - amortized,
    }
    return without_encoder | with_encoder


def worst(row: Mapping[str, Any], per_datapoint: Arrays, *, count: int = 8) -> list[Worst]:
    """Sorts by the inference gap, without an encoder by the approximation gap; not finite ones are first."""
    gap_of = gaps(row, per_datapoint)
    if not gap_of:
        return []
    lost_N = gap_of.get("inference", gap_of["approximation"])
    order_N = np.argsort(-np.where(np.isfinite(lost_N), lost_N, np.inf), kind="stable")
    log_evidence, index_N = (_of(row, per_datapoint, name) for name in ("log_evidence", "index"))
    far_N = robust_z(log_evidence)

    def one(position: int) -> Worst:
        lost = {name: float(gap_N[position]) for name, gap_N in gap_of.items()}
        return Worst(
            position,
            position if index_N is None else int(index_N[position]),
            lost.get("inference"),
            lost.get("amortization"),
            lost["approximation"],
            float(log_evidence[position]),
            _reasons(row, per_datapoint, position, lost, float(far_N[position])),
        )

    return [one(int(position)) for position in order_N[:count]]


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
    row: Mapping[str, Any], per_datapoint: Arrays, position: int, lost: dict[str, float], far: float
) -> tuple[str, ...]:
    def at(name: str, missing: float) -> float:
        array = _of(row, per_datapoint, name)
        return missing if array is None else float(array[position])

    reasons = []
    for name, words in (
        ("log_evidence", "log p(x)"),
        ("elbo_optimal", "L[q*]"),
        ("elbo_amortized", "L[q_phi]"),
    ):
        if not np.isfinite(at(name, 0.0)):
            reasons.append(f"{words} is not finite")
    if np.isfinite(k := at("pareto_k", 0.0)) and k > HEAVY:
        reasons.append(f"heavy weights (k-hat {k:.2f})")
    if at("acceptance", 1.0) == 0.0:
        reasons.append("no move was accepted")
    if not at("converged", 1.0):
        excess, stderr = at("excess", np.nan), at("excess_stderr", np.nan)
        reasons.append(f"not converged (L[q*] may be {excess:.2f} ± {stderr:.2f} nats too low)")
    if np.isfinite(far) and far < FAR_BELOW:
        reasons.append(f"log p(x) far below the others (z {far:.1f})")
    if not reasons:
        encoder = lost.get("amortization", -np.inf) > lost["approximation"]
        reasons.append(f"the {row.get('amortized_by') or 'encoder'}" if encoder else "the family")
    return tuple(reasons)


def _of(row: Mapping[str, Any], per_datapoint: Arrays, name: str) -> np.ndarray | None:
    """An array of the row's family, or of its split."""
    split, family = row["split"], row["family"]
    return per_datapoint.get(f"{split}/{family}/{name}", per_datapoint.get(f"{split}/{name}"))
