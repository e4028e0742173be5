#!/usr/bin/env bash
# safetensors: `safetensors.numpy` writes a transposed array with its values in another order
#
# Expected: what `load` returns equals what `save` was given, as it did in 0.7.0, or an error as `safetensors.torch`
#   raises. The arrays are to be "contiguous and dense", which the transpose of a C-ordered array is (in Fortran
#   order).
# Seen: from 0.8.0 on the memory is copied as it lies and labelled with the array's shape: the transpose of W comes
#   back as W's bytes in the transpose's shape. Shape, dtype, sum and norm are right, the entries are in other places,
#   and the file is valid for every reader. Transposed weights are what one writes when a PyTorch layer becomes a Flax
#   kernel, or where a library returns Fortran order, as decompositions do. The decoder below reconstructs worse than
#   a constant zero (squared error 1.9 of the data's). `safetensors.flax.save` does the same with NumPy arrays; with
#   JAX arrays it is right. Open issue 825 of the project.
# Versions: safetensors 0.8.0 wrong, 0.7.0 right; numpy 2.4.6.
# Instead: `np.ascontiguousarray` on every array before `save` and `save_file`.
# Output:
#   safetensors 0.8.0 numpy 2.4.6: equal False, norm 11.7662 of 11.7662, squared error of the reconstruction 1.894 of the data's
#   safetensors 0.7.0 numpy 2.4.6: equal True, norm 11.7662 of 11.7662, squared error of the reconstruction 0.000 of the data's
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet safetensors==0.8.0 numpy==2.4.6
cat > "$work/round_trip.py" <<'PY'
import sys

import numpy as np
import safetensors
from safetensors.numpy import load, load_file, save, save_file

path, should_be_right = sys.argv[1], sys.argv[2] == "right"
rng = np.random.default_rng(0)
scaled_axes = rng.normal(size=(3, 50)).astype(np.float32)
decoder = scaled_axes.T
codes = rng.normal(size=(100, 3)).astype(np.float32)
data = codes @ decoder.T

save_file({"decoder": decoder, "copy": np.ascontiguousarray(decoder)}, path)
read = load_file(path)
same = np.array_equal(read["decoder"], decoder)
error = float(np.mean((codes @ read["decoder"].T - data) ** 2) / np.mean(data**2))
norms = float(np.linalg.norm(read["decoder"])), float(np.linalg.norm(decoder))
print(
    f"safetensors {safetensors.__version__} numpy {np.__version__}: equal {same}, norm {norms[0]:.4f} of {norms[1]:.4f},"
    f" squared error of the reconstruction {error:.3f} of the data's"
)
wrong = []
if same != should_be_right or np.array_equal(load(save({"w": decoder}))["w"], decoder) != should_be_right:
    wrong.append("the transposed array came back " + ("as it was" if same else "in another order"))
if not same and error < 0.5:
    wrong.append(f"the reconstruction error is {error:.3f}")
if not np.array_equal(read["copy"], decoder):
    wrong.append("the contiguous copy came back in another order")
sys.exit("changed: " + "; ".join(wrong) if wrong else 0)
PY
"$work/venv/bin/python" "$work/round_trip.py" "$work/new.safetensors" wrong
"$work/venv/bin/pip" install --quiet safetensors==0.7.0
"$work/venv/bin/python" "$work/round_trip.py" "$work/old.safetensors" right
