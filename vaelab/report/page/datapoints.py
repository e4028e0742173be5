"""The datapoints behind the rows: how their gaps vary, which are worst, where their q are."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vaelab.data.sources import FIRST_SIMULATED
from vaelab.report.page import latent, plots
from vaelab.report.page.latent import Latents
from vaelab.report.page.markup import Markup, join, picture, table, tag
from vaelab.report.page.summary import KINDS, NUMBERS, TITLES, Row, as_number, detailed, label
from vaelab.report.page.worst import FAR_BELOW, HEAVY, Worst, gaps, worst

RATIO = "sd by the encoder / sd of q*"


def distributions(rows: Sequence[Row], per_datapoint: Mapping[str, np.ndarray]) -> Markup:
    """Histograms of the gaps of each row, and their quantiles."""
    chosen, others = detailed(rows)
    groups, lines = [], []
    for number, row in enumerate(chosen):
        gap_of, panels = gaps(row, per_datapoint), []
        for kind in (kind for kind in KINDS if kind in gap_of):
            drawn, missing = plots.histogram(f"gap-{number}-{kind}", label(row), kind, gap_of[kind])
            panels.append(tag("figure", drawn, tag("figcaption", missing)))
            lines.append([f"{label(row)}: {kind}", *_quantiles(gap_of[kind])])
        if panels:
            groups += [tag("h3", label(row)), tag("div", *panels, class_="panels")]
    if not groups:
        return Markup()
    text = "How many datapoints lose how much; each panel has its own scale."
    head = ["split, family: gap", "least", "5 %", "25 %", "median", "75 %", "95 %", "greatest"]
    numbers = table("Quantiles of the gaps over datapoints, nats", head, lines)
    return join(tag("p", text), others, *groups, tag("h3", "In numbers"), numbers)


def _quantiles(values_N: np.ndarray) -> list[str]:
    finite_N = values_N[np.isfinite(values_N)]
    if not finite_N.size:
        return ["-"] * 7
    return [f"{value:.4f}" for value in np.percentile(finite_N, [0, 5, 25, 50, 75, 95, 100])]


def worst_datapoints(
    rows: Sequence[Row],
    per_datapoint: Mapping[str, np.ndarray],
    pictures: Mapping[str, Mapping[int, Mapping[str, np.ndarray]]],
) -> Markup:
    """A table for each row, with the pictures that were drawn."""
    chosen, others = detailed(rows)
    tables = [
        join(
            tag("h3", label(row)),
            _worst_table(row, losses, pictures, per_datapoint.get(f"{row['split']}/labels")),
        )
        for row in chosen
        if (losses := worst(row, per_datapoint))
    ]
    if not tables:
        return Markup()
    text = (
        "Those that lose the most, and what their own numbers say of it: heavy weights (Pareto k-hat over"
        f" {HEAVY}), so that log p(x) is not to be trusted; not converged, so that q* is not yet the best;"
        " log p(x) far below the others, out of distribution for this model (a robust z-score below"
        f" {FAR_BELOW}, with the median and the median absolute deviation for mean and standard deviation)."
        " Where none of these holds, the larger of the two gaps says whether it is the encoder or the family."
    )
    numbers = NUMBERS
    if any(row["split"] == "simulated" for row in chosen):
        numbers += f" Those of simulated datapoints begin at {FIRST_SIMULATED:,}."
    return join(tag("p", text), tag("p", numbers), others, *tables)


def _worst_table(
    row: Row, losses: Sequence[Worst], pictures: Mapping[str, Any], labels: np.ndarray | None
) -> Markup:
    images = pictures.get(f"{row['split']}/{row['family']}", {})
    titles = list(dict.fromkeys(title for strip in images.values() for title in strip))
    with_encoder = losses[0].inference is not None
    lines = []
    for loss in losses:
        drawn = images.get(loss.index, {})
        lost = (loss.inference, loss.amortization) if with_encoder else ()
        numbers = [as_number(value) for value in (*lost, loss.approximation, loss.log_evidence)]
        strip = [picture(drawn[t], f"{loss.index}: {t}") if t in drawn else "-" for t in titles]
        of_label = [] if labels is None else [labels[loss.position]]
        lines.append([loss.index, *of_label, *strip, "; ".join(loss.reasons), *numbers])
    lost = [TITLES["inference_gap"], TITLES["amortization_gap"]] if with_encoder else []
    before = ["datapoint", *([] if labels is None else ["label"]), *titles]
    words = range(1, len(before) + 1)
    head = [*before, "why", *lost, TITLES["approximation_gap"], TITLES["log_evidence"]]
    return table(f"Worst datapoints of {label(row)}, nats", head, lines, words=words)


def latent_space(rows: Sequence[Row], latents: Mapping[str, Latents]) -> Markup:
    """Where the encoder puts q, and where it should be."""
    figures, lines = [], []
    for number, (row, pair) in enumerate(_with_latents(rows, latents)):
        drawn = [
            tag("figure", latent.means(f"means-{number}", label(row), pair)),
            tag(
                "figure",
                latent.deviations(f"deviations-{number}", label(row), pair),
                tag("figcaption", _squares(pair)),
            ),
        ]
        figures.append(join(tag("h3", label(row)), tag("div", *drawn, class_="squares")))
        lines.append([label(row), *_distances(pair)])
    if not figures:
        return Markup()
    text = (
        "First, the means of q in the two latent dimensions in which those of q* are spread most: a ring is"
        " where the encoder puts a datapoint, the dot joined to it where q* does. Beside them, the standard"
        " deviations in the same dimensions, the encoder's upwards and that of q* across: on the dashed line"
        " they are equal, above it the encoder is too wide, below it too narrow."
    )
    head = ["split, family", "datapoints", "dimensions", "distance of the means", f"ratio, {RATIO}"]
    caption = (
        "Medians over these datapoints and all dimensions: how far the two means are apart, in standard"
        f" deviations of q*, and the ratio {RATIO}, which is above 1 where the encoder is too wide, above the"
        " dashed line"
    )
    return join(tag("p", text), *figures, table(caption, head, lines))


def _squares(pair: Latents) -> str:
    """Which squares are of which dimension, and the median ratio of each."""
    median_K = np.median(_ratios(pair), axis=0)
    said = [
        f"{kind} squares: z{k + 1}, where {RATIO} is {as_number(float(median_K[k]))} in the median"
        for kind, k in zip(("Filled", "open"), latent.widest(pair), strict=False)
    ]
    return "; ".join(said) + "."


def _with_latents(rows: Sequence[Row], latents: Mapping[str, Latents]) -> Iterator[tuple[Row, Latents]]:
    for row in detailed(rows)[0]:
        pair = latents.get(f"{row['split']}/{row['family']}")
        if pair is not None and len(pair.mean_optimal):
            yield row, pair


def _distances(pair: Latents) -> list[str]:
    with np.errstate(divide="ignore", invalid="ignore"):
        apart_NxK = np.abs(np.float64(pair.mean_amortized) - pair.mean_optimal) / pair.sd_optimal
    middle = (as_number(float(np.median(values))) for values in (apart_NxK, _ratios(pair)))
    return [*(f"{size:,}" for size in pair.mean_optimal.shape), *middle]


def _ratios(pair: Latents) -> np.ndarray:
    """The encoder's standard deviations over those of q*, `[n, K]`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.float64(pair.sd_amortized) / pair.sd_optimal
