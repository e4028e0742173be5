"""One training step on MNIST's shapes (784-200-200-50 and back, batch 100, ELU, Adam, clipping), three ways:

    python benchmarks/train_step.py            # needs: pip install -r benchmarks/requirements.txt

vaelab's compiled chunk of steps against the same step in PyTorch, eager and compiled: the same widths,
dynamic binarisation, one draw, closed-form KL, clipping and Adam. Each runs in a process of its own, in
turn, several times; a time ends when the parameters of the last step are there. Prints one JSON line:
median milliseconds a step over the rounds, their range, and the ratio round by round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial

LATENT_DIM, DATA_DIM, HIDDEN, BATCH = 50, 784, 200, 100
LEARNING_RATE, CLIP_NORM = 1e-3, 200.0
NUM_POINTS, CHUNK = 20_000, 250


def time_vaelab(num_steps: int) -> float:
    """Seconds a step, after a first chunk that compiles."""
    import jax
    import numpy as np
    import optax
    from flax import linen as nn

    from vaelab import data, likelihood, model, networks, objective, posterior, train

    family = posterior.diagonal(LATENT_DIM)
    hidden = (HIDDEN, HIDDEN)
    system = train.System(
        model=model.decoder_model(
            LATENT_DIM,
            networks.mlp_decoder(LATENT_DIM, hidden, DATA_DIM, activation=nn.elu),
            likelihood.bernoulli(),
        ),
        encoder=networks.mlp_encoder(DATA_DIM, hidden, family.init(), activation=nn.elu, output_scale=0.01),
        family=family,
        objective=partial(objective.elbo, num_samples=1),
        optimizer=optax.chain(optax.clip_by_global_norm(CLIP_NORM), optax.adam(LEARNING_RATE)),
        observe=partial(data.binarize, max_value=255),
    )
    pixels_NxD = np.random.RandomState(0).randint(0, 256, (NUM_POINTS, DATA_DIM)).astype(np.uint8)
    index_N = np.arange(NUM_POINTS, dtype=np.int32)
    state = train.init_state(system, jax.random.key(0))
    start = 0.0
    for progress in train.fit(
        state,
        pixels_NxD,
        index_N,
        jax.random.key(1),
        system=system,
        order_seed=0,
        num_steps=num_steps + CHUNK,
        batch_size=BATCH,
        chunk_size=CHUNK,
    ):
        jax.block_until_ready(progress.state)
        start = start or time.perf_counter()
    return (time.perf_counter() - start) / num_steps


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
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--num_steps", type=int, default=1000)
    parser.add_argument("--only", choices=TIMERS, help="time one of them, in this process")
    arguments = parser.parse_args()
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
    for name in ("torch_eager", "torch_compiled"):
        ratios = [t / v for t, v in zip(seconds[name], seconds["vaelab"], strict=True)]
        result[f"{name}_over_vaelab"] = {
            "median": statistics.median(ratios),
            "min": min(ratios),
            "max": max(ratios),
        }
    about = {"benchmark": "train_step", "cores": os.cpu_count(), "rounds": arguments.rounds}
    print(json.dumps({**about, **result}))


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main()
