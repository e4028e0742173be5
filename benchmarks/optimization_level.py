"""Every large program of the demo as XLA compiles it and as vaelab does: compiling, running, and the results.

    python benchmarks/optimization_level.py                       # the options that vaelab takes on a CPU
    python benchmarks/optimization_level.py --level=1 --emitters  # others: level of LLVM, emitters of XLA

Runs `experiments/digits_gap.py` (--smoke: its smoke variant); each program of `map_runs` is compiled in both
ways and run in both on every chunk, one after the other. Processor seconds, "xla" and "ours"; "same" where
every result is the same bit for bit, else the largest finite difference in any array. Prints one JSON line.
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
from vaelab.runtime import chunks, program

LEVEL, EMITTERS = "xla_backend_optimization_level", "xla_cpu_use_fusion_emitters"
OURS = program.compiler_options() or {LEVEL: 3, EMITTERS: True}
XLA = {name: value for name, value in {LEVEL: 3, EMITTERS: True}.items() if name in OURS}  # its own


def seconds(call: Any) -> tuple[float, Any]:
    began = time.process_time()
    result = jax.block_until_ready(call())
    return time.process_time() - began, result


class Compared:
    """A program in the place of that of vaelab, in both ways; what it returns is of XLA's."""

    def __init__(self, name: str, jitted: Any, ours: dict[str, Any], seen: dict[str, dict[str, Any]]):
        self.jitted, self._compiled = jitted, {}
        self._options = {"xla": XLA, "ours": ours}
        self._row = seen[name]

    def __call__(self, *arguments: Any) -> Any:
        shapes = str(jax.tree.map(np.shape, arguments))
        if shapes not in self._compiled:
            lowered, programs = self.jitted.lower(*arguments), []
            for which, options in self._options.items():
                took, compiled = seconds(lambda options=options: lowered.compile(options))
                self._row[f"compile_{which}"] += took
                programs.append(compiled)
            self._compiled[shapes] = programs
        results = []
        for which, compiled in zip(self._options, self._compiled[shapes], strict=True):
            took, result = seconds(lambda compiled=compiled: compiled(*arguments))
            self._row[f"run_{which}"] += took
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
    parser.add_argument("--level", type=int, choices=range(4), default=OURS[LEVEL], help="LLVM's, of ours")
    parser.add_argument(
        "--emitters", action=argparse.BooleanOptionalAction, default=OURS.get(EMITTERS), help="XLA's, of ours"
    )
    parser.add_argument("--smoke", action="store_true", help="the smoke variant of the demo")
    arguments = parser.parse_args()
    seen: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(float))
    original = chunks._compiled
    asked = {LEVEL: arguments.level, EMITTERS: arguments.emitters}
    ours = {name: value for name, value in asked.items() if name in OURS}

    def compared(function: Any, static: Any, mesh: Any, several: bool) -> Compared:
        jitted = original(function, static, mesh, several).jitted
        return Compared(function.__name__, jitted, ours, seen)

    chunks._compiled = compared
    with tempfile.TemporaryDirectory() as folder:
        config = digits_gap.get_config("smoke" if arguments.smoke else "")
        vaelab.run(config, folder, Console(quiet=True))
    rows = [
        {"program": name, "same": not row["arrays_that_differ"], **row} for name, row in seen.items() if row
    ]  # a trace alone is no run
    total = {key: sum(row.get(key, 0.0) for row in rows) for key in rows[0] if key[:3] in ("com", "run")}
    print(json.dumps({"benchmark": "optimization_level", "ours": ours, "total": total, "rows": rows}))


if __name__ == "__main__":
    main()
