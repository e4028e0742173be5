"""Every large program of the demo at two of LLVM's levels: compiling, running, and whether the results agree.

    python benchmarks/optimization_level.py             # level 2, which vaelab takes on a CPU, against 3
    python benchmarks/optimization_level.py --other=1

Runs `experiments/digits_gap.py` (--smoke: its smoke variant); each program of `map_runs` is compiled at both
levels and run at both on every chunk, one after the other. Processor seconds; "same" where every result is
the same bit for bit, else the largest finite difference in any array. Prints one JSON line.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import jax
import numpy as np
from rich.console import Console

import vaelab
from experiments import digits_gap
from vaelab.runtime import devices


def seconds(call: Any) -> tuple[float, Any]:
    began = time.process_time()
    result = jax.block_until_ready(call())
    return time.process_time() - began, result


class Compared:
    """A program in the place of that of vaelab, at both levels; what it returns is of level 3."""

    def __init__(self, name: str, jitted: Any, levels: tuple[int, int], seen: dict[str, dict[str, Any]]):
        self.jitted, self._levels, self._compiled = jitted, levels, {}
        self._row = seen[name]

    def __call__(self, *arguments: Any) -> Any:
        shapes = str(jax.tree.map(np.shape, arguments))
        if shapes not in self._compiled:
            lowered, programs = self.jitted.lower(*arguments), []
            for level in self._levels:
                options = {"xla_backend_optimization_level": level}
                took, program = seconds(lambda options=options: lowered.compile(options))
                self._row[f"compile_{level}"] += took
                programs.append(program)
            self._compiled[shapes] = programs
        results = []
        for level, program in zip(self._levels, self._compiled[shapes], strict=True):
            took, result = seconds(lambda program=program: program(*arguments))
            self._row[f"run_{level}"] += took
            results.append(result)
        for one, other in zip(*map(jax.tree.leaves, results), strict=True):
            one, other = np.float64(one), np.float64(other)
            self._row["arrays_that_differ"] += not np.array_equal(one, other, equal_nan=True)
            both = np.isfinite(one) & np.isfinite(other)
            off = np.abs(one[both] - other[both])
            self._row["difference"] = max(self._row["difference"], float(np.max(off, initial=0.0)))
        return results[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--other", type=int, choices=(0, 1, 2), default=2, help="against level 3")
    parser.add_argument("--smoke", action="store_true", help="the smoke variant of the demo")
    arguments = parser.parse_args()
    seen: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(float))
    original = devices._compiled

    def compared(function: Any, static: Any, mesh: Any, several: bool) -> Compared:
        program = original(function, static, mesh, several)
        return Compared(function.__name__, program.jitted, (3, arguments.other), seen)

    devices._compiled = compared
    with tempfile.TemporaryDirectory() as folder:
        config = digits_gap.get_config("smoke" if arguments.smoke else "")
        vaelab.run(config, folder, Console(quiet=True))
    rows = [
        {"program": name, "same": not row["arrays_that_differ"], **row} for name, row in seen.items() if row
    ]  # a trace alone is no run
    total = {key: sum(row.get(key, 0.0) for row in rows) for key in rows[0] if key[:3] in ("com", "run")}
    print(json.dumps({"benchmark": "optimization_level", "total": total, "rows": rows}))


if __name__ == "__main__":
    main()
