"""What to do about the gaps of a row, in sentences that follow from its numbers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vaelab.measure.gap import mean_and_stderr
from vaelab.report.page.markup import Markup, join, tag
from vaelab.report.page.plots import finite
from vaelab.report.page.summary import Row, label, shown, shown_of
from vaelab.report.page.worst import gaps
from vaelab.report.tables import at_least

SMALL = 0.1  # nats, of the inference gap with its error, below which another model is worth more
SHARE = 0.05  # of the datapoints, from which doubts about a row come first
TWICE = 2.0  # times as large a gap is called the larger
STDERRS = 3.0
MOST_BESIDE = 4  # families that are compared in words
PARTS = {"approximation": "the best q loses", "amortization": "the encoder loses"}


def advice(rows: Sequence[Row], per_datapoint: Mapping[str, np.ndarray]) -> Markup:
    """What to do about the first row: doubts, then what is first, by how much each step can gain at most.

    Other families of its split follow with what they lose more or less: differences of the same datapoints.
    """
    if not rows:
        return Markup()
    row = rows[0]
    verdict, worthwhile = _verdict(row)
    steps = list(_steps(row)) if worthwhile else []
    text = [*_doubts(row), *([verdict] if verdict else []), *(steps if len(steps) == 1 else [])]
    if not text:
        return Markup()
    listed = tag("ol", *(tag("li", step) for step in steps)) if len(steps) > 1 else Markup()
    beside = " ".join(_beside(rows, per_datapoint)) if steps else ""
    start = tag("p", tag("b", f"What to do ({label(row)}): "), " ".join(text))
    return join(start, listed, tag("p", beside) if beside else Markup())


def _doubts(row: Row) -> Iterator[str]:
    total = row.get("num_points") or 0
    unconverged = row.get("num_unconverged") or 0
    if total and unconverged > SHARE * total:
        yield (
            f"Fit longer first (inference.max_rounds): {unconverged:,} of {total:,} fits are not at their"
            " optimum yet."
        )
    modes = row.get("modes") or {}
    if modes.get("num_missed"):
        yield (
            f"Modes were missed at {modes['num_missed']:,} datapoints: raise inference.modes.pilot_points and"
            " num_particles before the approximation gap is read."
        )
    elif modes.get("num_at_lesser"):
        lost = shown(row.get("wrong_mode_gap"))
        yield (
            f"At {modes['num_at_lesser']:,} datapoints the fit from its own start sits in the lesser mode,"
            f" which costs {lost} nats in the mean over all: fit from several starts in use too."
        )
    heavy = (row.get("log_evidence") or {}).get("num_heavy_tailed") or 0
    if total and heavy > SHARE * total:
        yield (
            f"log p(x) is not to be trusted at {heavy:,} of {total:,} datapoints, by the Pareto k of their"
            " weights: take evidence.estimator=annealing."
        )


def _verdict(row: Row) -> tuple[str, bool]:
    """Which gap to work on first, in a sentence, and whether either is worth it; "" of no finite gap."""
    (encoder, encoder_error), (family, family_error) = _both(row)
    if family != family:
        return "", False
    lacks = bool(at_least(row, "approximation_gap"))  # then the family may lose more than is seen
    if encoder != encoder:  # without an encoder
        if family + STDERRS * family_error <= SMALL and not lacks:
            return (
                "The family loses next to nothing: another decoder, prior or likelihood, or more data.",
                False,
            )
        lost = family > STDERRS * family_error
        return ("What is lost is the family's.", True) if lost else ("", False)
    error = STDERRS * (encoder_error**2 + family_error**2) ** 0.5
    if encoder + family + error <= SMALL and not lacks:
        return (
            "Inference is not what limits this model: try another decoder, prior or likelihood, or more data,"
            " and compare log p(x) on test data."
        ), False
    if encoder + family <= error:
        return (
            "The gaps are within their errors: measure more datapoints before anything is changed for them."
        ), False
    return _first(encoder, family, error), True


def _first(encoder: float, family: float, error: float) -> str:
    if encoder > TWICE * family and encoder - family > error:
        return "Most is lost by the encoder: begin there."
    if family > TWICE * encoder and family - encoder > error:
        return "Most is lost by the family: begin there."
    if abs(encoder - family) <= error:
        return (
            "Encoder and family lose about as much, within the errors: begin with the encoder, as that leaves"
            " the decoder as it is."
        )
    name = "encoder" if encoder > family else "family"
    return f"Encoder and family lose about as much: begin with the {name}, which loses somewhat more."


def _steps(row: Row) -> Iterator[str]:
    """What to change, in order, and what each change can gain at most; nothing for a gap within its error."""
    (encoder, encoder_error), (family, family_error) = _both(row)
    error = STDERRS * (np.nan_to_num(encoder_error) ** 2 + family_error**2) ** 0.5
    for_encoder = (
        "The encoder: make it larger, train it longer, or take steps of the inner loop after it. With this"
        f" decoder that can gain at most the amortization gap, {shown(row.get('amortization_gap'))} nats."
    )
    bias = (row.get("log_evidence") or {}).get("bias")
    beyond = ", or more, as log p(x) is a lower bound" if bias == "lower" else ""
    beyond += "; less where the encoder of the richer family loses more" if encoder == encoder else ""
    for_family = (
        f"The family: train the model with one richer than {row['family']}. With this decoder that can gain"
        f" at most the approximation gap, {shown_of(row, 'approximation_gap')} nats{beyond}."
    )
    steps = []
    if encoder > STDERRS * encoder_error:
        steps.append((encoder, for_encoder))
    if family > STDERRS * family_error or at_least(row, "approximation_gap"):
        steps.append((family, for_family))
    if len(steps) == 2 and family - encoder > error:
        steps.reverse()
    yield from (step for _, step in steps)


def _both(row: Row) -> tuple[tuple[float, float], tuple[float, float]]:
    """(mean, standard error) of the amortization gap and of the approximation gap."""
    return finite(row.get("amortization_gap")), finite(row.get("approximation_gap"))


def _beside(rows: Sequence[Row], per_datapoint: Mapping[str, np.ndarray]) -> Iterator[str]:
    """What each other family of the first row's split loses more or less, over the same datapoints."""
    row, *others = rows
    first = gaps(row, per_datapoint)
    beside = [other for other in others if other["split"] == row["split"]]
    for number, other in enumerate(beside[:MOST_BESIDE]):
        second = gaps(other, per_datapoint)
        leads = {
            kind: mean_and_stderr(second[kind] - first[kind])
            for kind in (*PARTS, "inference")
            if kind in first and kind in second
        }
        if "inference" not in leads or not np.isfinite([lead["mean"] for lead in leads.values()]).all():
            continue
        parts = " and ".join(f"{words} {_more(leads[kind])}" for kind, words in PARTS.items())
        start = "Measured beside, at the same datapoints: with" if not number else "With"
        total = f"so in total inference loses {_more(leads['inference'])}"
        yield f"{start} the {other['family']} family {parts}; {total}."
    if len(beside) > MOST_BESIDE:
        yield f"The table has {len(beside) - MOST_BESIDE} more families."


def _more(lead: Mapping[str, Any]) -> str:
    """A difference in words; one within its errors is said so."""
    mean, stderr = finite(lead)
    if not abs(mean) > STDERRS * stderr:
        return f"as much within the error ({shown(lead)} nats more)"
    return f"{shown({**lead, 'mean': abs(mean)})} nats {'more' if mean > 0 else 'less'}"
