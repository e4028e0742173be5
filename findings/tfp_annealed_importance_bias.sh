#!/usr/bin/env bash
# TensorFlow Probability: annealed importance sampling is biased, up to tens of standard errors, and in both directions
#
# Expected: `sample_annealed_importance_chain` "gives an unbiased estimate of the ratio of the normalizing constants",
#   E[exp(ais_weights)] = Z, with any number of steps and any kernel that leaves its tempered target invariant; so
#   that by Jensen the mean of the log weights, and on average the log of their mean, lie below log Z. That is why AIS
#   is used for log p(x) of decoder models.
# Seen: each step makes a kernel for the next temperature, but hands it the previous step's results, with the
#   log-density (and HMC's gradient) of the current state at the previous temperature. The Metropolis test compares
#   log-densities of two temperatures, and the transition is invariant for neither. For z ~ N(0, 1), x | z ~ N(z,
#   s^2), with 200,000 chains: random-walk Metropolis with ten steps is 0.017 nats ABOVE log p(x), 19 standard errors;
#   HMC with ten steps 0.30 nats below at s = 0.5, 85 standard errors, and with 100 steps still 0.05. More steps
#   shrink the error, but the standard error faster, so that the estimate looks converged while it is not. Users have
#   reported wrong values (issues 267 and 1429 of the project).
# Versions: tfp-nightly 0.26.0.dev20261027 (jax substrate) with jax 0.10.2.
# Instead: a kernel that forgets what it is handed, as `Fresh` below, which is right to within its standard error.
# Output:
#   tensorflow_probability 0.26.0-dev20261027 jax 0.10.2
#   x = 1.0, s = 1.0, random walk, 10 steps: -1.4981 +- 0.0009, log p(x) -1.5155, off by +18.7 standard errors
#   x = 1.0, s = 1.0, random walk, fresh, 10 steps: -1.5152 +- 0.0010, log p(x) -1.5155, off by +0.3 standard errors
#   x = 1.0, s = 1.0, HMC, 10 steps: -1.5539 +- 0.0009, log p(x) -1.5155, off by -43.3 standard errors
#   x = 1.0, s = 1.0, HMC, fresh, 10 steps: -1.5152 +- 0.0007, log p(x) -1.5155, off by +0.5 standard errors
#   x = 2.0, s = 0.5, HMC, 10 steps: -2.9313 +- 0.0035, log p(x) -2.6305, off by -85.4 standard errors
#   x = 2.0, s = 0.5, HMC, fresh, 10 steps: -2.6303 +- 0.0026, log p(x) -2.6305, off by +0.1 standard errors
#   x = 2.0, s = 0.5, HMC, 100 steps: -2.6837 +- 0.0011, log p(x) -2.6305, off by -48.0 standard errors
#   x = 2.0, s = 0.5, HMC, fresh, 100 steps: -2.6296 +- 0.0010, log p(x) -2.6305, off by +0.9 standard errors
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

tfd, mcmc = tfp.distributions, tfp.mcmc
print("tensorflow_probability", tfp.__version__, "jax", jax.__version__)
NUM_CHAINS = 200_000
prior = tfd.Normal(0.0, 1.0)


class Fresh(mcmc.TransitionKernel):
    """A kernel that evaluates its target at the current state anew in each step."""

    def __init__(self, inner):
        self.inner = inner

    is_calibrated = True

    def bootstrap_results(self, state):
        return self.inner.bootstrap_results(state)

    def one_step(self, state, previous_results, seed=None):
        return self.inner.one_step(state, self.inner.bootstrap_results(state), seed=seed)


def hmc(log_density):
    return mcmc.HamiltonianMonteCarlo(log_density, step_size=0.3, num_leapfrog_steps=3)


def estimate(x, s, kernel, num_steps):
    """log of the mean weight, its standard error, and log p(x) = log N(x; 0, 1 + s^2)."""

    def log_joint(z):
        return prior.log_prob(z) + tfd.Normal(z, s).log_prob(x)

    @jax.jit
    def chains(key):
        start, steps = jax.random.split(key)
        return mcmc.sample_annealed_importance_chain(
            num_steps=num_steps,
            proposal_log_prob_fn=prior.log_prob,
            target_log_prob_fn=log_joint,
            current_state=prior.sample(NUM_CHAINS, seed=start),
            make_kernel_fn=kernel,
            seed=steps,
        )[1]

    log_weights = np.float64(chains(jax.random.key(0)))
    weights = np.exp(log_weights - log_weights.max())
    stderr = weights.std() / weights.mean() / NUM_CHAINS**0.5
    return np.log(weights.mean()) + log_weights.max(), stderr, float(tfd.Normal(0.0, (1 + s * s) ** 0.5).log_prob(x))


KERNELS = {
    "random walk": mcmc.RandomWalkMetropolis,
    "random walk, fresh": lambda log_density: Fresh(mcmc.RandomWalkMetropolis(log_density)),
    "HMC": hmc,
    "HMC, fresh": lambda log_density: Fresh(hmc(log_density)),
}
wrong = []
for x, s, name, num_steps in (
    (1.0, 1.0, "random walk", 10),
    (1.0, 1.0, "random walk, fresh", 10),
    (1.0, 1.0, "HMC", 10),
    (1.0, 1.0, "HMC, fresh", 10),
    (2.0, 0.5, "HMC", 10),
    (2.0, 0.5, "HMC, fresh", 10),
    (2.0, 0.5, "HMC", 100),
    (2.0, 0.5, "HMC, fresh", 100),
):
    value, stderr, exact = estimate(x, s, KERNELS[name], num_steps)
    off = (value - exact) / stderr
    print(f"x = {x}, s = {s}, {name}, {num_steps} steps: {value:.4f} +- {stderr:.4f}, log p(x) {exact:.4f}, off by {off:+.1f} standard errors")
    right = name.endswith("fresh")
    if (right and abs(off) > 5) or (not right and (off < 10 if name == "random walk" else off > -20)):
        wrong.append(f"{name} with {num_steps} steps is off by {off:+.1f} standard errors")
sys.exit("changed: " + "; ".join(wrong) if wrong else 0)
PY
