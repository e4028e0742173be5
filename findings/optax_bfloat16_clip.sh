#!/usr/bin/env bash
# Optax: with bfloat16 gradients in many arrays `clip_by_global_norm` lets through far more than its limit
#
# Expected: after `clip_by_global_norm(1.0)` the gradients' norm is at most 1, up to bfloat16's rounding, 0.4%. Within
#   one array XLA sums in a wider type, and one array of a million entries does have the right norm.
# Seen: `optax.tree.norm` (and `global_norm`) rounds each array's sum of squares to bfloat16 and adds these one by one
#   in bfloat16, with 8 significant bits: a sum that is 256 times the next term no longer grows. Of 1,000 arrays with
#   equal norms, a deep model's weights and biases, the global norm is 0.57 of the true one, so that the "clipped"
#   gradient has norm 1.77, and a monitor of the gradient norm shows a plateau. At 500 arrays it is 0.80, at 300 still
#   right; it needs no extreme value.
# Versions: optax 0.2.8 with jax 0.10.2.
# Instead: cast the gradients to float32 before the chain, or clip by a norm computed as
#   `optax.tree.norm(jax.tree.map(lambda g: g.astype(jnp.float32), grads))`.
# Output:
#   optax 0.2.8 jax 0.10.2
#      1 arrays, bfloat16: norm 1.001 of the true one, norm after clipping to 1: 0.999
#      1 arrays, float32: norm 1.000 of the true one, norm after clipping to 1: 1.000
#    100 arrays, bfloat16: norm 1.001 of the true one, norm after clipping to 1: 0.999
#    100 arrays, float32: norm 1.000 of the true one, norm after clipping to 1: 1.000
#    300 arrays, bfloat16: norm 1.020 of the true one, norm after clipping to 1: 0.980
#    300 arrays, float32: norm 1.000 of the true one, norm after clipping to 1: 1.000
#    500 arrays, bfloat16: norm 0.801 of the true one, norm after clipping to 1: 1.249
#    500 arrays, float32: norm 1.000 of the true one, norm after clipping to 1: 1.000
#   1000 arrays, bfloat16: norm 0.566 of the true one, norm after clipping to 1: 1.766
#   1000 arrays, float32: norm 1.000 of the true one, norm after clipping to 1: 1.000
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet optax==0.2.8 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 scipy==1.17.1

JAX_PLATFORMS=cpu "$work/venv/bin/python" - <<'PY'
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax


def true_norm(tree):
    return sum(float(np.sum(np.float64(leaf.astype(jnp.float32)) ** 2)) for leaf in jax.tree.leaves(tree)) ** 0.5


print("optax", optax.__version__, "jax", jax.__version__)
clip = optax.clip_by_global_norm(1.0)
results = {}
for count in (1, 100, 300, 500, 1000):
    shape = (1_000_000 // count,)
    noise = jax.random.normal(jax.random.key(0), (count, *shape)) * 0.01
    for dtype in (jnp.bfloat16, jnp.float32):
        grads = [leaf.astype(dtype) for leaf in noise]
        ratio = float(optax.tree.norm(grads)) / true_norm(grads)
        clipped = true_norm(clip.update(grads, clip.init(grads))[0])
        results[count, dtype.__name__] = ratio, clipped
        print(f"{count:4d} arrays, {dtype.__name__}: norm {ratio:.3f} of the true one, norm after clipping to 1: {clipped:.3f}")

wrong = [f"{key}: {value}" for key, value in results.items() if key[1] == "float32" and max(abs(v - 1) for v in value) > 1e-3]
if abs(results[1, "bfloat16"][1] - 1) > 0.02:
    wrong.append(f"one array of bfloat16 has norm {results[1, 'bfloat16'][1]:.3f} after clipping")
if not results[1000, "bfloat16"][1] > 1.5:
    wrong.append(f"1,000 arrays of bfloat16 have norm {results[1000, 'bfloat16'][1]:.3f} after clipping")
sys.exit("changed: " + "; ".join(wrong) if wrong else 0)
PY
