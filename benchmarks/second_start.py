"""How much sooner a command is done when its programs have been compiled before:

    python benchmarks/second_start.py

Each command runs twice, in new directories, with a compilation cache that is empty the first time. Prints one
JSON line: seconds of both and their ratio.
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
COMMANDS = {
    "digits_gap": ["--config=experiments/digits_gap.py"],
    "digits_gap:smoke": ["--config=experiments/digits_gap.py:smoke"],
    "linear_gaussian": ["--config=experiments/linear_gaussian.py"],
}


def seconds(arguments: list[str], workdir: Path, cache: Path) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "launch.py", *arguments, f"--workdir={workdir}"],
        cwd=ROOT,
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)},
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=list(COMMANDS), choices=COMMANDS)
    rows = []
    for name in parser.parse_args().only:
        arguments = COMMANDS[name]
        with tempfile.TemporaryDirectory() as folder:
            first, second = (
                seconds(arguments, Path(folder) / run, Path(folder) / "compiled")
                for run in ("first", "second")
            )
        rows.append({"command": name, "first": first, "second": second, "ratio": second / first})
    print(json.dumps({"benchmark": "second_start", "cores": os.cpu_count(), "rows": rows}))


if __name__ == "__main__":
    main()
