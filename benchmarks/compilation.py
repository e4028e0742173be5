"""What a run compiles, and what that costs: programs, seconds of the clock, seconds of all processors.

    python benchmarks/compilation.py                            # all jobs, cold
    python benchmarks/compilation.py --jobs digits_gap --warm   # then with every program in the cache too
    python benchmarks/compilation.py --against ../other --rounds 3   # in turn with another checkout

Each job is a process of its own with an empty compile cache: `digits_gap` and `linear_gaussian` by
`launch.py`, `audit` one of 12 datapoints with the diagonal family. JAX's own monitoring counts the programs
and the seconds that tracing, lowering and the backend take; --programs lists them, the longest first.
Processor seconds are those of the process from its start to its end. With another checkout the jobs of both
take turns, and the ratio of each round is ours over the other's. Prints one JSON line.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
JOBS = ("digits_gap", "linear_gaussian", "audit")
WATCHED = """
import atexit, json, runpy, sys, jax
kinds = {"jaxpr_trace_duration": "tracing", "jaxpr_to_mlir_module_duration": "lowering",
         "backend_compile_duration": "backend"}
events, hits = [], []
def duration(name, seconds, **about):
    kind = kinds.get(name.rsplit("/", 1)[-1])
    if kind:
        events.append((kind, about.get("fun_name", "?"), seconds))
def event(name, **about):
    if name.endswith("cache_hits"):
        hits.append(name)
jax.monitoring.register_event_duration_secs_listener(duration)
jax.monitoring.register_event_listener(event)
out, program, *rest = sys.argv[1:]
atexit.register(lambda: open(out, "w").write(json.dumps({"events": events, "hits": len(hits)})))
sys.argv = [program, *rest]
runpy.run_path(program, run_name="__main__")
"""
AUDIT = """
import jax, jax.numpy as jnp, vaelab
W = jax.random.normal(jax.random.key(0), (5, 40))
def log_likelihood(x, z):
    mean = jnp.tanh(z @ W)
    return -0.5 * jnp.sum((x - mean) ** 2) / 0.09 - x.size * 0.5 * jnp.log(2 * jnp.pi * 0.09)
x = jnp.tanh(jax.random.normal(jax.random.key(1), (12, 5)) @ W)
x = x + 0.3 * jax.random.normal(jax.random.key(2), x.shape)
encode, key = lambda x: (jnp.zeros(5), jnp.ones(5)), jax.random.key(3)
vaelab.audit(log_likelihood, encode, x, latent_dim=5, key=key, families=("diagonal",), quiet=True)
"""


def command(job: str, folder: Path, variant: str) -> list[str]:
    if job == "audit":
        program = folder / "audit.py"
        program.write_text(AUDIT)
        return [str(program)]
    return [
        "launch.py",
        f"--config=experiments/{job}.py{variant}",
        f"--workdir={tempfile.mkdtemp(dir=folder)}",
    ]


def measured(job: str, checkout: Path, cache: Path, *, programs: bool, smoke: bool) -> dict[str, Any]:
    """One process: its seconds, and what it compiled."""
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name), Path(name) / "events.json"
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONPATH": str(checkout)}
        environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", WATCHED, str(out), *command(job, folder, ":smoke" if smoke else "")],
            cwd=checkout,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        seen = json.loads(out.read_text())
    seconds, longest, compiled = defaultdict(float), defaultdict(float), 0
    for kind, function, duration in seen["events"]:
        seconds[kind] += duration
        if kind == "backend":
            longest[function] += duration
            compiled += 1
    result = {
        "seconds": ended - began,
        "processor_seconds": sum(getattr(after, k) - getattr(before, k) for k in ("ru_utime", "ru_stime")),
        "programs": compiled,
        "from_cache": seen["hits"],
        **{f"{kind}_seconds": seconds[kind] for kind in ("tracing", "lowering", "backend")},
    }
    if programs:
        result["longest"] = dict(sorted(longest.items(), key=lambda item: -item[1]))
    return result


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure, and its range where there are several rounds."""
    result = {}
    for key, first in rounds[0].items():
        values = [one[key] for one in rounds]
        result[key] = first if isinstance(first, dict) else statistics.median(values)
        if len(values) > 1 and not isinstance(first, dict):
            result[f"{key}_range"] = [min(values), max(values)]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--warm", action="store_true", help="each job once more, with what it compiled cached"
    )
    parser.add_argument("--programs", action="store_true", help="list the programs, the longest first")
    parser.add_argument("--smoke", action="store_true", help="the experiments' smoke variants")
    parser.add_argument("--against", type=Path, help="another checkout, run in turn with this one")
    arguments = parser.parse_args()
    checkouts = {"here": ROOT} | ({"against": arguments.against.resolve()} if arguments.against else {})
    result: dict[str, Any] = {"benchmark": "compilation", "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    for job in arguments.jobs:
        done = defaultdict(list)
        for number in range(arguments.rounds):
            # In turn first and second, so that what drifts with time falls on both.
            for name in sorted(checkouts, reverse=bool(number % 2)):
                with tempfile.TemporaryDirectory() as cache:
                    for start in ("cold", "warm")[: 1 + arguments.warm]:
                        options = {"programs": arguments.programs, "smoke": arguments.smoke}
                        one = measured(job, checkouts[name], Path(cache), **options)
                        done[name, start].append(one)
                        print(job, name, start, json.dumps(one), file=sys.stderr, flush=True)
        of_job = {f"{name} {start}": summary(rounds) for (name, start), rounds in done.items()}
        for start in ("cold", "warm")[: (1 + arguments.warm) if arguments.against else 0]:
            pairs = list(zip(done["here", start], done["against", start], strict=True))
            for key in ("seconds", "processor_seconds", "programs"):
                of_job[f"ratio of {key}, {start}"] = summary([{key: a[key] / b[key]} for a, b in pairs])
        result[job] = of_job
    print(json.dumps(result))


if __name__ == "__main__":
    main()
