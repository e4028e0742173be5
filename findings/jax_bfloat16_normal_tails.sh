#!/usr/bin/env bash
# JAX: `jax.random.normal` in bfloat16 has no tails and a mean that is not zero
#
# Expected: standard normal values rounded to bfloat16, which has float32's range: of four million draws 14,900 lie
#   beyond 2.9, the largest near 5.1. In reparametrised sampling with mixed precision, `normal(key, mean.shape,
#   mean.dtype)`, this is the noise of the posterior sample.
# Seen: a draw is the inverse error function of a uniform number that has the 7 random bits of a bfloat16's mantissa.
#   All draws take one of 128 values between -2.9 and 2.52, none lies beyond, and the values are not symmetric (the
#   two next to zero are -0.0146 and 0.0049): the mean is -0.011, which is 22 standard errors here and stays at any
#   number of draws, under jit too. Tail probabilities, sums of many draws and importance weights are biased.
#   (float16, with 10 bits, ends at -3.49 and 3.18.) Other samplers share the uniform number: `rayleigh` in bfloat16
#   is infinite in 0.8% of draws.
# Versions: jax 0.10.2 on a CPU with numpy 2.4.6.
# Instead: draw in float32 and cast: `jax.random.normal(key, shape).astype(jnp.bfloat16)`.
# Output:
#   jax 0.10.2 numpy 2.4.6
#   expected beyond 2.9: 14927 of 4000000
#   normal(..., bfloat16): 128 values in [-2.891, 2.516], 0 beyond 2.9, mean -0.0111 +- 0.0005, smallest size 0.0049
#   the same under jit: 128 values in [-2.891, 2.516], 0 beyond 2.9, mean -0.0111 +- 0.0005, smallest size 0.0049
#   normal(..., float32) cast to bfloat16: 4110 values in [-4.844, 5.219], 15003 beyond 2.9, mean 0.0001 +- 0.0005, smallest size 6.7e-07
#   rayleigh(..., bfloat16) is infinite in 0.78%
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 scipy==1.17.1

JAX_PLATFORMS=cpu "$work/venv/bin/python" - <<'PY'
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np

NUM = 4_000_000
key = jax.random.key(0)
beyond = math.erfc(2.9 / math.sqrt(2))
print("jax", jax.__version__, "numpy", np.__version__)
print(f"expected beyond 2.9: {NUM * beyond:.0f} of {NUM}")


def report(name, draws):
    x = np.float64(draws.astype(jnp.float32))
    outside = int(np.sum(np.abs(x) > 2.9))
    print(
        f"{name}: {len(np.unique(x))} values in [{x.min():.3f}, {x.max():.3f}], {outside} beyond 2.9,"
        f" mean {x.mean():.4f} +- {x.std() / NUM**0.5:.4f}, smallest size {np.abs(x).min():.2g}"
    )
    return x, outside


def draw(key):
    return jax.random.normal(key, (NUM,), jnp.bfloat16)


direct, none = report("normal(..., bfloat16)", draw(key))
compiled, none_compiled = report("the same under jit", jax.jit(draw)(key))
_, cast = report("normal(..., float32) cast to bfloat16", jax.random.normal(key, (NUM,)).astype(jnp.bfloat16))
infinite = float(jnp.isinf(jax.random.rayleigh(key, 1.0, (NUM,), jnp.bfloat16)).mean())
print(f"rayleigh(..., bfloat16) is infinite in {infinite:.2%}")

wrong = []
if none + none_compiled > 0 or max(len(np.unique(x)) for x in (direct, compiled)) > 256:
    wrong.append("draws in bfloat16 reach further or take more values")
if direct.mean() > -0.006:
    wrong.append(f"the mean in bfloat16 is {direct.mean():.4f}")
# rounding to bfloat16, in steps of 1/64 there, moves the border by at most 1/128, and the number beyond by 2.5%
if abs(cast / (NUM * beyond) - 1) > 0.06:
    wrong.append(f"{cast} draws of the cast ones lie beyond 2.9")
if not 0.005 < infinite < 0.01:
    wrong.append(f"rayleigh is infinite in {infinite:.2%}")
sys.exit("changed: " + "; ".join(wrong) if wrong else 0)
PY
