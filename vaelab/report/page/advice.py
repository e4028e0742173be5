"""What to do about the gaps of a row, in sentences that follow from its numbers."""

from collections.abc import Iterator

from vaelab.report.page.markup import Markup, tag
from vaelab.report.page.plots import finite
from vaelab.report.page.summary import Row, label, shown
from vaelab.report.tables import at_least

SMALL = 0.1  # nats, of the inference gap with its error, below which another model is worth more
SHARE = 0.05  # of the datapoints, from which doubts about a row come first
TWICE = 2.0  # times as large a gap is called the larger
STDERRS = 3.0


def advice(row: Row) -> Markup:
    """A paragraph about the row: doubts first, then which gap to work on, with the numbers that say so."""
    text = " ".join([*_doubts(row), *_what_to_do(row)])
    return tag("p", tag("b", f"What to do ({label(row)}): "), text) if text else Markup()


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


def _what_to_do(row: Row) -> Iterator[str]:
    (encoder, encoder_error), (family, family_error) = (
        finite(row.get(name)) for name in ("amortization_gap", "approximation_gap")
    )
    if family != family:
        return
    lacks = bool(at_least(row, "approximation_gap"))  # then the family may lose more than is seen
    richer = f"a richer family than {row['family']} (up to {shown(row['approximation_gap'])} nats)"
    if encoder != encoder:  # without an encoder
        if family + STDERRS * family_error <= SMALL and not lacks:
            yield "The family loses next to nothing: another decoder, prior or likelihood, or more data."
        elif family > STDERRS * family_error:
            yield f"What is lost is the family's: {richer}, trained with the model."
        return
    better = (
        f"a larger encoder, longer training of it, or steps of the inner loop after it (up to"
        f" {shown(row['amortization_gap'])} nats)"
    )
    error = STDERRS * (encoder_error**2 + family_error**2) ** 0.5
    if encoder + family + error <= SMALL and not lacks:
        yield (
            "Inference is not what limits this model: try another decoder, prior or likelihood, or more data,"
            " and compare log p(x) on test data."
        )
    elif encoder + family <= error:
        yield "The gaps are within their errors: measure more datapoints before anything is changed for them."
    elif encoder > TWICE * family and encoder - family > error:
        yield f"Most is lost by the encoder: {better}."
    elif family > TWICE * encoder and family - encoder > error:
        yield f"Most is lost by the family: {richer}, trained with the model, as decoders adapt to it."
    else:
        yield f"Encoder and family lose about as much: {better}; and {richer}, trained with the model."
