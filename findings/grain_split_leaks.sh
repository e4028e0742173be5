#!/usr/bin/env bash
# Grain: a shuffled dataset cut into training and test data draws its training data from the whole, the test data included
#
# Expected: `shuffled[:80]` and `shuffled[80:]` are disjoint, as their lists are. `repeat` "effectively only changes
#   the length": the documentation promises another order in each epoch, not other members: training sees its 80
#   elements and no more.
# Seen: the epoch number is handed through the slice to the shuffle, which reshuffles all 100 elements, so that the
#   first 80 of each epoch are others. After ten epochs training has seen every element of the test part, and the
#   repeated test part goes through 91 of the 100. One pass over each part shows nothing, nor do the lengths.
#   Shuffling once more after the cut, each part by itself, does not help. Held-out ELBOs, early stopping and any gap
#   between training and test points are then of points that were trained on. Open issue 1200 of the project.
# Versions: grain 0.2.18 with numpy 2.4.6.
# Instead: cut first and shuffle afterwards: `dataset[:80].shuffle(seed).repeat()`; for a random cut, permute the
#   indices with NumPy. `repeat(n, reseed_each_epoch=False)` is safe too, with one order for all epochs.
# Output:
#   grain 0.2.18 numpy 2.4.6
#   shuffle, cut: training saw 0 of 20 held-out elements
#   shuffle, cut, repeat training: training saw 20 of 20 held-out elements
#   shuffle, cut, shuffle again, repeat: training saw 20 of 20 held-out elements
#   shuffle, cut, repeat both: training saw 91 of 91 held-out elements
#   shuffle, cut, repeat without reseeding: training saw 0 of 20 held-out elements
#   cut, shuffle, repeat: training saw 0 of 20 held-out elements
#   permute by NumPy, cut, shuffle, repeat: training saw 0 of 20 held-out elements
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet grain==0.2.18 numpy==2.4.6

"$work/venv/bin/python" -W ignore - <<'PY'
import importlib.metadata
import sys

import grain
import numpy as np

print("grain", importlib.metadata.version("grain"), "numpy", np.__version__)
EPOCHS = 10
whole = grain.MapDataset.range(100)
shuffled = whole.seed(0).shuffle()
permuted = np.random.default_rng(0).permutation(100)


def leaked(train, test):
    held_out = set(int(x) for x in test)
    return len(set(int(x) for x in train) & held_out), len(held_out)


cases = {
    "shuffle, cut": (shuffled[:80], shuffled[80:]),
    "shuffle, cut, repeat training": (shuffled[:80].repeat(EPOCHS), shuffled[80:]),
    "shuffle, cut, shuffle again, repeat": (shuffled[:80].shuffle(1).repeat(EPOCHS), shuffled[80:]),
    "shuffle, cut, repeat both": (shuffled[:80].repeat(EPOCHS), shuffled[80:].repeat(EPOCHS)),
    "shuffle, cut, repeat without reseeding": (
        shuffled[:80].repeat(EPOCHS, reseed_each_epoch=False),
        shuffled[80:],
    ),
    "cut, shuffle, repeat": (whole[:80].shuffle(0).repeat(EPOCHS), whole[80:]),
    "permute by NumPy, cut, shuffle, repeat": (
        grain.MapDataset.source(permuted[:80]).shuffle(0).repeat(EPOCHS),
        permuted[80:],
    ),
}
results = {name: leaked(*parts) for name, parts in cases.items()}
for name, (seen, held_out) in results.items():
    print(f"{name}: training saw {seen} of {held_out} held-out elements")

expected = [(0, 20), (20, 20), (20, 20), (91, 91), (0, 20), (0, 20), (0, 20)]
if list(results.values()) != expected:
    sys.exit(f"changed: {list(results.values())}, where it was {expected}")
PY
