#!/usr/bin/env bash
# TensorFlow Probability: the variance of `GammaGamma` leaves out the variance of the Gamma itself
#
# Expected: X | rate ~ Gamma(a, rate) with rate ~ Gamma(b, c), as its docstring says. By the law of total variance Var
#   X = E[a / rate^2] + Var(a / rate) = a c^2 (a + b - 1) / ((b - 1)^2 (b - 2)): for a, b, c = 5, 4, 3 it is 20.
# Seen: `variance` is a^2 c^2 / ((b - 1)^2 (b - 2)) = 12.5, the second term alone: that of the conditional mean (its
#   docstring has the same formula). `stddev` follows. The smaller a, the worse: for 0.5, 9, 3 it is a seventeenth.
#   Mean, log_prob and sample are right, its draws and its density show 20. Whoever standardises rates or checks a
#   posterior predictive with it has intervals that are too narrow.
# Versions: tfp-nightly 0.26.0.dev20261027 (jax substrate) with jax 0.10.2.
# Instead: the formula above, or times (a + b - 1) / a.
# Output:
#   tensorflow_probability 0.26.0-dev20261027 jax 0.10.2
#   a, b, c = 5.0, 4.0, 3.0: variance() 12.5000, exact 20.0000, of the density 20.0000
#   a, b, c = 5.0, 9.0, 3.0: variance() 0.5022, exact 1.3058, of the density 1.3058, of the draws 1.3059 +- 0.0066
#   a, b, c = 0.5, 9.0, 3.0: variance() 0.0050, exact 0.0854, of the density 0.0854, of the draws 0.0845 +- 0.0007
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet tfp-nightly==0.26.0.dev20261027 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 scipy==1.17.1

JAX_PLATFORMS=cpu "$work/venv/bin/python" -W ignore - <<'PY'
import sys

import jax
import numpy as np
import tensorflow_probability.substrates.jax as tfp

print("tensorflow_probability", tfp.__version__, "jax", jax.__version__)
wrong = []
# mixing concentrations above 4, so that the fourth moment and with it the standard error of a variance exist
for a, b, c in ((5.0, 4.0, 3.0), (5.0, 9.0, 3.0), (0.5, 9.0, 3.0)):
    x = tfp.distributions.GammaGamma(a, b, c)
    exact = a * c**2 * (a + b - 1) / ((b - 1) ** 2 * (b - 2))
    stated = float(x.variance())
    # the second moment of the density, by the midpoint rule in log x
    edges = np.linspace(-25.0, 25.0, 200_001)
    u = (edges[1:] + edges[:-1]) / 2
    mass = np.exp(np.float64(x.log_prob(np.float32(np.exp(u)))) + u) * (edges[1] - edges[0])
    mean = np.sum(mass * np.exp(u))
    integrated = np.sum(mass * (np.exp(u) - mean) ** 2)
    line = f"a, b, c = {a}, {b}, {c}: variance() {stated:.4f}, exact {exact:.4f}, of the density {integrated:.4f}"
    if b > 4:
        draws = np.float64(x.sample(400_000, seed=jax.random.key(0)))
        squares = (draws - draws.mean()) ** 2
        stderr = squares.std() / len(squares) ** 0.5
        line += f", of the draws {squares.mean():.4f} +- {stderr:.4f}"
        if abs(squares.mean() - exact) > 6 * stderr:
            wrong.append(f"the draws' variance is {squares.mean():.4f}")
    print(line)
    if abs(integrated / exact - 1) > 0.01:
        wrong.append(f"the density's variance is {integrated:.4f}")
    if abs(stated * (a + b - 1) / a / exact - 1) > 1e-4:
        wrong.append(f"variance() is {stated:.4f} where it was {exact * a / (a + b - 1):.4f}")
sys.exit("changed: " + "; ".join(wrong) if wrong else 0)
PY
