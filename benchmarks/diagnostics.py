"""What the diagnostics add to a run, from its start to its end:

    python benchmarks/diagnostics.py                   # make demo's
    python benchmarks/diagnostics.py --config=experiments/mnist_gap.py --rounds=3 \\
        --config.data.data_dir=DIR --config.train.num_steps=550 --config.refit.num_steps=550

launches a config with its diagnostics and without them (`evaluate.diagnostics.enabled=False`), in turn, in
directories of their own, after a pair that compiles. What is not an option is handed to launch.py. Prints one
JSON line: processor seconds and seconds by the clock of every launch, what the diagnostics add in each pair
(`added`, seconds), and as a part of the run without them (`part`); median and range over pairs. With fewer
steps of training the run is shorter and `added` the same: divide it by the seconds of the whole run.
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


def launched(arguments: list[str], cache: Path) -> dict[str, float]:
    """Seconds of a launch by both clocks."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "launch.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)},
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"launch.py {' '.join(arguments)} ended with {process.returncode}")
    return {"processor": used.ru_utime + used.ru_stime, "wall": time.perf_counter() - began}


def spread(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--config", default="experiments/digits_gap.py", help="an experiment, with :variant")
    parser.add_argument("--rounds", type=int, default=5)
    options, settings = parser.parse_known_args()
    seconds = {name: {clock: [] for clock in CLOCKS} for name in ("with", "without")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(-1, options.rounds):  # the first pair compiles
            for which, of_which in seconds.items():
                flags = [f"--config={options.config}", *settings, f"--workdir={folder / f'{which}{number}'}"]
                flags.append(f"--config.evaluate.diagnostics.enabled={which == 'with'}")
                taken = launched(flags, folder / "cache")
                if number >= 0:
                    for clock in CLOCKS:
                        of_which[clock].append(round(taken[clock], 2))
    result = {"benchmark": "diagnostics", "config": options.config, "settings": settings}
    result |= {"cores": os.cpu_count(), "load": os.getloadavg()[0], "seconds": seconds}
    for clock in CLOCKS:
        pairs = list(zip(seconds["with"][clock], seconds["without"][clock], strict=True))
        added = [with_them - without for with_them, without in pairs]
        part = [more / without for more, (_, without) in zip(added, pairs, strict=True)]
        result[clock] = {"added": spread(added), "part": spread(part)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
