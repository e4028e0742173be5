"""How often is a look of a few dozen evaluations wrong about a datapoint with several modes?

    python benchmarks/look.py

Outside of a pilot with one mode at each of its datapoints a datapoint is searched only where a look shows
something. Here the pilot is one datapoint of one mode, and the others are the mixtures of
`benchmarks/posteriors/`, most of which have several modes: far more than in data whose pilot shows none.
Prints a line for each group, and one JSON line.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import jax
import numpy as np

import vaelab
from benchmarks.posteriors import GROUPS
from vaelab.config import defaults
from vaelab.runtime.memory import release_programs

NAMES = (
    "mixture-k1",
    "mixture-k2",
    "mixture-k2-no-encoder",
    "mixture-k10",
    "mixture-k10-no-encoder",
    "mixture-k50",
)


def looked(name: str) -> dict[str, int | str]:
    """The counts of a group: datapoints with several modes, of these not searched; with one, and searched."""
    group = GROUPS[name]()
    single = int(np.flatnonzero(group.num_modes_N == 1)[0])
    rest = np.setdiff1d(np.arange(len(group.num_modes_N)), single)
    group = group.at(np.concatenate([[single], rest]))
    report = vaelab.audit(
        None,
        group.encode,
        group.x,
        latent_dim=group.latent_dim,
        key=jax.random.key(7),
        log_joint=group.density,
        families=("diagonal",),
        evidence="importance",
        quiet=True,
        settings={"inference.modes.pilot_points": 1},
    )
    searched_N = np.asarray(report.per_datapoint["given/searched"], bool)[1:]
    several_N, one_N = group.num_modes_N[1:] > 1, group.num_modes_N[1:] == 1
    return {
        "group": name,
        "several": int(np.sum(several_N)),
        "overlooked": int(np.sum(several_N & ~searched_N)),
        "one": int(np.sum(one_N)),
        "searched_for_nothing": int(np.sum(one_N & searched_N)),
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    modes = defaults.modes()
    print(f"looks of {modes.look_starts} ascents of {modes.look_steps} steps", file=sys.stderr)
    lines = []
    for name in NAMES:
        lines.append(looked(name))
        print(
            f"{name:<24} several modes {lines[-1]['several']:>3}, overlooked {lines[-1]['overlooked']:>3}; "
            f"one mode {lines[-1]['one']:>3}, searched {lines[-1]['searched_for_nothing']:>3}",
            file=sys.stderr,
            flush=True,
        )
        release_programs()
    print(json.dumps({"benchmark": "look", "groups": lines}))


if __name__ == "__main__":
    main()
