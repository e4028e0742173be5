#!/usr/bin/env bash
# TensorFlow Probability: a variational posterior on the simplex made with its default bijector has an ELBO above log p(x)
#
# Expected: `TransformedDistribution.log_prob` and `Dirichlet.log_prob` are densities over one set, the simplex of K
#   probabilities, and with respect to one measure, so that their difference is a log weight and its mean an ELBO,
#   which is at most log p(x). `Dirichlet.experimental_default_event_space_bijector()` is `SoftmaxCentered`, hence the
#   natural choice.
# Seen: `Dirichlet` is a density over K - 1 coordinates (over p_1 it integrates to one; so is
#   `IteratedSigmoidCentered`, the other bijector to the simplex), `SoftmaxCentered` takes the area of the simplex in
#   R^K, larger by sqrt(K): its log-determinant has (log K) / 2 more. For K = 2 the density of a logistic-normal over
#   p_1 integrates to 0.7071. A Gaussian q fitted to 10 counts has an ELBO 1.0 nats above the exact log p(x), and
#   importance sampling is 1.15 = (log 10) / 2 above. KL divergences against a Dirichlet are too small by as much (at
#   K = 1000 by 3.45 nats), and can be negative. HMC and gradients are unaffected: it is a constant.
# Versions: tfp-nightly 0.26.0.dev20261027 (jax substrate) with jax 0.10.2.
# Instead: subtract (log K) / 2 from such log-determinants (add it to log q), or use `IteratedSigmoidCentered`.
# Output:
#   tensorflow_probability 0.26.0-dev20261027 jax 0.10.2
#   integral over p_1, K = 2: SoftmaxCentered 0.7071, IteratedSigmoidCentered 1.0000
#   SoftmaxCentered is the default of Dirichlet; exact log p(x) -121.721
#   ELBO -120.681 +- 0.001, above the exact by 1.040
#   importance sampling -120.572 +- 0.002, above the exact by 1.149; (log K) / 2 = 1.151
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet tfp-nightly==0.26.0.dev20261027 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 scipy==1.17.1

JAX_PLATFORMS=cpu "$work/venv/bin/python" -W ignore - <<'PY'
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import tensorflow_probability.substrates.jax as tfp
from jax.scipy.special import gammaln

tfd, tfb = tfp.distributions, tfp.bijectors
print("tensorflow_probability", tfp.__version__, "jax", jax.__version__)


def over_first(bijector):
    """The integral over p_1 of a logistic-normal density on the simplex of two."""
    q = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(jnp.zeros(1), jnp.ones(1)), bijector)
    edges = np.linspace(0.0, 1.0, 20_001)
    first = (edges[1:] + edges[:-1]) / 2
    return float(np.mean(np.exp(q.log_prob(np.float32(np.stack([first, 1 - first], 1))))))


softmax, sticks = over_first(tfb.SoftmaxCentered()), over_first(tfb.IteratedSigmoidCentered())
print(f"integral over p_1, K = 2: SoftmaxCentered {softmax:.4f}, IteratedSigmoidCentered {sticks:.4f}")

counts = jnp.array([6.0, 4, 3, 5, 8, 3, 4, 7, 5, 5])
K = len(counts)
prior = tfd.Dirichlet(jnp.ones(K))
bijector = prior.experimental_default_event_space_bijector()


def log_beta(a):
    return float(gammaln(a).sum() - gammaln(a.sum()))


exact = log_beta(1 + counts) - log_beta(jnp.ones(K))


def q_of(phi):
    scale = jnp.tril(phi[1], -1) + jnp.diag(jnp.exp(jnp.diag(phi[1])))
    return tfd.TransformedDistribution(tfd.MultivariateNormalTriL(phi[0], scale), bijector)


def log_weights(phi, key, num):
    p, q = (q := q_of(phi)).sample(num, seed=key), q
    return prior.log_prob(p) + jnp.sum(counts * jnp.log(p), -1) - q.log_prob(p)


def step(phi, at):
    key, rate = at
    grads = jax.grad(lambda phi: log_weights(phi, key, 64).mean())(phi)
    return jax.tree.map(lambda value, grad: value + rate * grad, phi, grads), None


keys = jax.random.split(jax.random.key(0), 3000)
rates = 0.03 * jnp.cos(jnp.linspace(0, math.pi / 2, 3000))
phi, _ = jax.lax.scan(step, (jnp.zeros(K - 1), -0.5 * jnp.eye(K - 1)), (keys, rates))
weights = np.float64(log_weights(phi, jax.random.key(1), 200_000))
elbo, stderr = weights.mean(), weights.std() / len(weights) ** 0.5
shifted = np.exp(weights - weights.max())
sampled = math.log(shifted.mean()) + weights.max()
sampled_stderr = shifted.std() / shifted.mean() / len(weights) ** 0.5
print(f"{type(bijector).__name__} is the default of Dirichlet; exact log p(x) {exact:.3f}")
print(f"ELBO {elbo:.3f} +- {stderr:.3f}, above the exact by {elbo - exact:.3f}")
print(f"importance sampling {sampled:.3f} +- {sampled_stderr:.3f}, above the exact by {sampled - exact:.3f}; (log K) / 2 = {math.log(K) / 2:.3f}")

if abs(softmax - math.sqrt(0.5)) > 1e-3 or abs(sticks - 1) > 1e-3:
    sys.exit(f"changed: the integrals over p_1 are {softmax:.4f} and {sticks:.4f}")
if not elbo - exact > 0.8 or abs(sampled - exact - math.log(K) / 2) > 5 * sampled_stderr + 0.01:
    sys.exit(f"changed: ELBO {elbo:.3f} and importance sampling {sampled:.3f} beside {exact:.3f}")
PY
