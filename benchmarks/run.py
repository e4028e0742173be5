"""The short set of benchmarks, one after another:

    python benchmarks/run.py --run=runs/digits_gap

writes the JSON line of each to benchmarks/results/NAME.json, and from them the plots beside it. A benchmark
that fails is named on standard error, the others go on, and the exit status is 1.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHORT = {
    "train_step": ["--rounds=2", "--num_steps=500"],
    "inner_loop": ["--rounds=2"],
    "convergence_estimate": ["--families", "diagonal", "full"],
    "scaling": [],
    "second_start": ["--only", "digits_gap:smoke"],
    "local_inference": ["--run={run}", "--points=30", "--families", "diagonal", "full"],
    "mean_field_table": ["--rounds=3", "--num_steps=400"],
    "all_points": ["--run={run}"],
    "published_protocol": ["--run={run}", "--points=4"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--run", required=True, help="directory of a finished run, trained on the diagonal family"
    )
    parser.add_argument("--only", nargs="+", default=list(SHORT), choices=SHORT)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in arguments.only:
        began = time.perf_counter()
        options = [option.format(run=arguments.run) for option in SHORT[name]]
        command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *options]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            failed.append(name)
            print(f"{name} failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}", file=sys.stderr)
            continue
        result = json.loads(done.stdout.splitlines()[-1])
        (arguments.results / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
        print(f"{name:<22} {time.perf_counter() - began:5.0f} s", flush=True)
    plot(arguments.results)
    return 1 if failed else 0


def plot(results: Path) -> None:
    """Draws the figures of the results that the folder holds."""
    sys.path.insert(0, str(ROOT))
    from vaelab.report.plots import figure

    scaling, recipes = results / "scaling.json", results / "local_inference.json"
    if scaling.exists():
        rows = json.loads(scaling.read_text())["rows"]
        drawn, axes = figure(len(rows), 3.0 * len(rows), 3.2)
        every = [seconds for row in rows for seconds in row["seconds"]]
        for axis, row in zip(axes, rows, strict=True):
            axis.loglog(row["values"], row["seconds"], "o-", color="#4477aa")
            axis.set_xlabel(row["size"].replace("_", " "))
            axis.set_title(f"exponent {row['exponent']:.2f}", fontsize=10)
            axis.set_xticks(row["values"], [str(v) for v in row["values"]])
            axis.set_yticks([0.1, 0.2, 0.5, 1, 2, 5, 10], ["0.1", "0.2", "0.5", "1", "2", "5", "10"])
            axis.set_ylim(0.8 * min(every), 1.25 * max(every))
            axis.minorticks_off()
        axes[0].set_ylabel("seconds, one round")
        drawn.savefig(results / "scaling.png", dpi=110)
    if recipes.exists():
        rows = json.loads(recipes.read_text())["rows"]
        names = list(dict.fromkeys(row["family"] for row in rows))
        rows.sort(key=lambda row: names.index(row["family"]))
        drawn, (axis,) = figure(1, 8.0, 1.0 + 0.24 * len(rows))
        for position, row in enumerate(rows):
            colour = COLOURS[row["solver"]]
            axis.errorbar(row["loss"], position, xerr=row["stderr"], fmt="o", capsize=3, color=colour)
            if position and row["family"] != rows[position - 1]["family"]:
                axis.axhline(position - 0.5, color="#777777", linewidth=0.8)
        labels = [f"{row['family'].replace('_', ' ')}: {_label(row)}" for row in rows]
        axis.set_yticks(range(len(rows)), labels)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.grid(axis="x", alpha=0.3)
        axis.set_xlabel("loss against a long run, nats")
        drawn.savefig(results / "local_inference.png", dpi=110)


def _label(row: dict) -> str:
    parts = [row["solver"].replace("_", " "), f"{row['evaluations']:,}"]
    parts += ["from the prior"] if row["start"] == "prior" else []
    parts += [row["kind_of_draws"]] if row["kind_of_draws"] != "antithetic" else []
    parts += [f"{row['draws']} draws"] if row["draws"] != 10 else []
    parts += ["averaged"] if row["averaged"] else []
    if row["solver"] == "adam":
        parts += [f"rate {row['rate']:g}"]
        parts += ["ELBO's gradient"] if row["gradient"] != "stick_the_landing" else []
    return ", ".join(parts)


COLOURS = {"quasi_newton": "#4477aa", "natural_gradient": "#228833", "adam": "#ee8866", "lbfgs": "#aa3377"}


if __name__ == "__main__":
    sys.exit(main())
