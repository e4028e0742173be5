"""A sweep of seeds against the same runs launched one after the other, by the clock on the wall:

    python benchmarks/sweep_against_launches.py --config=experiments/digits_gap.py --runs=8

Everything counts: the start of Python, compiling, training, measuring and plots. Both find the programs of an
earlier launch of either kind compiled. Prints one JSON line: seconds of both, and their ratio.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SWEPT = """
import importlib.util
from pathlib import Path
from experiments import defaults

def get_config():
    name, _, variant = {config!r}.partition(":")
    spec = importlib.util.spec_from_file_location("swept", Path({root!r}) / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config(variant)
    with config.unlocked():
        config.sweep = defaults.sweep(num_seeds={runs})
    return config
"""


def seconds(arguments: list[str], cache: Path) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "launch.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="experiments/digits_gap.py", help="an experiment, with :variant")
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--cpu_devices", type=int, default=1, help="of the sweep and of each launch")
    arguments = parser.parse_args()
    devices = f"--cpu_devices={arguments.cpu_devices}"
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name), Path(name) / "cache"
        swept = folder / "swept.py"
        swept.write_text(SWEPT.format(config=arguments.config, root=str(ROOT), runs=arguments.runs))
        for start in ("cold", "sweep"):
            together = seconds([f"--config={swept}", devices, f"--workdir={folder / start}"], cache)
        launches = []
        for seed in range(-1, arguments.runs):  # the first compiles
            flags = [f"--config={arguments.config}", devices, f"--config.seed={max(seed, 0)}"]
            launches.append(seconds([*flags, f"--workdir={folder / str(seed)}"], cache))
    result = {
        "benchmark": "sweep_against_launches",
        "config": arguments.config,
        "cores": os.cpu_count(),
        "runs": arguments.runs,
        "cpu_devices": arguments.cpu_devices,
        "sweep_seconds": together,
        "launch_seconds": launches[1:],
        "ratio": together / sum(launches[1:]),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
