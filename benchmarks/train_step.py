"""One training step on MNIST's shapes (784-200-200-50 and back, batch 100, ELU, Adam), in five ways:

    python benchmarks/train_step.py            # needs: pip install -r benchmarks/requirements.txt

vaelab's compiled chunk of steps against the same step in PyTorch, eager and compiled: the same widths,
dynamic binarisation, one draw, closed-form KL, clipping and Adam. Beside them, at the same widths, a step
as the Flax project's VAE example takes it (one jitted call a step, of given binary images, without
clipping: less work) and NumPyro's SVI as its VAE example does (one jitted loop, dynamic binarisation, the
ELBO from draws). Each runs in a process of its own, in turn, several times; a time ends when the parameters
of the last step are there. Prints one JSON line: median milliseconds a step over the rounds, their range,
the ratios round by round, and the part of the machine's rate of large matrix products that the step's own
products make up.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial

import numpy as np

LATENT_DIM, DATA_DIM, HIDDEN, BATCH = 50, 784, 200, 100
LEARNING_RATE, CLIP_NORM = 1e-3, 200.0
NUM_POINTS, CHUNK = 20_000, 250


def time_vaelab(num_steps: int) -> float:
    """Seconds a step, after a first chunk that compiles."""
    import jax
    import optax
    from flax import linen as nn

    from vaelab import data, model, objective, posterior
    from vaelab.model import likelihood, networks
    from vaelab.training import loop as train_loop
    from vaelab.training import regime
    from vaelab.training import step as train

    family = posterior.diagonal(LATENT_DIM)
    hidden = (HIDDEN, HIDDEN)
    encoder = networks.mlp_encoder(DATA_DIM, hidden, family.init(), activation=nn.elu, output_scale=0.01)
    system = train.System(
        model=model.decoder_model(
            LATENT_DIM,
            networks.mlp_decoder(LATENT_DIM, hidden, DATA_DIM, activation=nn.elu),
            likelihood.bernoulli(),
        ),
        family=family,
        regime=regime.amortized(encoder, family),
        objective=partial(objective.elbo, num_samples=1),
        optimizer=optax.chain(optax.clip_by_global_norm(CLIP_NORM), optax.adam(LEARNING_RATE)),
        observe=partial(data.binarize, max_value=255),
    )
    pixels_NxD = random_pixels()
    index_N = np.arange(NUM_POINTS, dtype=np.int32)
    state = train.init_state(system, jax.random.key(0))
    start = 0.0
    for (progress,) in train_loop.fit(
        [train_loop.Start(state, jax.random.key(1), order_seed=0)],
        pixels_NxD,
        index_N,
        system_of=lambda numbers: system,
        num_steps=num_steps + CHUNK,
        batch_size=BATCH,
        chunk_size=CHUNK,
    ):
        jax.block_until_ready(progress.state)
        start = start or time.perf_counter()
    return (time.perf_counter() - start) / num_steps


def random_pixels() -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, (NUM_POINTS, DATA_DIM)).astype(np.uint8)


def encoder_and_decoder():
    """The two networks as Flax modules, the encoder's outputs mean and log sigma in one."""
    from flax import linen as nn

    def mlp(*widths: int) -> nn.Sequential:
        layers = [part for width in widths for part in (nn.Dense(width), nn.elu)]
        return nn.Sequential(layers[:-1])

    return mlp(HIDDEN, HIDDEN, 2 * LATENT_DIM), mlp(HIDDEN, HIDDEN, DATA_DIM)


def time_flax(num_steps: int) -> float:
    import jax
    import jax.numpy as jnp
    import optax
    from flax import linen as nn
    from flax.training.train_state import TrainState

    encoder, decoder = encoder_and_decoder()
    keys = jax.random.split(jax.random.key(0), 2)
    params = {
        "encoder": encoder.init(keys[0], jnp.zeros(DATA_DIM)),
        "decoder": decoder.init(keys[1], jnp.zeros(LATENT_DIM)),
    }
    state = TrainState.create(apply_fn=None, params=params, tx=optax.adam(LEARNING_RATE))

    @jax.jit
    def step(state: TrainState, x: jax.Array, key: jax.Array) -> TrainState:
        def loss(params):
            mean, log_sigma = jnp.split(encoder.apply(params["encoder"], x), 2, axis=-1)
            z = mean + jnp.exp(log_sigma) * jax.random.normal(key, mean.shape)
            logits = nn.log_sigmoid(decoder.apply(params["decoder"], z))
            likelihood = jnp.sum(x * logits + (1.0 - x) * jnp.log(-jnp.expm1(logits)), axis=-1)
            kl = jnp.sum(0.5 * (mean**2 + jnp.exp(2.0 * log_sigma) - 1.0) - log_sigma, axis=-1)
            return jnp.mean(kl - likelihood)

        return state.apply_gradients(grads=jax.grad(loss)(state.params))

    binary = np.float32(random_pixels() > 127)
    batches = [binary[i : i + BATCH] for i in range(0, NUM_POINTS, BATCH)]
    key = jax.random.key(1)
    for i in range(50 + num_steps):
        if i == 50:
            jax.block_until_ready(state)
            start = time.perf_counter()
        key, key_step = jax.random.split(key)
        state = step(state, batches[i % len(batches)], key_step)
    jax.block_until_ready(state)
    return (time.perf_counter() - start) / num_steps


def time_numpyro(num_steps: int) -> float:
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from numpyro.contrib.module import flax_module
    from numpyro.infer import SVI, Trace_ELBO

    encoder, decoder = encoder_and_decoder()

    def model(x):
        decode = flax_module("decoder", decoder, input_shape=(LATENT_DIM,))
        with numpyro.plate("batch", x.shape[0]):
            z = numpyro.sample("z", dist.Normal(0, 1).expand([LATENT_DIM]).to_event(1))
            numpyro.sample("x", dist.Bernoulli(logits=decode(z)).to_event(1), obs=x)

    def guide(x):
        encode = flax_module("encoder", encoder, input_shape=(DATA_DIM,))
        mean, log_sigma = jnp.split(encode(x), 2, axis=-1)
        with numpyro.plate("batch", x.shape[0]):
            numpyro.sample("z", dist.Normal(mean, jnp.exp(log_sigma)).to_event(1))

    svi = SVI(model, guide, numpyro.optim.Adam(LEARNING_RATE), Trace_ELBO())
    pixels = jnp.asarray(random_pixels())
    state = svi.init(jax.random.PRNGKey(0), jnp.zeros((BATCH, DATA_DIM)))

    @jax.jit
    def chunk(state, order):
        def body(i, state):
            rows = jax.lax.dynamic_slice_in_dim(order, i * BATCH, BATCH)
            key = jax.random.fold_in(jax.random.PRNGKey(1), i)
            x = jax.random.bernoulli(key, pixels[rows] / 255.0).astype(jnp.float32)
            return svi.update(state, x)[0]

        return jax.lax.fori_loop(0, order.shape[0] // BATCH, body, state)

    order = jax.random.permutation(jax.random.PRNGKey(2), NUM_POINTS)
    state = jax.block_until_ready(chunk(state, order))
    calls = -(-num_steps * BATCH // NUM_POINTS)
    start = time.perf_counter()
    for _ in range(calls):
        state = chunk(state, order)
    jax.block_until_ready(state)
    return (time.perf_counter() - start) / (calls * (NUM_POINTS // BATCH))


def time_product(num_steps: int) -> float:
    """Seconds of a product of two matrices of 2000 x 2000, the best of a few."""
    import jax

    large = jax.random.normal(jax.random.key(0), (2000, 2000))
    product = jax.jit(lambda a: a @ a)
    product(large).block_until_ready()
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        product(large).block_until_ready()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def time_torch(num_steps: int, *, compiled: bool) -> float:
    """Seconds a step, after a warm-up of 50; `compiled` takes torch.compile for the loss and its gradient."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    def mlp(*widths: int) -> nn.Sequential:
        layers = []
        for i in range(len(widths) - 1):
            layers += [nn.Linear(widths[i], widths[i + 1]), nn.ELU()]
        return nn.Sequential(*layers[:-1])

    encoder = mlp(DATA_DIM, HIDDEN, HIDDEN, 2 * LATENT_DIM)
    decoder = mlp(LATENT_DIM, HIDDEN, HIDDEN, DATA_DIM)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (NUM_POINTS, DATA_DIM), dtype=torch.uint8, generator=generator)

    def loss(x: torch.Tensor) -> torch.Tensor:
        mu, log_sigma = encoder(x).chunk(2, dim=-1)
        sigma = log_sigma.exp()
        logits = decoder(mu + sigma * torch.randn_like(mu))
        log_likelihood = -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)
        kl = (0.5 * (sigma**2 + mu**2 - 1.0) - log_sigma).sum(-1)
        return (kl - log_likelihood).mean()

    loss = torch.compile(loss) if compiled else loss

    def step(rows: torch.Tensor) -> None:
        x = torch.bernoulli(pixels[rows].float() / 255.0)
        optimizer.zero_grad()
        loss(x).backward()
        nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimizer.step()

    order = torch.randperm(NUM_POINTS, generator=generator)
    batches = [order[i : i + BATCH] for i in range(0, NUM_POINTS, BATCH)]
    for i in range(50):
        step(batches[i % len(batches)])
    start = time.perf_counter()
    for i in range(num_steps):
        step(batches[i % len(batches)])
    return (time.perf_counter() - start) / num_steps


TIMERS = {
    "vaelab": time_vaelab,
    "torch_eager": partial(time_torch, compiled=False),
    "torch_compiled": partial(time_torch, compiled=True),
    "flax_example": time_flax,
    "numpyro_svi": time_numpyro,
    "large_product": time_product,
}
ENCODER, DECODER = (DATA_DIM, HIDDEN, HIDDEN, 2 * LATENT_DIM), (LATENT_DIM, HIDDEN, HIDDEN, DATA_DIM)
# Each layer's product forwards and, backwards, with its input and its weights; x itself has no gradient.
FLOPS = (
    BATCH
    * 2
    * (3 * sum(a * b for w in (ENCODER, DECODER) for a, b in itertools.pairwise(w)) - DATA_DIM * HIDDEN)
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--num_steps", type=int, default=1000)
    parser.add_argument("--only", choices=TIMERS, help="time one of them, in this process")
    arguments = parser.parse_args()
    if arguments.num_steps % CHUNK:
        parser.error(f"--num_steps must be a multiple of {CHUNK}: a last chunk of another size would compile")
    if arguments.only:
        print(json.dumps(TIMERS[arguments.only](arguments.num_steps)))
        return
    seconds = {name: [] for name in TIMERS}
    for _ in range(arguments.rounds):
        for name in TIMERS:
            command = [sys.executable, __file__, "--only", name, "--num_steps", str(arguments.num_steps)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            seconds[name].append(json.loads(output))
    result = {
        name: {"median_ms": 1e3 * statistics.median(s), "min_ms": 1e3 * min(s), "max_ms": 1e3 * max(s)}
        for name, s in seconds.items()
    }
    del result["large_product"]
    for name in ("torch_eager", "torch_compiled", "flax_example", "numpyro_svi"):
        ratios = [t / v for t, v in zip(seconds[name], seconds["vaelab"], strict=True)]
        result[f"{name}_over_vaelab"] = {
            "median": statistics.median(ratios),
            "min": min(ratios),
            "max": max(ratios),
        }
    rate = 2 * 2000**3 / min(seconds["large_product"])
    result["share_of_products"] = FLOPS / statistics.median(seconds["vaelab"]) / rate
    result["gflops"] = rate / 1e9
    about = {"benchmark": "train_step", "cores": os.cpu_count(), "rounds": arguments.rounds}
    print(json.dumps({**about, **result}))


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main()
