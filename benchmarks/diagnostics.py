"""What the diagnostics add to a run, from its start to its end:

    python benchmarks/diagnostics.py                   # make demo's
    python benchmarks/diagnostics.py --config=experiments/mnist_gap.py \\
        --config.data.data_dir=DIR --config.train.num_steps=550 --config.refit.num_steps=550
    python benchmarks/diagnostics.py --rounds=5        # launches with and without them, in turn

launches a config once and times within it every function of the diagnostics, with the programs that they
compile: of the aggregate and the KL (`q`), the parts of the gap (`split`), the pairs of latents (`pairs`),
the groups of datapoints (`groups`), and pictures (`pictures`). What is no option is handed to launch.py.
Prints one JSON line: seconds of the processor and by the clock of each, of the whole launch, and `part`,
their sum as a part of all else. With fewer steps of training all else is shorter and the diagnostics are not.

With --rounds it launches the config with `evaluate.diagnostics.enabled` and without, which has the groups and
most of the pictures, in turn, and prints the seconds of each and the median and range of the pairs' ratio.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
CLOCKS = ("processor", "wall")
TIMED = {
    "q": ("measure.stages.diagnose", "measure.diagnostics.columns", "measure.diagnostics.entry"),
    "split": ("measure.stages._gap_splits", "measure.split_gap.entry"),
    "pairs": ("measure.stages._optimal_scales", "measure.pairs.entry"),
    "groups": ("measure.by_group.groups", "measure.by_group.entries"),
    "pictures": ("runs.run._drawn", "report.plot_pictures"),
}
WITHIN = """
import atexit, functools, importlib, json, runpy, sys, time
output, timed = sys.argv.pop(1), json.loads(sys.argv.pop(1))
seconds = {part: {"processor": 0.0, "wall": 0.0} for part in timed}

def counted(function, part):
    @functools.wraps(function)
    def called(*given, **named):
        began = time.process_time(), time.perf_counter()
        try:
            return function(*given, **named)
        finally:
            seconds[part]["processor"] += time.process_time() - began[0]
            seconds[part]["wall"] += time.perf_counter() - began[1]
    return called

for part, names in timed.items():
    for name in names:
        module, _, function = ("vaelab." + name).rpartition(".")
        module = importlib.import_module(module)
        setattr(module, function, counted(getattr(module, function), part))
atexit.register(lambda: open(output, "w").write(json.dumps(seconds)))
sys.argv[0] = "launch.py"
runpy.run_path("launch.py", run_name="__main__")
"""


def launched(command: list[str], arguments: list[str]) -> dict[str, float]:
    """Seconds of a launch by both clocks."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"launch.py {' '.join(arguments)} ended with {process.returncode}")
    return {"processor": used.ru_utime + used.ru_stime, "wall": time.perf_counter() - began}


def within(flags: list[str], folder: Path) -> dict[str, dict]:
    output = folder / "seconds.json"
    whole = launched(["-c", WITHIN, str(output), json.dumps(TIMED)], [*flags, f"--workdir={folder / 'run'}"])
    parts = json.loads(output.read_text())
    added = {clock: sum(part[clock] for part in parts.values()) for clock in CLOCKS}
    part = {clock: added[clock] / (whole[clock] - added[clock]) for clock in CLOCKS}
    return {"seconds": parts, "whole": whole, "added": added, "part": part}


def in_turn(flags: list[str], folder: Path, rounds: int) -> dict[str, dict]:
    """The first pair, which compiles, is not counted."""
    seconds = {name: {clock: [] for clock in CLOCKS} for name in ("with", "without")}
    for number in range(rounds + 1):
        for which, of_which in seconds.items():
            enabled = f"--config.evaluate.diagnostics.enabled={which == 'with'}"
            taken = launched(["launch.py"], [*flags, enabled, f"--workdir={folder / f'{which}{number}'}"])
            for clock in CLOCKS:
                of_which[clock] += [taken[clock]] if number else []
    ratios = {
        clock: [a / b for a, b in zip(seconds["with"][clock], seconds["without"][clock], strict=True)]
        for clock in CLOCKS
    }
    spread = {c: {"median": median(r), "min": min(r), "max": max(r)} for c, r in ratios.items()}
    return {"seconds": seconds, "ratio": spread}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--config", default="experiments/digits_gap.py", help="an experiment, with :variant")
    parser.add_argument("--rounds", type=int, default=0, help="of launches in turn; 0: time within one")
    options, settings = parser.parse_known_args()
    flags = [f"--config={options.config}", *settings]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measured = in_turn(flags, folder, options.rounds) if options.rounds else within(flags, folder)
    about = {"benchmark": "diagnostics", "config": options.config, "settings": settings}
    about |= {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
    print(json.dumps(about | measured))


if __name__ == "__main__":
    main()
