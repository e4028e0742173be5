"""What the latents carry: the KL by dimension, active units, and the aggregate posterior."""

from collections.abc import Mapping, Sequence
from typing import Any

from vaelab.report.page import plots
from vaelab.report.page.markup import Markup, join, table, tag
from vaelab.report.page.summary import BOUNDS, TITLES, Row, detailed, label, shown

Entry = Mapping[str, Any]
NEAR = 0.2  # nats below its most, the log of the number of datapoints, where a bound of I says little


def latents_used(rows: Sequence[Row]) -> Markup:
    """Rate and distortion, columns of the KL by dimension, and which units are active."""
    chosen, others = detailed([row for row in rows if row.get("diagnostics")])
    if not chosen:
        return Markup()
    figures = [
        part for number, row in enumerate(chosen) for part in _units(number, label(row), row["diagnostics"])
    ]
    text = join(
        "The bound is minus distortion and rate: L[q] = E",
        tag("sub", "q"),
        "[log p(x|z)] - KL(q || p). The rate is the KL: nats that z costs, of which each latent dimension"
        " has a part. A unit is active where the mean of q varies over the data: the variance of E",
        tag("sub", "q"),
        "[z] is above 0.01; where that is within two standard errors of 0.01, the unit is named as"
        " undecided.",
    )
    return join(tag("p", text), others, _rates(chosen), _levels(chosen), _bits(chosen), *figures)


def _levels(rows: Sequence[Row]) -> Markup:
    """The KL and the active units of each level of z."""
    lines = [
        [
            label(row),
            part["level"],
            part["dimensions"],
            *(shown(part.get(name)) for name in ("kl", "optimal_kl", "optimal_less_kl")),
            f"{part['num_points']:,}",
            _count(part["active_units"]),
        ]
        for row in rows
        for part in row["diagnostics"].get("by_level") or ()
    ]
    if not lines:
        return Markup()
    caption = (
        "By level of z, the one next to x first: its part of the KL of q, and of that of q*, nats, mean ±"
        " standard error over these datapoints, at which the parts add up to the rate. What q* has more of a"
        " level than q is what the encoder uses it less by"
    )
    head = ["split, family", "level", "dimensions", "KL", "KL of q*", "more", "datapoints", "active units"]
    return table(caption, head, lines, words=(1,))


def _count(counted: Entry | None) -> str:
    return f"{counted['count']} of {counted['of']}" if counted else "-"


def _bits(rows: Sequence[Row]) -> Markup:
    """-log2 of the bounds for each dimension of x, where x is of levels."""
    with_bits = [row for row in rows if row.get("bits_per_dim")]
    if not with_bits:
        return Markup()
    names = [name for name in BOUNDS if any(name in row["bits_per_dim"] for row in with_bits)]
    lines = [[label(row), *(shown(row["bits_per_dim"].get(name)) for name in names)] for row in with_bits]
    bits = with_bits[0]["bits_per_dim"]
    noise = ", by dequantised densities, which need more bits" if bits["dequantized"] else ""
    caption = f"Bits for each dimension of x, of {bits['levels']} levels{noise}"
    return table(caption, ["split, family", *(TITLES[name] for name in names)], lines)


def _rates(rows: Sequence[Row]) -> Markup:
    lines = []
    for row in rows:
        entry = row["diagnostics"]
        by_variance, by_kl = (_active(entry).get(name) for name in ("by_variance", "by_kl"))
        counts = [f"{u['count']} of {u['of']}" if u else "-" for u in (by_variance, by_kl)]
        within = [shown(entry.get(name)) for name in ("rate", "distortion", "kl_within")]
        lines.append([label(row), entry["of"], *within, *counts, entry["rate_by"]])
    head = [
        "split, family",
        "q of",
        "rate",
        "distortion",
        "rate within q",
        "active units",
        "by KL",
        "rate by",
    ]
    caption = (
        "Nats per datapoint. The rate within q is what the KL has beyond the sum over dimensions, as those"
        " of q are correlated. By KL: units with more than 0.01 nats"
    )
    return table(caption, head, lines, words=(1, 7))


def _active(entry: Entry) -> Entry:
    return entry.get("active_units") or {}


def _units(number: int, name: str, entry: Entry) -> list[Markup]:
    """The columns of a row, with its table; none for a family without a KL by dimension."""
    variances, kls = entry.get("variance_of_means"), entry.get("kl_by_dimension")
    if not variances:
        return []
    counted = _active(entry)["by_variance"]
    used = set(counted["units"])
    kinds = ["approximation" if k in used else "unused" for k in range(len(variances))]
    drawn = kls or variances
    what = "KL of each latent dimension" if kls else "Variance of the means of each latent dimension"
    axis = f"latent dimension; up: {'its KL, nats' if kls else 'variance of its means'}; grey: not active"
    said = f"{counted['count']} of {counted['of']} units are active"
    near = ", ".join(f"z{k + 1}" for k in counted["undecided"])
    said += f"; undecided: {near}." if near else ", none is near the threshold."
    rows = [
        [f"z{k + 1}", shown(kls[k]) if kls else "-", shown(variances[k]), "yes" if k in used else "no"]
        for k in range(len(variances))
    ]
    head = ["dimension", "KL, nats", "variance of means", "active"]
    numbers = table(f"Latent dimensions of {name}", head, rows, words=(3,))
    return [
        tag("h3", name),
        tag(
            "figure",
            plots.columns(f"units-{number}", f"{what}, {name}", drawn, kinds, axis),
            tag("figcaption", said),
        ),
        tag("details", tag("summary", "In numbers"), numbers),
    ]


QUANTITIES = {
    "mutual_information": "I(x; z)",
    "marginal_kl": "KL(q(z) || p(z))",
    "total_correlation": "total correlation",
    "dimension_wise_kl": "KL by dimension of q(z)",
}


def aggregate(rows: Sequence[Row]) -> Markup:
    """The bounds of the aggregate posterior's quantities."""
    lines, missing = [], []
    for row in rows:
        entry = (row.get("diagnostics") or {}).get("aggregate") or {}
        if "none" in entry:
            missing.append(tag("p", f"{label(row)}: none, {entry['none']}.", class_="quiet"))
        for name, title in QUANTITIES.items():
            if name not in entry:
                continue
            lower, upper = (entry[name][side] for side in ("lower", "upper"))
            low = "0" if lower["mean"] == 0.0 else shown(lower)
            lines.append([label(row), title, low, shown(upper), _by(name, entry)])
    if not lines:
        return join(*missing)
    text = (
        "q(z), the aggregate posterior, is the mean of q(z|x) over the data. The rate, in the mean over x, is"
        " the sum of two parts: I(x; z), how much z says about x, and KL(q(z) || p(z)), how much q(z) differs"
        " from the prior. The density of q(z) is not known. It is estimated from the q of these datapoints in"
        " two ways, one too high on average and one too low, and so each quantity has two bounds. Too high"
        " is the mean of all their q at a draw from one of them, because that one is among them. It gives the"
        " lower bound of I(x; z), which is never above the log of the number of datapoints, and the upper"
        " bound of KL(q(z) || p(z)). Too low is whichever is nearest of the mean of the other q alone, a"
        " Gaussian fitted to other datapoints, and the prior. It gives the bounds on the other side. They"
        " hold on average over data sets; each has its standard error."
    )
    head = ["split, family", "quantity", "at least", "at most", "how near"]
    return join(tag("p", text), table("Nats", head, lines, words=(1, 4)), *missing)


def _by(name: str, entry: Entry) -> str:
    """What limits a bound."""
    if name != "mutual_information":
        return ""
    low, most = plots.finite(entry[name]["lower"])[0], entry["log_num_points"]
    words = f"at most log {entry['num_points']:,} = {most:.2f} can be seen"
    return f"{words}: more datapoints would say more" if low > most - NEAR else words
