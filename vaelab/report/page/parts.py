"""Where the gaps sit: in which datapoints, in the mean or the scale of q, in which pairs of latents."""

from collections.abc import Mapping, Sequence
from typing import Any

from vaelab.report import level_gap
from vaelab.report.page import plots
from vaelab.report.page.markup import Markup, join, table, tag
from vaelab.report.page.summary import TITLES, Row, detailed, label, shown
from vaelab.report.quantities import HTML, LEVEL_GAPS

KINDS = {
    "label": "label",
    "log_evidence": "log p(x)",
    "library_size": "library size",
    "brightness": "brightness, the mean of x",
}
WITH = {"log_evidence": "log p(x)", "library_size": "a library size", "brightness": "a brightness"}
GAPS = ("amortization_gap", "approximation_gap")


def by_group(rows: Sequence[Row]) -> Markup:
    """The gaps of the groups of each row, and which of them stand out."""
    chosen, others = detailed([row for row in rows if any(row.get(f"by_{kind}") for kind in KINDS)])
    if not chosen:
        return Markup()
    parts = []
    for number, row in enumerate(chosen):
        parts.append(tag("h3", label(row)))
        parts.append(tag("ul", *(_listed(head, said) for head, said in standing_out(row))))
        for kind, title in KINDS.items():
            groups = row.get(f"by_{kind}")
            if groups:
                parts += _of_kind(
                    f"by-{kind.replace('_', '-')}-{number}", f"{label(row)}, by {title}", groups
                )
    text = (
        "The gaps of datapoints of a label, and of fifths by log p(x) and by brightness. A group is named"
        " where its mean differs from that of all other datapoints with p below 0.05, for all groups"
        " compared together (Welch's t, Holm's correction)."
    )
    return join(tag("p", text), others, *parts)


def standing_out(row: Row) -> list[tuple[str, list[str]]]:
    """A heading for each way of grouping, with a sentence for each group that differs from the others."""
    lines = []
    for kind, of_gaps in (row.get("extremes") or {}).items():
        named = [
            _named(kind, gap, word, found, (row.get(f"by_{kind}") or {}).get(found["group"]) or {})
            for gap in GAPS
            for end, word in (("highest", "greatest"), ("lowest", "least"))
            if (found := (of_gaps.get(gap) or {}).get(end))
        ]
        count = max((part["num_compared"] for part in of_gaps.values()), default=0)
        none = "No group stands out." if count else "Too few datapoints to compare."
        lines.append((f"By {KINDS.get(kind, kind)}, {count} groups compared:", named or [none]))
    return lines


def _listed(head: str, said: Sequence[str]) -> Markup:
    return tag("li", head, tag("ul", *(tag("li", line) for line in said)))


def _named(kind: str, gap: str, word: str, found: Mapping[str, Any], group: Mapping[str, Any]) -> str:
    """A group that stands out: its own gap, and what that is more or less than the mean of all others."""
    name = found["group"]
    which, verb = f"Datapoints with {WITH.get(kind, kind)} from {name}", "have"
    if kind == "label":
        which, verb = f"Label {name}", "has"
    difference = found["difference"]
    apart = shown({**difference, "mean": abs(difference["mean"])})
    side = "more" if difference["mean"] > 0.0 else "less"
    own = f"{shown(group[gap])} nats, which is " if group.get(gap) else ""
    title = gap.replace("_", " ")
    return f"{which} {verb} the {word} {title}: {own}{apart} nats {side} than the mean of all others."


def _of_kind(name: str, title: str, groups: Mapping[str, Mapping[str, Any]]) -> list[Markup]:
    drawn = plots.bars(name, [(group, part) for group, part in groups.items()])
    columns = [key for key in TITLES if any(key in part for part in groups.values())]
    lines = [
        [group, f"{part['num_points']:,}", *(shown(part.get(key)) for key in columns)]
        for group, part in groups.items()
    ]
    head = ["group", "datapoints", *(TITLES[key] for key in columns)]
    numbers = table(f"{title}: nats, mean ± standard error", head, lines)
    folded = tag("details", tag("summary", "In numbers"), numbers)
    inside = tag("figure", drawn, tag("figcaption", f"{title}.")), folded
    heading = title.rpartition(", by ")[2]
    first = "" if name.startswith("by-label") else None  # one is open, the others wait
    return [tag("details", tag("summary", heading[0].upper() + heading[1:]), *inside, open=first)]


def of_the_encoder(rows: Sequence[Row]) -> Markup:
    """The amortization gap in a part of the mean and one of the scale, and by dimension."""
    chosen, others = detailed([row for row in rows if row.get("amortization_split")])
    if not chosen:
        return Markup()
    lines, orders, figures = [], [], []
    for number, row in enumerate(chosen):
        entry = row["amortization_split"]
        cells = (entry[name] for name in ("gap", "mean", "scale", "interaction"))
        lines.append([label(row), f"{entry['num_points']:,}", *map(shown, cells)])
        ways = (entry[way][part] for way in ("mean_first", "scale_first") for part in ("mean", "scale"))
        orders.append([label(row), *map(shown, ways)])
        figures += _by_dimension(number, label(row), entry["by_dimension"])
    head = ["split, family", "datapoints", HTML["amortization_gap"], "mean", "scale", "interaction"]
    text = (
        "What a better mean alone and a better scale alone would gain. The parts depend on which is changed"
        " first, by their interaction: here the mean of both orders. By dimension the mean is changed first,"
        " and what dimensions gain together they share."
    )
    numbers = table("The amortization gap in parts, nats: mean ± standard error", head, lines)
    head = ["split, family", "mean, first", "scale, then", "mean, then", "scale, first"]
    both = tag("details", tag("summary", "In both orders"), table("Nats", head, orders))
    return join(tag("p", text), others, numbers, both, *figures)


_OF_MEAN = "what the mean costs", "the error of the integrals"


def _by_dimension(number: int, name: str, entry: Mapping[str, Any]) -> list[Markup]:
    drawn = [
        plots.columns(
            f"split-{part}-{number}",
            f"What the {part} of each latent dimension costs, {name}",
            entry[part],
            ["amortization"] * len(entry[part]),
            f"latent dimension; up: what its {part} costs, nats",
        )
        for part in ("mean", "scale")
        if entry[part]
    ]
    lines = [
        [f"z{k + 1}", shown(mean), shown(entry["scale"][k]) if entry["scale"] else "-"]
        for k, mean in enumerate(entry["mean"])
    ]
    numbers = table(f"By dimension, {name}, nats", ["dimension", "mean", "scale"], lines)
    whole, rest = ("the gap", "the noise of the draws") if entry["scale"] else _OF_MEAN
    said = f"The columns add up to {whole}, but for {shown(entry['remainder'])} nats: {rest}."
    if not entry["scale"]:
        said += (
            " The scale has no columns: in this family it is one matrix of all dimensions together, which"
            " has no part for each. What it costs as a whole is in the table above."
        )
    left = tag("figcaption", said)
    panels = tag("div", *(tag("figure", one) for one in drawn), class_="panels")
    return [tag("h3", name), panels, left, tag("details", tag("summary", "In numbers"), numbers)]


def of_levels(rows: Sequence[Row]) -> Markup:
    """The approximation gap by level, where z has levels, beside closed forms where there are any."""
    lines = []
    for row in rows:
        for name, entry in ((label(row), row), ("closed form", row.get("exact") or {})):
            if entry.get("approximation_parts"):
                lines.append([name, *(level_gap(entry, part) for part in LEVEL_GAPS)])
    if not lines:
        return Markup()
    text = (
        "The levels of z in nested families, each with its best q of the same datapoint: independent"
        " dimensions, correlations within a level alone, correlations across levels too. From the row of a"
        " family on, the parts add up to its approximation gap. The last one is what no Gaussian q has."
    )
    caption = "The approximation gap in parts, nats: mean ± standard error over datapoints"
    return join(tag("p", text), table(caption, ["split, family", *LEVEL_GAPS.values()], lines))


def of_the_diagonal(rows: Sequence[Row]) -> Markup:
    """What the diagonal family lacks against the full one, by pairs of latents."""
    parts = []
    for row in rows:
        entry = row.get("correlations")
        if not entry:
            continue
        named = [
            [f"z{first + 1}, z{second + 1}", shown(pair)]
            for pair in entry["pairs"]
            for first, second in [pair["latents"]]
        ]
        totals = {
            "all pairs": "pairs_total",
            "higher order": "higher_order",
            "not Gaussian": "not_gaussian",
            f"in all: L[q*] of {entry['beside']} is higher by": "gap",
        }
        lines = [*named, *([title, shown(entry[key])] for title, key in totals.items())]
        caption = (
            f"{label(row)}: the pairs that cost most, and what they add up to: how much lower L[q*] is than"
            f" that of the {entry['beside']} family, nats"
        )
        parts.append(table(caption, ["latents", "cost"], lines))
    if not parts:
        return Markup()
    text = (
        "A diagonal q leaves out the correlation r of two latents with the others held fixed, which costs"
        " about -1/2 log(1 - r²) in the full optimum. Higher order is what a Gaussian posterior adds to the"
        " sum over pairs; the rest, as posteriors are not Gaussian, is not attributed."
    )
    return join(tag("p", text), *parts)
