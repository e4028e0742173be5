"""The fits of several runs as one program, each stored where `measure` of its run finds it.

On an accelerator a small test set leaves the device idle, and everywhere the few datapoints that need further
rounds do not fill a chunk: those of all runs do.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from vaelab.local_fit import fit_locally
from vaelab.measure import FIT, Subject, block_paths
from vaelab.parallel import take
from vaelab.processes import of_first
from vaelab.progress import progress_bar
from vaelab.rundir import stored
from vaelab.splits import Measured


def fit_together(
    subjects: Sequence[Subject],
    split: str,
    points: Sequence[Measured],
    directories: Sequence[Path],
    console: Console,
) -> None:
    """Fits every family to the datapoints of runs that differ in their seeds and in numbers alone.

    Those blocks of datapoints that one run at most lacks are left to its own `measure`. Raises ConfigError
    where a single datapoint of all runs takes more than the memory.
    """
    settings, count = subjects[0].settings, len(points[0].inputs.index_N)
    for name in settings.families:
        stage = f"inference {split} {name}"
        found = [
            block_paths(directory / "stages", stage, count=count, size=settings.points_per_save)
            for directory in directories
        ]
        blocks, paths = found[0][0], [run_paths for _, run_paths in found]
        lacking = of_first(
            lambda paths=paths: [
                [not path.exists() for path in of_block] for of_block in zip(*paths, strict=True)
            ]
        )
        left = [(number, np.flatnonzero(lacks)) for number, lacks in enumerate(lacking) if sum(lacks) > 1]
        if not left:
            continue
        sizes = [(blocks[number].stop - blocks[number].start) * len(runs) for number, runs in left]
        title, total = f"{stage}, {len(subjects)} runs", sum(sizes) * len(settings.starts)
        with progress_bar(console, title, total, "fits") as advance:
            for number, runs in left:
                began = time.perf_counter()
                inputs = [take(points[run].inputs, blocks[number]) for run in runs]
                starts = [subjects[run].start(name, x) for run, x in zip(runs, inputs, strict=True)]
                fitted = fit_locally(
                    subjects[0].model,
                    subjects[0].families[name],
                    settings.inference[name],
                    jax.tree.map(lambda *a: jnp.stack(a), *(subjects[run].theta for run in runs)),
                    jax.tree.map(lambda *a: np.stack(a), *inputs),
                    np.stack(starts),
                    jnp.stack([subjects[run].keys.inference for run in runs]),
                    starts=settings.starts,
                    chunk_size=settings.memory,
                    progress=advance,
                    tolerance_R=np.array([subjects[run].settings.inference[name].tolerance for run in runs]),
                )
                seconds = np.float64((time.perf_counter() - began) / len(runs))
                for at, run in enumerate(runs):
                    own = take(fitted, at), seconds
                    stored(paths[run][number], FIT, lambda own=own: own, console)
