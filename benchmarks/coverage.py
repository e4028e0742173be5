"""Does the stated interval of log p(x) hold the truth? On posteriors whose log p(x) is known exactly:

    python benchmarks/coverage.py                    # all groups; writes benchmarks/results/coverage.json
    python benchmarks/coverage.py --only sign-k2     # one, or several, to standard output alone
    python benchmarks/coverage.py --only sign-k2 --update   # in the place of what coverage.json has of them
    python benchmarks/coverage.py --smoke            # a few datapoints of two groups

Each group of `benchmarks/posteriors/` is one `vaelab.audit` with the default settings, families diagonal
and full, evidence "auto". A datapoint is flagged where the audit itself warns of it: a fit that has not
converged, a Pareto k over 0.7, a stated error over 0.1 nats or none, modes said to be missed; every datapoint
of an audit whose rows say that log p(x) is a lower bound beyond its error, as several modes are seen and
narrow ones may not be (`modes.may_lack`); and where modes are named in the notes alone and not by datapoint,
every datapoint of that audit. Among the others:

    covered    |claimed log p(x) - exact| <= 2 stated errors + 8 float32 steps of |exact| + K + 1
    miss       |claimed - exact| > 0.1 nats
    optimum    L[q*] of the diagonal family more than 0.1 nats + 2 stated errors from the best diagonal
               Gaussian's; where that one is not known, above log p(x) or below a Gaussian at one part

The two targets: 95% covered; no miss at a datapoint of at most 4 parts within 20 standard deviations, which
"aimed at" counts, beside how many there are. "Called one mode" says how often num_modes is 1 where there are
several modes, and larger where there is one. Prints a table on standard error and one JSON line; nats.
"""

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import jax
import numpy as np

import vaelab
from benchmarks.posteriors import GROUPS, Posteriors
from benchmarks.posteriors.record import with_best_diagonal
from vaelab.measure.ended import ENDS
from vaelab.runtime.memory import release_programs

RESULTS = Path(__file__).resolve().parent / "results"
FAMILIES = ("diagonal", "full")
MISS, UNSURE, HEAVY = 0.1, 0.1, 0.7
MOST_PARTS, REACH, WANTED = 4, 20.0, 0.95
SMOKE, SMOKE_POINTS = ("mixture-k1", "sign-k1"), 3
MODES = re.compile(r"\bmodes?\b")

Case = dict[str, Any]


def cases(
    name: str, group: Posteriors, per_datapoint: Mapping[str, Any], notes: list[str], *, lacking: bool = False
) -> list[Case]:
    """What was claimed of each datapoint beside what is true; lacking: whether its rows say `may_lack`."""

    def column(key: str) -> np.ndarray | None:
        return per_datapoint.get(f"given/{key}")

    told_N = [column(key) for key in ("modes_missed", "num_modes")]
    noted = all(told is None for told in told_N) and any(MODES.search(note) for note in notes)
    every = []
    for row, exact in enumerate(group.log_evidence_N):
        missed, num_modes = (None if told is None else float(told[row]) for told in told_N)
        case = {
            "group": name,
            "row": row,
            "kind": str(group.kind_N[row]),
            "parts": int(group.num_parts_N[row]),
            "apart": float(group.apart_N[row]),
            "modes": int(group.num_modes_N[row]),
            "exact": float(exact),
            "claimed": float(column("log_evidence")[row]),
            "stated": float(column("log_evidence_stderr")[row]),
            "pareto_k": float(column("pareto_k")[row]),
            "ended": {family: ENDS[int(column(f"{family}/ended")[row])] for family in FAMILIES},
            "elbo_optimal": float(column("diagonal/elbo_optimal")[row]),
            "elbo_optimal_stderr": float(column("diagonal/elbo_optimal_stderr")[row]),
            "best_diagonal": float(group.best_diagonal_N[row]),
            "attained": float(group.attained_N[row]),
            "modes_missed": missed,
            "num_modes": num_modes,
            "may_lack": lacking,
        }
        every.append(case | judged(case, group.latent_dim, noted=noted))
    return every


def judged(case: Case, latent_dim: int, *, noted: bool) -> dict[str, Any]:
    """Whether a case was flagged, and why; whether what was claimed of it is true."""
    converged = all(end == "converged" for end in case["ended"].values())
    reasons = {
        "not converged": not converged,
        # Infinite is a k-hat of too few weights to tell, as those of a handful of SMC runs.
        "Pareto k": HEAVY < case["pareto_k"] < np.inf,
        "stated error": not case["stated"] <= UNSURE,
        "modes missed": (case["modes_missed"] or 0.0) > 0.0,
        "lower bound": case["may_lack"],
        "note": noted,
    }
    off = case["claimed"] - case["exact"]
    rounding = 8.0 * np.finfo(np.float32).eps * (abs(case["exact"]) + latent_dim + 1)
    above = case["elbo_optimal"] - np.fmin(case["best_diagonal"], case["exact"])
    below = case["attained"] - case["elbo_optimal"]
    slack = MISS + 2.0 * case["elbo_optimal_stderr"]
    return {
        "flags": [reason for reason, holds in reasons.items() if holds],
        "off": off,
        # A comparison with NaN is false: what is not a number is neither covered nor a hit.
        "covered": bool(abs(off) <= 2.0 * case["stated"] + rounding),
        "miss": not abs(off) <= MISS,
        "aimed_at": case["parts"] <= MOST_PARTS and case["apart"] <= REACH,
        "optimum_miss": not above <= slack or below > slack,
    }


def summary(every: list[Case]) -> dict[str, Any]:
    """Counts over cases; shares are of those not flagged, None of none."""
    sure = [case for case in every if not case["flags"]]
    misses = [case for case in sure if case["miss"]]
    several = [case for case in every if case["modes"] > 1 and case["num_modes"] is not None]
    single = [case for case in every if case["modes"] == 1 and case["num_modes"] is not None]
    return {
        "cases": len(every),
        "flagged": len(every) - len(sure),
        "flags": dict(Counter(reason for case in every for reason in case["flags"])),
        "flagged_though_right": sum(
            bool(case["flags"]) and case["covered"] and not case["miss"] for case in every
        ),
        "covered": sum(case["covered"] for case in sure) / len(sure) if sure else None,
        "misses": len(misses),
        "misses_aimed_at": sum(case["aimed_at"] for case in misses),
        "aimed_at": sum(case["aimed_at"] for case in every),
        "worst_miss": max((abs(case["off"]) for case in misses), default=0.0),
        "optimum_misses": sum(case["optimum_miss"] for case in sure),
        "several_modes": len(several),
        "called_one_mode": sum(case["num_modes"] == 1 for case in several),
        "one_mode": len(single),
        "called_several_modes": sum(case["num_modes"] > 1 for case in single),
    }


def measured(name: str, group: Posteriors) -> tuple[dict[str, Any], list[Case]]:
    """(the group's line, its cases). An audit that raises is a line with the error and no cases."""
    density = "log_likelihood" if group.is_likelihood else "log_joint"
    given = {"log_likelihood": None, density: group.density, "latent_dim": group.latent_dim}
    began = time.process_time()
    try:
        report = vaelab.audit(
            encode=group.encode, x=group.x, key=jax.random.key(7), families=FAMILIES, quiet=True, **given
        )
    except Exception as error:  # one group that cannot be audited is a result, and not the end of the others
        line = f"{type(error).__name__}: {error}"
        return {"group": name, "error": line, "unmeasured": len(group.log_evidence_N)}, []
    evidence = report.rows[0]["log_evidence"]
    evaluations = sum(row["decoder_evaluations_per_point"] for row in report.rows)
    line = {
        "group": name,
        "estimator": evidence["estimator"],
        "evaluations": evaluations + evidence["decoder_evaluations_per_point"],
        "processor_seconds": time.process_time() - began,
        "notes": report.notes,
    }
    lacking = any(row["modes"]["may_lack"] for row in report.rows)
    every = cases(name, group, report.per_datapoint, report.notes, lacking=lacking)
    return line | summary(every), every


HEADER = (
    f"{'group':<24}{'cases':>6}{'flagged':>9}{'(right)':>9}{'covered':>9}{'misses':>8}{'aimed at':>10}"
    f"{'worst':>8}{'optimum':>9}{'evaluations':>13}{'seconds':>9}"
)


def row_of_table(line: dict[str, Any]) -> str:
    """A group's line, or that of the totals, as text."""
    if "error" in line:
        return f"{line['group']:<24}{line['unmeasured']:>6} not measured: {line['error']}"
    right = f"({line['flagged_though_right']})"
    covered = "-" if line["covered"] is None else f"{line['covered']:.0%}"
    aimed = f"{line['misses_aimed_at']}/{line['aimed_at']}"
    return (
        f"{line['group']:<24}{line['cases']:>6}{line['flagged']:>9}{right:>9}{covered:>9}{line['misses']:>8}{aimed:>10}"
        f"{line['worst_miss']:>8.2f}{line['optimum_misses']:>9}{line['evaluations']:>13,}"
        f"{line['processor_seconds']:>9.1f}"
    )


def listed(case: Case) -> str:
    """A miss as one line of text."""
    distance = f", {case['apart']:.0f} sd" if case["parts"] > 1 else ""
    where = f"{case['group']} {case['row']} ({case['kind']}{distance})"
    said = f"log p(x) {case['claimed']:.3f} +- {case['stated']:.1g}, exact {case['exact']:.3f}"
    if np.isfinite(case["best_diagonal"]):
        best = f"best {case['best_diagonal']:.3f}"
    else:
        least = f"{case['attained']:.3f}" if np.isfinite(case["attained"]) else "unknown"
        best = f"best from {least} to {case['exact']:.3f}"
    return f"{where}: {said}; L[q*] {case['elbo_optimal']:.3f}, {best}"


def totals(lines: list[dict[str, Any]], every: list[Case]) -> dict[str, Any]:
    """The counts over all groups, against the two targets."""
    total = {"group": "total", **summary(every)}
    done = [line for line in lines if "error" not in line]
    total["unmeasured"] = sum(line["unmeasured"] for line in lines if "error" in line)
    total["evaluations"] = round(
        sum(line["evaluations"] * line["cases"] for line in done) / max(1, total["cases"])
    )
    total["processor_seconds"] = sum(line["processor_seconds"] for line in done)
    total["wanted_coverage"] = WANTED
    total["met"] = bool((total["covered"] or 0.0) >= WANTED and not total["misses_aimed_at"])
    return total


def tell(total: dict[str, Any], every: list[Case]) -> None:
    """The totals, and every miss, on standard error."""
    sure = [case for case in every if not case["flags"]]
    print(row_of_table(total), file=sys.stderr)
    if total["several_modes"] or total["one_mode"]:
        print(
            f"called one mode: {total['called_one_mode']} of {total['several_modes']} with several; "
            f"called several: {total['called_several_modes']} of {total['one_mode']} with one",
            file=sys.stderr,
        )
    for title, key in (("misses", "miss"), ("misses of the optimum", "optimum_miss")):
        lines = [listed(case) for case in sure if case[key]]
        print(f"{title}, not flagged: {len(lines)}", *lines, sep="\n  ", file=sys.stderr)
    why = ", ".join(f"{reason} {count}" for reason, count in total["flags"].items())
    print(f"flagged for: {why or 'nothing'}", file=sys.stderr)
    print(f"targets {'met' if total['met'] else 'missed'}", file=sys.stderr, flush=True)


def strict(value: Any) -> Any:
    """The same with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: strict(each) for key, each in value.items()}
    if isinstance(value, list):
        return [strict(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def write(path: Path, result: dict[str, Any]) -> None:
    """One line for each group, miss and case."""
    parts = []
    for key, value in result.items():
        each = ",\n".join(f"    {json.dumps(one)}" for one in value) if isinstance(value, list) else None
        parts.append(f"  {json.dumps(key)}: " + (json.dumps(value) if each is None else f"[\n{each}\n  ]"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def of_others(path: Path, names: Sequence[str]) -> tuple[list[dict[str, Any]], list[Case]]:
    """(lines, cases) of the groups that were not measured now, from an earlier result."""
    before = json.loads(path.read_text())
    lines, every = ([one for one in before[key] if one["group"] not in names] for key in ("groups", "cases"))
    unknown = ("modes_missed", "num_modes")  # None says so; of a number it stands for one that is not finite
    return lines, [
        {key: np.nan if value is None and key not in unknown else value for key, value in case.items()}
        for case in every
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=GROUPS, metavar="NAME", help=", ".join(GROUPS))
    parser.add_argument(
        "--update", action="store_true", help="of --only: coverage.json keeps the other groups"
    )
    parser.add_argument("--smoke", action="store_true", help="a few datapoints of two groups")
    parser.add_argument("--results", type=Path, help="the folder of coverage.json; given by itself for all")
    arguments = parser.parse_args()
    names = arguments.only or (SMOKE if arguments.smoke else tuple(GROUPS))
    folder = arguments.results
    if folder is None and not arguments.smoke and (arguments.update or not arguments.only):
        folder = RESULTS
    lines, every = of_others(folder / "coverage.json", names) if arguments.update else ([], [])
    print(HEADER, file=sys.stderr, flush=True)
    for name in names:
        group = GROUPS[name]()
        group = with_best_diagonal(group.first(SMOKE_POINTS) if arguments.smoke else group)
        line, of_group = measured(name, group)
        lines.append(line)
        every += of_group
        print(row_of_table(line), file=sys.stderr, flush=True)
        release_programs()
    order = list(GROUPS)
    lines, every = (sorted(part, key=lambda one: order.index(one["group"])) for part in (lines, every))
    total = totals(lines, every)
    tell(total, every)
    result = {"benchmark": "coverage", "total": total, "groups": lines}
    result |= {
        "misses": [listed(case) for case in every if case["miss"] and not case["flags"]],
        "cases": every,
    }
    if folder is not None:
        write(folder / "coverage.json", strict(result))
    print(json.dumps(strict(result)))


if __name__ == "__main__":
    main()
