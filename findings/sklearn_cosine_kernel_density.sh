#!/usr/bin/env bash
# scikit-learn: the cosine kernel's density is no density in an even number of dimensions
#
# Expected: `KernelDensity.score_samples` is documented to return the log-likelihood of each sample under the model,
#   and its values to be normalised as probability densities; exp of it must integrate to one for each of the six
#   kernels, in any dimension. A kernel at a single point is radial, so the integral is one-dimensional: S_{d-1} times
#   the integral of r^{d-1} K(r) from 0 to the bandwidth, exact to six digits on a grid.
# Seen: five kernels integrate to one in 1 to 6 dimensions. The cosine kernel does in 1, 3 and 5 only: in two
#   dimensions, where a latent space is drawn, its density integrates to 0.363 (every log density 1.012 nats too low),
#   in four the log density is NaN, in six the integral is 0.0045. No warning. Data and bandwidth do not matter.
# Versions: scikit-learn 1.9.1 with numpy 2.4.6 and scipy 1.17.1.
# Instead: another kernel (Epanechnikov is the nearest in shape), or subtract the log of the integral computed below.
# Output:
#   scikit-learn 1.9.1 numpy 2.4.6
#   dimensions              1        2        3        4        5        6
#   gaussian           1.0000   1.0000   1.0000   1.0000   1.0000   1.0000
#   exponential        1.0000   1.0000   1.0000   1.0000   1.0000   1.0000
#   tophat             1.0000   1.0000   1.0000   1.0000   1.0000   1.0000
#   epanechnikov       1.0000   1.0000   1.0000   1.0000   1.0000   1.0000
#   linear             1.0000   1.0000   1.0000   1.0000   1.0000   1.0000
#   cosine             1.0000   0.3634   1.0000      nan   1.0000   0.0045
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1

"$work/venv/bin/python" - <<'PY'
import math
import sys

import numpy as np
import sklearn
from sklearn.neighbors import KernelDensity

BANDWIDTH = 0.7
# the radius, in bandwidths, beyond which the kernel is zero or far below the sixth digit
REACH = {"gaussian": 10, "exponential": 60, "tophat": 1, "epanechnikov": 1, "linear": 1, "cosine": 1}


def integral(kernel, dim):
    density = KernelDensity(kernel=kernel, bandwidth=BANDWIDTH).fit(np.zeros((1, dim)))
    edges = np.linspace(0.0, REACH[kernel] * BANDWIDTH, 200_001)
    radius = (edges[1:] + edges[:-1]) / 2
    points = np.zeros((len(radius), dim))
    points[:, 0] = radius
    sphere = 2 * math.pi ** (dim / 2) / math.gamma(dim / 2)
    return float(np.sum(np.exp(density.score_samples(points)) * sphere * radius ** (dim - 1)) * (edges[1] - edges[0]))


print("scikit-learn", sklearn.__version__, "numpy", np.__version__)
print("dimensions      ", *(f"{dim:8d}" for dim in range(1, 7)))
table = {}
for kernel in REACH:
    with np.errstate(invalid="ignore"):
        table[kernel] = [integral(kernel, dim) for dim in range(1, 7)]
    print(f"{kernel:16s}", *(f"{value:8.4f}" for value in table[kernel]))

wrong = []
for kernel, values in table.items():
    for dim, value in enumerate(values, 1):
        if not (kernel == "cosine" and dim % 2 == 0) and abs(value - 1) > 1e-4:
            wrong.append(f"{kernel} in {dim} dimensions integrates to {value}, not to one")
two, four, six = (table["cosine"][dim - 1] for dim in (2, 4, 6))
if abs(two - 0.3634) > 1e-3 or not math.isnan(four) or abs(six - 0.0045) > 1e-4:
    wrong.append(f"the cosine kernel in 2, 4, 6 dimensions integrates to {two}, {four}, {six}")
sys.exit("changed: " + "; ".join(wrong) if wrong else 0)
PY
