#!/usr/bin/env bash
# Flax: `flax.serialization` writes a big-endian array's bytes and reads them as little-endian
#
# Expected: `msgpack_restore(msgpack_serialize(tree))` and `from_bytes(tree, to_bytes(tree))` return the values that
#   were given, or raise. Big-endian arrays are ordinary NumPy arrays, equal to and mixed with native ones everywhere;
#   NumPy makes them when it reads FITS images, IDX files with values wider than a byte, or netCDF 3.
# Seen: the dtype is written as its name without the byte order ("float32"), the bytes as they lie. Standardisation
#   constants, prior means or pixel averages taken from such data come back as other finite numbers (1.0 as 4.6e-41),
#   without an error. `numpy.save` keeps the values, as Orbax 0.12.8 does.
# Versions: flax 0.12.8 with jax 0.10.2 and numpy 2.4.6.
# Instead: `jax.numpy.asarray` refuses big-endian arrays, so convert first: `x.astype(x.dtype.newbyteorder("="))`.
# Output:
#   flax 0.12.8 jax 0.10.2 numpy 2.4.6
#   mean (>f4): [1.0, 0.1307000070810318, 255.0] -> [4.600602988224807e-41, 0.00040821166476234794, 4.5652902669238215e-41]
#   counts (>i4): [1, 60000] -> [16777216, 1625948160]
#   native (<f4): [1.0, 0.1307000070810318, 255.0] -> [1.0, 0.1307000070810318, 255.0]
#   numpy.save: [1.0, 0.1307000070810318, 255.0]
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet flax==0.12.8 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 scipy==1.17.1

JAX_PLATFORMS=cpu "$work/venv/bin/python" -W ignore - <<'PY'
import io
import sys

import flax
import jax
import numpy as np
from flax import serialization

print("flax", flax.__version__, "jax", jax.__version__, "numpy", np.__version__)
values = np.array([1.0, 0.1307, 255.0], ">f4")
counts = np.array([1, 60000], ">i4")
tree = {"mean": values, "counts": counts, "native": values.astype(np.float32)}
read = serialization.from_bytes(tree, serialization.to_bytes(tree))
again = serialization.msgpack_restore(serialization.msgpack_serialize(tree))
for name, array in tree.items():
    print(f"{name} ({array.dtype.str}): {array.tolist()} -> {read[name].tolist()}")

file = io.BytesIO()
np.save(file, values)
file.seek(0)
print("numpy.save:", np.load(file).tolist())

wrong = []
if not np.array_equal(read["native"], values):
    wrong.append("the native array came back otherwise")
for name in ("mean", "counts"):
    swapped = tree[name].byteswap()
    if not (np.array_equal(read[name], swapped) and np.array_equal(again[name], swapped)):
        wrong.append(f"{name} came back as {read[name].tolist()}, not with its bytes swapped")
sys.exit("changed: " + "; ".join(wrong) if wrong else 0)
PY
