"""Training several runs as one program against each alone:

    python benchmarks/runs_together.py --config=experiments/digits_gap.py --runs=8

Chunks of steps (`train_chunk`) of the runs of a sweep and of a single one, compiled before and in turn.
Prints one JSON line: milliseconds a step of one run, in each way and round, and their ratio; below 1 the
runs are faster together.
"""

import argparse
import importlib.util
import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def config_of(path: str):
    name, _, variant = path.partition(":")
    spec = importlib.util.spec_from_file_location("experiment", ROOT / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant)


def milliseconds(config, num_runs: int, num_steps: int, rounds: int) -> tuple[list[float], list[float]]:
    """(alone, together): a step of one run, in every round."""
    import jax
    import jax.numpy as jnp

    from vaelab.config.experiment import build
    from vaelab.data.observe import batch_indices
    from vaelab.training.loop import train_chunk
    from vaelab.training.step import init_state

    experiment = build(config)
    stage, split = experiment.stages[0], experiment.train_split
    data = jnp.asarray(split.pixels_NxD), jnp.asarray(split.index_N)
    rows = np.stack(
        [
            batch_indices(
                seed, 0, num_steps, batch_size=experiment.train.batch_size, num_points=len(split.index_N)
            )
            for seed in range(num_runs)
        ]
    )
    keys = jax.random.split(jax.random.key(0), num_runs)

    def states():
        each = [init_state(stage.system, key, experiment.theta) for key in keys]
        # A copy: a step takes the buffers that it is given, the initialisers' constants among them.
        return jax.tree.map(jnp.copy, each[0]), jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

    def timed(state, rows, keys, *, several: bool) -> float:
        jax.block_until_ready((state, data, keys))
        began = time.perf_counter()
        jax.block_until_ready(
            train_chunk(state, rows, *data, keys, {}, system_of=stage.recipe, several=several)
        )
        return 1e3 * (time.perf_counter() - began) / num_steps

    alone, together = [], []
    for _ in range(1 + rounds):  # the first compiles
        state, stacked = states()
        alone.append(timed(state, rows[0], keys[0], several=False))
        together.append(timed(stacked, rows, keys, several=True) / num_runs)
    return alone[1:], together[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="experiments/digits_gap.py", help="an experiment, with :variant")
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--num_steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    alone, together = milliseconds(
        config_of(arguments.config), arguments.runs, arguments.num_steps, arguments.rounds
    )
    ratios = [b / a for a, b in zip(alone, together, strict=True)]
    result = {
        "benchmark": "runs_together",
        "config": arguments.config,
        "cores": os.cpu_count(),
        "runs": arguments.runs,
        "alone_ms": alone,
        "together_ms": together,
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
