"""Where posteriors have several modes: at how many datapoints, and what the fits lost by theirs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vaelab.report.page import plots
from vaelab.report.page.markup import Markup, join, table, tag
from vaelab.report.page.summary import Row, as_number, detailed, label, shown

SHOWN = 8  # datapoints that lost the most
Arrays = Mapping[str, np.ndarray]


def several_modes(rows: Sequence[Row], per_datapoint: Arrays) -> Markup:
    """The modes that a search has shown, by split, and what each family's first fit lost by its own."""
    chosen, others = detailed([row for row in rows if row.get("modes")])
    if not chosen:
        return Markup()
    lines, splits = [], dict.fromkeys(row["split"] for row in chosen)
    for row in chosen:
        entry = row["modes"]
        counts = (entry[name] for name in ("num_several", "num_at_lesser", "num_refitted", "num_missed"))
        lines.append([label(row), f"{row['num_points']:,}", *(f"{count:,}" for count in counts)])
        lines[-1] += [shown(row.get("wrong_mode_gap")), f"{entry['decoder_evaluations_per_point']:,}"]
    head = ["split, family", "datapoints", "several modes", "fit at a lesser one", "fitted again"]
    head += ["modes missed", "lost at a lesser mode", "gradient evaluations"]
    caption = (
        "Datapoints of each kind, nats lost in the mean over all of them, and evaluations of the search."
        " Modes missed: where log p(x) from the prior's side is above that from all modes by more than their"
        " errors"
    )
    figures = [
        part for number, split in enumerate(splits) for part in _counted(number, split, chosen, per_datapoint)
    ]
    worst = [part for row in chosen for part in _lost_most(row, per_datapoint)]
    return join(tag("p", " ".join(_looked(chosen))), others, *figures, table(caption, head, lines), *worst)


def _looked(rows: Sequence[Row]) -> Iterator[str]:
    """What was looked at in each split, and what may not have been seen, in sentences."""
    seen = set()
    for row in rows:
        split, entry = row["split"], row["modes"]
        if split in seen:
            continue
        seen.add(split)
        pilot, searched, total = entry["num_pilot"], entry["num_searched"], row["num_points"]
        how_many = (
            "every datapoint was" if searched == total else f"{searched:,} of {total:,} datapoints were"
        )
        rest = "" if searched == total else "; the others had a look of a few dozen evaluations"
        yield (
            f"On the {split} data {how_many} searched for other modes than the fit's, {pilot:,} with log p(x)"
            f" from the prior's side too{rest}."
        )
        if not entry["num_several"]:
            yield "One mode each is what was seen."
        elif entry.get("may_lack"):
            yield (
                f"Modes less than {entry['narrowest']:.2g} times as wide as the widest may not have been met:"
                " log p(x), and with it the approximation gap, is at least what is stated."
            )


def _counted(number: int, split: str, rows: Sequence[Row], per_datapoint: Arrays) -> list[Markup]:
    """Columns of the datapoints with one mode, two, and so on; nothing where all have one."""
    num_modes_N = per_datapoint.get(f"{split}/num_modes")
    if num_modes_N is None or not any(row["modes"]["num_several"] for row in rows if row["split"] == split):
        return []
    counts = np.bincount(np.asarray(num_modes_N, int))[1:]
    drawn = plots.columns(
        f"modes-{number}",
        f"Datapoints by their number of modes, {split}",
        [{"mean": float(count), "stderr": None} for count in counts],
        ["approximation"] + ["amortization"] * (len(counts) - 1),
        "modes within 7 nats of the heaviest; up: datapoints",
        of="",
    )
    said = f"{split}: " + ", ".join(
        f"{count:,} with {modes}" for modes, count in enumerate(counts, start=1) if count
    )
    return [tag("figure", drawn, tag("figcaption", f"{said}."))]


def _lost_most(row: Row, per_datapoint: Arrays) -> list[Markup]:
    """The datapoints whose first fit lost most by its mode; nothing where none did."""
    prefix = f"{row['split']}/{row['family']}/"
    lost_N = per_datapoint.get(prefix + "wrong_mode_gap")
    if lost_N is None or not row["modes"]["num_at_lesser"]:
        return []
    lost_N = np.float64(lost_N)
    names: dict[str, Any] = {
        "modes": per_datapoint[f"{row['split']}/num_modes"],
        "L[q] at its mode": per_datapoint[prefix + "elbo_local"],
        "L[q*]": per_datapoint[prefix + "elbo_optimal"],
    }
    order = np.argsort(-np.nan_to_num(lost_N, nan=-np.inf), kind="stable")[:SHOWN]
    lines = [
        [
            str(per_datapoint[f"{row['split']}/index"][n]),
            str(int(names["modes"][n])),
            *(as_number(float(names[name][n])) for name in list(names)[1:]),
            as_number(float(lost_N[n])),
        ]
        for n in order
        if lost_N[n] > 0.0
    ]
    caption = f"{label(row)}: the datapoints whose fit from its start lost most by its mode, nats"
    return [table(caption, ["datapoint", *names, "lost"], lines)] if lines else []
