"""The memory of a run whose data are larger than it needs:

    python benchmarks/large_data.py

Writes --images random colour images of --side x --side as one .npy, and runs digits_gap:smoke on them with
the observation `rescale` and --steps of training, in a process of its own. Prints one JSON line: the bytes of
the data, the most that were resident in the process, pages of the mapped file among them, and its seconds;
with --in_memory the same of a run that holds the data in memory.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PORTION = 1000
# The kernel's mark of the process itself: that of its parent's children has in it what the parent took.
LAUNCH = """
import atexit, re, runpy, sys
from pathlib import Path
status = Path("/proc/self/status")
output = Path(sys.argv.pop(1))
atexit.register(lambda: output.write_text(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]))
runpy.run_path("launch.py", run_name="__main__")
"""


def write(path: Path, images: int, side: int) -> int:
    """Random images, a portion at a time; returns their bytes."""
    rng = np.random.default_rng(0)
    array = np.lib.format.open_memmap(path, "w+", np.uint8, (images, side, side, 3))
    for start in range(0, images, PORTION):
        shape = array[start : start + PORTION].shape
        array[start : start + PORTION] = rng.integers(0, 256, shape, np.uint8)
    array.flush()
    return array.nbytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--in_memory", action="store_true", help="hold the data in memory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        num_bytes = write(Path(folder) / "images.npy", arguments.images, arguments.side)
        settings = {
            "data.name": "file",
            "data.path": f"{folder}/images.npy",
            "data.memory_bytes": 2**40 if arguments.in_memory else 2**28,
            "data.observation": "rescale",
            "model.likelihood.name": "discretized_logistic",
            "train.num_steps": arguments.steps,
            "train.chunk_size": min(250, arguments.steps),
            "train.evaluate_every": arguments.steps,
            "train.checkpoint_every": arguments.steps,
            "inference.families": "('diagonal',)",
            "inference.modes.num_starts": 0,
        }
        flags = [f"--config.{name}={value}" for name, value in settings.items()]
        arguments_of_launch = ["--config=digits_gap:smoke", *flags, f"--workdir={folder}/run"]
        command = [sys.executable, "-c", LAUNCH, f"{folder}/resident", *arguments_of_launch]
        began = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        kilobytes = int(Path(folder, "resident").read_text())
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
    result = {
        "data_bytes": num_bytes,
        "resident_bytes": 1024 * kilobytes,
        "in_memory": arguments.in_memory,
        "steps": arguments.steps,
        "seconds": round(seconds, 1),
        "training_seconds": json.loads(lines[-1])["seconds"],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
