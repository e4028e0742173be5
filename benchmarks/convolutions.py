"""Convolutions as products of matrices against flax.linen.Conv: a training step, and gradients in z.

    python benchmarks/convolutions.py                # 28x28 as mnist_convolutional.py, and 32x32x3
    python benchmarks/convolutions.py --residual=1   # with residual blocks
    python benchmarks/convolutions.py --dtype=bfloat16

Random images; both ways in one process and in turn, compiled before. step: a step of training, batch 100, in
chunks. gradient: of log p(x, z) in z at 1,000 z, in a loop as the inner one, always in float32.
Milliseconds by the clock, median and range of the ratio conv / products over
the rounds: above 1 products are faster.
Prints one JSON line, and each row on standard error as it comes.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import jax
import numpy as np

from experiments import mnist_convolutional
from vaelab import data
from vaelab.config.experiment import Experiment, build
from vaelab.model.convolutional import CONVOLUTIONS
from vaelab.model.latent import bind
from vaelab.training import loop
from vaelab.training.step import init_state

SHAPES = {"28x28": (28, 28), "32x32x3": (32, 32, 3)}
NUM_POINTS, NUM_DRAWS, BATCH = 100, 10, 100
NUM_ASCENTS = 2  # in a loop, as the inner loop is one


def experiment(shape: tuple[int, ...], convolution: str, options: argparse.Namespace) -> Experiment:
    config = mnist_convolutional.get_config("smoke" if options.smoke else "")
    with config.unlocked():
        config.data.name = data.OF_PYTHON
    for network in (config.model, config.encoder):
        network.convolution, network.residual = convolution, options.residual
    if len(shape) == 3:
        config.data.observation, config.model.likelihood.name = "rescale", "discretized_logistic"
    config.train.dtype = options.dtype
    pixels = np.random.RandomState(0).randint(0, 256, (20 * BATCH, *shape)).astype(np.uint8)
    return build(config, data.from_arrays(pixels))


def step_timer(made: Experiment, num_steps: int) -> Callable[[], float]:
    """Seconds of a step, in a chunk of num_steps; compiled by the first call."""
    stage = made.stages[0]
    system, split = stage.recipe({}), made.train_split
    start = loop.Start(init_state(system, jax.random.key(0)), jax.random.key(1), order_seed=0)

    def run() -> float:
        chunks = loop.fit(
            [start],
            split.pixels_NxD,
            split.index_N,
            system_of=stage.recipe,
            num_steps=2 * num_steps,
            batch_size=BATCH,
            chunk_size=num_steps,
        )
        jax.block_until_ready(next(iter(chunks))[0].state)
        began = time.perf_counter()
        jax.block_until_ready(next(iter(chunks))[0].state)
        return (time.perf_counter() - began) / num_steps

    run()
    return run


def gradient_timer(made: Experiment) -> Callable[[], float]:
    """Seconds of the gradients in z of NUM_POINTS datapoints at NUM_DRAWS z each."""
    model, theta = made.latent_model, made.theta
    x_NxD = made.inputs["test"].x_NxD[:NUM_POINTS]
    z_NxSxK = jax.random.normal(jax.random.key(0), (len(x_NxD), NUM_DRAWS, model.latent_dim))

    def of_point(theta, x_D, z_SxK):
        return jax.vmap(jax.grad(bind(model, theta, x_D)))(z_SxK)

    @jax.jit
    def ascended(theta, x_NxD, z_NxSxK):
        def step(z_NxSxK, _):
            return z_NxSxK + 1e-4 * jax.vmap(of_point, (None, 0, 0))(theta, x_NxD, z_NxSxK), None

        return jax.lax.scan(step, z_NxSxK, None, length=NUM_ASCENTS)[0]

    def run() -> float:
        began = time.perf_counter()
        jax.block_until_ready(ascended(theta, x_NxD, z_NxSxK))
        return (time.perf_counter() - began) / NUM_ASCENTS

    run()
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--num_steps", type=int, default=10)
    parser.add_argument("--residual", type=int, default=0)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--smoke", action="store_true", help="small networks")
    options = parser.parse_args()
    rows = []
    for name in options.shapes:
        shape = SHAPES[name]
        made = {convolution: experiment(shape, convolution, options) for convolution in CONVOLUTIONS}
        timers = {
            "step": {way: step_timer(one, options.num_steps) for way, one in made.items()},
            "gradient": {way: gradient_timer(one) for way, one in made.items()},
        }
        for what, of_way in timers.items():
            seconds = {way: [] for way in of_way}
            for _ in range(options.rounds):
                for way, timer in of_way.items():
                    seconds[way].append(timer())
            ratios = [
                conv / product for conv, product in zip(seconds["conv"], seconds["products"], strict=True)
            ]
            rows.append(
                {
                    "shape": name,
                    "what": what,
                    **{f"{way}_ms": 1e3 * statistics.median(some) for way, some in seconds.items()},
                    "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
                }
            )
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    about = {"benchmark": "convolutions", "device": jax.devices()[0].device_kind, "cores": os.cpu_count()}
    about |= {"load": os.getloadavg()[0], "rounds": options.rounds}
    print(json.dumps({**about, "residual": options.residual, "dtype": options.dtype, "rows": rows}))


if __name__ == "__main__":
    main()
