"""How the cost of local inference grows with each of its sizes:

    python benchmarks/scaling.py

One size at a time is varied about a base (`BASE`), with a random decoder of two hidden layers and 784
Bernoulli outputs, the diagonal family from the prior: the whole of `fit_locally`, one round, certificate
and bounds included, after a first call that compiles. Prints one JSON line: seconds for each value, and the
exponent of each size, the slope of log seconds on log size by least squares over the upper half of its
values.
"""

import functools
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import flax.linen as nn
import jax
import numpy as np
import optax

from vaelab import model, posterior
from vaelab.inference.solver import quasi_newton
from vaelab.measure.fit import InferenceSettings, fit_locally
from vaelab.model import likelihood, networks
from vaelab.runtime.timing import quickest

BASE = {"points": 100, "draws": 10, "steps": 40, "latent_dim": 20, "width": 200}
VALUES = {
    "points": (50, 100, 200, 400),
    "draws": (4, 10, 20, 40),
    "steps": (20, 40, 80, 160),
    "latent_dim": (10, 20, 40, 80),
    "width": (100, 200, 400, 800),
}
DATA_DIM, REPEATS, CHUNK = 784, 2, 50


@functools.cache  # the same functions are compiled once
def functions(draws: int, steps: int, latent_dim: int, width: int) -> tuple:
    """(model, family, settings, theta)."""
    decoder = networks.mlp_decoder(latent_dim, (width, width), DATA_DIM, activation=nn.elu)
    latent_model = model.decoder_model(latent_dim, decoder, likelihood.bernoulli())
    family, schedule = posterior.diagonal(latent_dim), optax.cosine_decay_schedule(0.5, steps)
    settings = InferenceSettings(
        solver=lambda family: quasi_newton(family, schedule, num_samples=draws, max_norm=5.0),
        num_steps=steps,
        max_rounds=1,
        certificate_groups=8,
        elbo_samples=200,
        elbo_chunk_size=100,
    )
    return latent_model, family, settings, latent_model.init(jax.random.key(0))


@functools.cache
def seconds(*, points: int, draws: int, steps: int, latent_dim: int, width: int) -> float:
    latent_model, family, settings, theta = functions(draws, steps, latent_dim, width)
    x_NxD = np.float32(np.random.default_rng(0).random((points, DATA_DIM)) < 0.3)
    data, start_NxP = (x_NxD, np.arange(points)), np.zeros((points, family.param_size), np.float32)
    fit = functools.partial(fit_locally, tolerance=0.05, chunk_size=CHUNK)
    arguments = latent_model, family, settings, theta, data, start_NxP, jax.random.key(1)
    return quickest(fit, *arguments, repeats=REPEATS).milliseconds / 1e3


def main() -> None:
    rows = []
    for name, values in VALUES.items():
        taken = [seconds(**{**BASE, name: value}) for value in values]
        upper = slice(len(values) // 2, None)
        slope = float(np.polyfit(np.log(values[upper]), np.log(taken[upper]), 1)[0])
        rows.append({"size": name, "values": values, "seconds": taken, "exponent": slope})
        print(rows[-1], file=sys.stderr, flush=True)
    about = {"benchmark": "scaling", "device": str(jax.devices()[0]), "cores": os.cpu_count(), "base": BASE}
    print(json.dumps({**about, "rows": rows}))


if __name__ == "__main__":
    main()
