"""What one experiment measures under two stacks of Python and JAX, and in which digit the figures part:

    make demo && .venv/bin/python benchmarks/stacks.py functions runs/digits_gap    # under one Python
    tests/pythons.sh DIR sid             # under Python 3.14 both too: DIR/sid/vaelab/runs/digits_gap
    python benchmarks/stacks.py compare RUN OTHER

`functions` leaves a digest of what each of JAX's functions gives under this stack in RUN/functions.json.
`compare` reads two finished runs of one config and seed, of the same data. It prints the table, writes
results/stacks.json and that part of docs/getting_started.md which is made of it. The error of a difference is
that of the paired differences at the datapoints. Exits with 1 where the runs cannot be compared, or where a
figure is more than 5 of the standard errors of the two from the other one.
"""

import argparse
import hashlib
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "stacks.json"
PAGE = ROOT / "docs" / "getting_started.md"
BEGIN, END = "<!-- by benchmarks/stacks.py -->", "<!-- to here -->"
FIGURES = {
    "elbo_amortized": "amortized L[q_phi]",
    "elbo_optimal": "optimal L[q*]",
    "log_evidence": "log p(x), lower bound",
    "amortization_gap": "amortization gap",
    "approximation_gap": "approximation gap",
}
NAMED = ("Python", "jax", "jaxlib", "flax", "numpy")
ERRORS = 5.0
ORDINALS = ("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh")


def parting_digit(one: float, other: float, most: int = 7) -> int | None:
    """The first significant digit in which two numbers, each rounded there, part; None where it is later."""
    for digits in range(1, most + 1):
        if f"{one:.{digits - 1}e}" != f"{other:.{digits - 1}e}":
            return digits
    return None


def compared(one: Path, other: Path) -> dict[str, Any]:
    """The entry of results/stacks.json.

    Raises ValueError where the two are not of the same data and datapoints.
    """
    runs = [json.loads((run / "gap.json").read_text()) for run in (one, other)]
    if json.loads((one / "data.json").read_text()) != json.loads((other / "data.json").read_text()):
        raise ValueError(f"{one} and {other} are of other data")
    with np.load(one / "per_datapoint.npz") as first, np.load(other / "per_datapoint.npz") as second:
        arrays = dict(first), dict(second)
    digests = [json.loads((run / "functions.json").read_text()) for run in (one, other)]
    rows = []
    for of_one, of_other in zip(*(run["rows"] for run in runs), strict=True):
        if any(of_one[key] != of_other[key] for key in ("split", "family")):
            raise ValueError(f"{one} and {other} have other rows")
        for name in FIGURES:
            rows.append(_figure(name, of_one, of_other, arrays))
    return {
        "benchmark": "stacks",
        "versions": [run["versions"][-1] for run in runs],
        "rows": rows,
        "functions": {
            "same": [name for name, digest in digests[0].items() if digests[1][name] == digest],
            "other": [name for name, digest in digests[0].items() if digests[1][name] != digest],
        },
        "training": _training(one, other),
    }


def _figure(name: str, one: dict, other: dict, arrays: tuple[dict, dict]) -> dict[str, Any]:
    values, errors = ([row[name][key] for row in (one, other)] for key in ("mean", "stderr"))
    at_N = [_datapoints(name, one["split"], one["family"], of) for of in arrays]
    if len(at_N[0]) != len(at_N[1]):
        raise ValueError(f"{name}: the two are of {len(at_N[0])} and {len(at_N[1])} datapoints")
    apart_N = at_N[1] - at_N[0]
    return {
        "family": one["family"],
        "figure": name,
        "values": values,
        "errors": errors,
        "difference": float(apart_N.mean()),
        "difference_stderr": float(apart_N.std(ddof=1) / np.sqrt(len(apart_N))),
        "largest": float(np.abs(apart_N).max()),
        "digit": parting_digit(*values),
    }


def _datapoints(name: str, split: str, family: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    def of(key: str) -> np.ndarray:
        return np.float64(arrays[f"{split}/{key}"])

    if name == "log_evidence":
        return of(name)
    if name == "amortization_gap":
        return of(f"{family}/elbo_optimal") - of(f"{family}/elbo_amortized")
    if name == "approximation_gap":
        return of("log_evidence") - of(f"{family}/elbo_optimal")
    return of(f"{family}/{name}")


def _training(one: Path, other: Path) -> dict[str, Any]:
    """Where the two trainings part: the ELBO of each logged step, relative to its size."""
    lines = [
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (one, other)
    ]
    curves = [
        {(line["stage"], line["step"]): line["elbo"] for line in each if "elbo" in line} for each in lines
    ]
    both = [step for step in curves[0] if step in curves[1]]
    apart = {step: abs(curves[1][step] / curves[0][step] - 1.0) for step in both if step[0] == both[0][0]}
    differ = [step for step, relative in apart.items() if relative] or [max(apart)]
    first, last = min(differ), max(apart)
    return {"first_apart": first[1], "last": last[1], "relative": [apart[first], apart[last]]}


def table(result: dict[str, Any]) -> str:
    """The part of the page between its markers."""
    heads = [", ".join(f"{name} {of[name]}" for name in NAMED) for of in result["versions"]]
    lines = [
        f"| test, nats | {heads[0]} | {heads[1]} | difference, paired | at one datapoint | part in the |"
    ]
    lines.append("|" + "---|" * 6)
    for row in result["rows"]:
        cells = [f"{FIGURES[row['figure']]}, {row['family']}"]
        cells += [
            f"{value:.4f} ± {error:.4f}" for value, error in zip(row["values"], row["errors"], strict=True)
        ]
        cells.append(f"{row['difference']:+.4f} ± {row['difference_stderr']:.4f}")
        cells.append(f"up to {row['largest']:.2g}")
        cells.append(f"{ORDINALS[row['digit']]} digit" if row["digit"] else "nowhere")
        lines.append(f"| {' | '.join(cells)} |")
    same, other = result["functions"]["same"], result["functions"]["other"]
    of = result["training"]
    text = (
        f"The data are the same, and bit for bit {_listed(same)} at the same key or array. {_listed(other)} "
        "round otherwise, and training carries that on: the ELBO of the first of its logged steps to differ, "
        f"step {of['first_apart']:,}, does so by {of['relative'][0]:.0e} of its size, that of step "
        f"{of['last']:,} by {of['relative'][1]:.0e}. These are two trained models, each measured to its own "
        "error."
    )
    return "\n".join([*lines, "", textwrap.fill(text, 130)])


def _listed(names: list[str]) -> str:
    """In words; "nothing" of none."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else "nothing"


def functions() -> dict[str, str]:
    """A digest of what each function gives at the same arrays, under this stack."""
    import jax
    import jax.numpy as jnp

    key = jax.random.key(0)
    x, w = jax.random.normal(key, (200, 64)), jax.random.normal(jax.random.key(1), (64, 200))
    every = {
        "`random.normal`": x,
        "`random.uniform`": jax.random.uniform(key, (10_000,)),
        "`random.permutation`": jax.random.permutation(key, 1000),
        "`exp`": jnp.exp(x),
        "`tanh`": jnp.tanh(x),
        "`log1p`": jnp.log1p(jnp.abs(x)),
        "`softplus`": jax.nn.softplus(x),
        "sums": jnp.sum(x, 0),
        "Products of matrices": x @ w,
        "`expm1`": jnp.expm1(x),
    }
    return {name: hashlib.sha256(np.asarray(value).tobytes()).hexdigest() for name, value in every.items()}


def update(result: dict[str, Any]) -> None:
    text = PAGE.read_text()
    head, rest = text.split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n\n{table(result)}\n\n{END}{rest.split(END)[1]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("functions", "compare"))
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--no-page", action="store_true", help="leave docs/getting_started.md as it is")
    arguments = parser.parse_args()
    if arguments.step == "functions":
        for run in arguments.runs:
            (run / "functions.json").write_text(json.dumps(functions(), indent=2) + "\n")
        return 0
    if len(arguments.runs) != 2:
        parser.error("compare takes two runs")
    try:
        result = compared(*arguments.runs)
    except (ValueError, OSError, KeyError) as error:
        print(f"benchmarks/stacks.py: {error}", file=sys.stderr)
        return 1
    arguments.results.write_text(json.dumps(result, indent=2) + "\n")
    print(table(result))
    if not arguments.no_page:
        update(result)
    far = [row for row in result["rows"] if abs(row["difference"]) > ERRORS * float(np.hypot(*row["errors"]))]
    for row in far:
        print(f"{row['figure']}, {row['family']}: not the same to within its error", file=sys.stderr)
    return 1 if far else 0


if __name__ == "__main__":
    sys.exit(main())
