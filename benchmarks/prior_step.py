"""What a learned prior costs a training step on MNIST's shapes (784-200-200-50 and back, batch 100, Adam):

    python benchmarks/prior_step.py

A compiled chunk of steps with each prior, all in one process, in turn, several rounds, beside the same with
N(0, I). The hierarchies have 10 latents above these 50, which the same decoder reads, with a diagonal encoder
and with one that shares the prior's conditionals. Prints one JSON line: median milliseconds a step over the
rounds, and the median and the range of the ratios to N(0, I) round by round.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

LATENT_DIM, DATA_DIM, HIDDEN, BATCH = 50, 784, 200, 100
LEARNING_RATE, CLIP_NORM = 1e-3, 200.0
NUM_COMPONENTS = 500
LEVELS = (LATENT_DIM, 10)
TOP_DOWN = "hierarchy, top_down"
STANDARD = "standard_normal"


def priors() -> dict[str, Any]:
    """Every prior at its default sizes; None for N(0, I)."""
    import jax.numpy as jnp

    from vaelab import posterior
    from vaelab.model import PRIORS
    from vaelab.model.vamp import PseudoInputs

    flow = posterior.FAMILIES["real_nvp"].make(LATENT_DIM, num_layers=4, hidden=64)
    inputs = PseudoInputs(jnp.zeros(DATA_DIM), jnp.ones(DATA_DIM))
    of_encoder = {"family": posterior.diagonal(LATENT_DIM), "encoder": encoder(), "inputs": inputs}
    return {
        STANDARD: None,
        "mixture": PRIORS["mixture"].make(LATENT_DIM, num_components=NUM_COMPONENTS),
        "vamp": PRIORS["vamp"].make(LATENT_DIM, num_components=NUM_COMPONENTS, **of_encoder),
        "flow": PRIORS["flow"].make(LATENT_DIM, family=flow),
        "autoregressive": PRIORS["autoregressive"].make(LATENT_DIM, hidden=64, num_gaussians=5),
        "hierarchy": hierarchy(),
        TOP_DOWN: hierarchy(),
    }


def hierarchy() -> Any:
    from vaelab.model import PRIORS

    return PRIORS["hierarchy"].make(sum(LEVELS), levels=LEVELS, hidden=64)


def encoder(latent_dim: int = LATENT_DIM) -> Any:
    from flax import linen as nn

    from vaelab import posterior
    from vaelab.model import networks

    phi_P = posterior.diagonal(latent_dim).init()  # of chains of levels the messages, of the same size
    return networks.mlp_encoder(DATA_DIM, (HIDDEN, HIDDEN), phi_P, activation=nn.elu, output_scale=0.01)


def chunk_of(name: str, prior: Any, num_steps: int) -> Callable[[], float]:
    """() -> seconds of num_steps steps, one program, that is compiled already."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import linen as nn

    from vaelab import data, model, objective, posterior
    from vaelab.data.observe import observe
    from vaelab.model import likelihood, networks
    from vaelab.training import regime
    from vaelab.training import step as train

    latent_dim = sum(prior.levels) if prior is not None and prior.levels else LATENT_DIM
    family = posterior.diagonal(latent_dim)
    if name == TOP_DOWN:
        shapes = jax.eval_shape(prior.init, jax.random.key(0))
        family = posterior.top_down(latent_dim, levels=LEVELS, prior=shapes)
    decoder = networks.mlp_decoder(LATENT_DIM, (HIDDEN, HIDDEN), DATA_DIM, activation=nn.elu)
    made = model.decoder_model(LATENT_DIM, decoder, likelihood.bernoulli())
    made = made if latent_dim == LATENT_DIM else model.first_level(made, latent_dim)
    bound = objective.elbo if family.kl_to_prior else objective.elbo_from_draws
    system = train.System(
        model=made if prior is None else model.in_training(model.with_prior(made, prior)),
        family=family,
        regime=regime.amortized(encoder(latent_dim), family),
        objective=partial(bound, num_samples=1),
        optimizer=optax.chain(optax.clip_by_global_norm(CLIP_NORM), optax.adam(LEARNING_RATE)),
        observe=partial(data.binarize, max_value=255),
    )
    pixels_NxD = np.random.RandomState(0).randint(0, 256, (num_steps * BATCH, DATA_DIM)).astype(np.uint8)
    index_B = jnp.arange(BATCH)

    @jax.jit
    def chunk(state: Any, pixels_TxBxD: Any) -> Any:
        def step(state: Any, pixels_BxD: Any) -> tuple[Any, None]:
            key = jax.random.fold_in(jax.random.key(1), state.step)
            x_BxD = observe(key, pixels_BxD, index_B, observation=system.observe)
            batch = regime.Batch(x_BxD, index_B, index_B)
            return train.train_step(state, batch, key, system=system)[0], None

        return jax.lax.scan(step, state, pixels_TxBxD)[0]

    start = train.init_state(system, jax.random.key(0))
    pixels_TxBxD = jnp.asarray(pixels_NxD.reshape(num_steps, BATCH, DATA_DIM))
    jax.block_until_ready(chunk(start, pixels_TxBxD))

    def run() -> float:
        began = time.perf_counter()
        jax.block_until_ready(chunk(start, pixels_TxBxD))
        return time.perf_counter() - began

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--num_steps", type=int, default=100)
    parser.add_argument("--only", nargs="*", help="these priors, beside N(0, I)")
    arguments = parser.parse_args()
    chosen = {n: p for n, p in priors().items() if n == STANDARD or not arguments.only or n in arguments.only}
    chunks = {name: chunk_of(name, prior, arguments.num_steps) for name, prior in chosen.items()}
    seconds = {name: [] for name in chunks}
    for _ in range(arguments.rounds):
        for name, run in chunks.items():
            seconds[name].append(run())
    result = {}
    for name, taken in seconds.items():
        ratios = [t / s for t, s in zip(taken, seconds[STANDARD], strict=True)]
        result[name] = {
            "median_ms": 1e3 * statistics.median(taken) / arguments.num_steps,
            "ratio": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
        }
    about = {"benchmark": "prior_step", "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    print(json.dumps({**about, "rounds": arguments.rounds, "num_components": NUM_COMPONENTS, **result}))


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main()
