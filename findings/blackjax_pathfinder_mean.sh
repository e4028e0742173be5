#!/usr/bin/env bash
# BlackJAX: Pathfinder's Gaussian lies on the wrong side of its iterate
#
# Expected: at an iterate z of L-BFGS with inverse Hessian H, Pathfinder's mean is the Newton step z + H grad log p(z) (Zhang,
#   Carpenter, Gelman & Vehtari 2022, algorithm 4). For N(0, I) the first H is I, which is exact, so that the first
#   Gaussian is the target itself from any start: mean 0, and an ELBO of log Z = 0.
# Seen: the gradient that is put in is that of -log p, which L-BFGS descends, and the mean is z - H grad log p(z): twice as far
#   from the target as z is. From (3, 3, 3) it is (6, 6, 6), with an ELBO of -53. Where the gradient has come to 0, at the
#   end of the path, no sign shows, and the state of the highest ELBO is there: what `approximate` chooses looks right, and on
#   a Gaussian of ten dimensions is 0.12 nats below the best of the same states with the sign reversed, on others less.
#   `PathfinderInfo.path` is wrong all the way. (What was guessed before: that it stops too early.)
# Versions: blackjax 1.7.1 with jax 0.10.2.
# Instead: take position, alpha, beta and gamma of `PathfinderInfo.path`, and the mean with the sign reversed.
# Output:
#   blackjax 1.7.1 jax 0.10.2
#   N(0, I) from (3, 3, 3): mean of 10,000 samples [6.   5.99 5.99], exact 0; elbo -53.3, exact 0
#   N(0, S) in 10 dimensions, 19 states as they are: highest elbo -1.387 +- 0.009, exact 0
#   N(0, S) in 10 dimensions, 19 states sign reversed: highest elbo -1.264 +- 0.009, exact 0
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet blackjax==1.7.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 scipy==1.17.1

JAX_PLATFORMS=cpu "$work/venv/bin/python" -W ignore - <<'PY'
import importlib.metadata
import sys

import jax
import jax.numpy as jnp
import numpy as np
from blackjax.vi import pathfinder

print("blackjax", importlib.metadata.version("blackjax"), "jax", jax.__version__)
wrong = []


def standard(z):
    return jax.scipy.stats.norm.logpdf(z).sum()


def correlated(z):
    """N(0, S) in ten dimensions, the precision's eigenvalues from 0.1 to 10; log Z = 0."""
    return -0.5 * z @ PRECISION @ z - 5.0 * jnp.log(2.0 * jnp.pi)


random = np.random.default_rng(1)
turn = np.linalg.qr(random.normal(size=(10, 10)))[0]
PRECISION = jnp.float32(turn @ np.diag(np.geomspace(0.1, 10.0, 10)) @ turn.T)


def gaussian(state, sign):
    """Mean z + sign H g, g the gradient of -log p, and covariance H of a state, in float64."""
    z, g, alpha, beta, gamma = (
        np.float64(getattr(state, name)) for name in ("position", "grad_position", "alpha", "beta", "gamma")
    )
    covariance = np.diag(alpha) + beta @ gamma @ beta.T
    return z + sign * covariance @ g, covariance


def elbo(log_density, mean, covariance):
    """(E_q[log p] + H[q], its standard error), from 100,000 samples."""
    root = np.linalg.cholesky(covariance)
    z = mean + np.random.default_rng(0).normal(size=(100_000, mean.size)) @ root.T
    log_p = np.float64(jax.vmap(log_density)(jnp.float32(z)))
    entropy = np.log(np.diag(root)).sum() + 0.5 * mean.size * (1 + np.log(2 * np.pi))
    return log_p.mean() + entropy, log_p.std() / len(log_p) ** 0.5


start = jnp.full(3, 3.0)
_, info = pathfinder.approximate(jax.random.key(0), standard, start)
first = jax.tree.map(lambda path: path[0], info.path)
samples, _ = pathfinder.sample(jax.random.key(1), first, 10_000)
mean = np.float64(samples).mean(0)
print(f"N(0, I) from (3, 3, 3): mean of 10,000 samples {mean.round(2)}, exact 0; elbo {float(first.elbo):.1f}, exact 0")
if np.abs(mean - 6).max() > 0.06:
    wrong.append(f"the first Gaussian's mean is {mean.round(2)}, and was 6")

_, info = pathfinder.approximate(jax.random.key(1), correlated, jnp.float32(5 * random.normal(size=10)))
states = [jax.tree.map(lambda path, i=i: path[i], info.path) for i in np.flatnonzero(np.isfinite(info.path.elbo))]
best = {}
for name, sign in (("as they are", 1), ("sign reversed", -1)):
    best[sign], error = max(elbo(correlated, *gaussian(state, sign)) for state in states)
    print(f"N(0, S) in 10 dimensions, {len(states)} states {name}: highest elbo {best[sign]:.3f} +- {error:.3f}, exact 0")
if not 0.08 < best[-1] - best[1] < 0.17:
    wrong.append(f"reversing the sign gains {best[-1] - best[1]:.3f}, and gained 0.123")
sys.exit("changed: " + "; ".join(wrong) if wrong else 0)
PY
