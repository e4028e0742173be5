"""Mean-field learning with a table for 60,000 images of MNIST's shape, K = 50, decoder 50-200-200-784:

    python benchmarks/mean_field_table.py

An E-step on a batch of 100 rows (5 natural-gradient steps of 2 antithetic draws, as `learning` has them by
default) against the same steps of the inner loop at the same 100 datapoints, each in a scan of its own and in
turn; then training itself, E- and M-step, with its checkpoints, in a process of its own whose largest memory
is taken. Prints one JSON line: median microseconds an evaluation (a gradient of log p(x, z)) of both, their
ratio round by round, milliseconds a training step, bytes of the table and of the process.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
LATENT_DIM, DATA_DIM, HIDDEN, BATCH, NUM_POINTS = 50, 784, 200, 100, 60_000
EXPECT_STEPS, DRAWS, VISITS = 5, 2, 50


def parts():
    """(system, the steps of a row)."""
    import optax
    from flax import linen as nn

    from vaelab import data, model, objective, posterior
    from vaelab.inference.loop import Loop
    from vaelab.inference.solver import natural_gradient, stochastic_gradient
    from vaelab.model import likelihood, networks
    from vaelab.posterior.project import searched_as
    from vaelab.training import regime
    from vaelab.training import step as train

    latent_model = model.decoder_model(
        LATENT_DIM,
        networks.mlp_decoder(LATENT_DIM, (HIDDEN, HIDDEN), DATA_DIM, activation=nn.elu),
        likelihood.bernoulli(),
    )
    family = posterior.diagonal(LATENT_DIM)
    searched = searched_as(family)
    steps = stochastic_gradient(
        searched,
        partial(objective.stick_the_landing, num_samples=DRAWS, antithetic=True),
        optax.chain(natural_gradient(searched, max_norm=5.0), optax.scale_by_learning_rate(0.3)),
        num_samples=DRAWS,
        holds_density=True,
    )
    loop = Loop(searched, steps, EXPECT_STEPS)
    system = train.System(
        model=latent_model,
        family=family,
        regime=regime.mean_field(
            family, latent_model, loop, loop, num_points=NUM_POINTS, model_steps=1, at_once=False
        ),
        objective=partial(objective.elbo, num_samples=1),
        optimizer=optax.chain(optax.clip_by_global_norm(200.0), optax.adam(1e-3)),
        observe=data.identity,
    )
    return system, loop


def images(count: int) -> np.ndarray:
    return np.float32(np.random.RandomState(0).uniform(size=(count, DATA_DIM)) < 0.2)


def expectation(rounds: int) -> dict[str, list[float]]:
    """Seconds of an evaluation in each way, in every round."""
    import jax
    import jax.numpy as jnp

    from vaelab.inference.loop import ascend
    from vaelab.model.latent import bind
    from vaelab.training.regime import Batch

    system, loop = parts()
    theta, table = system.model.init(jax.random.key(0)), system.regime.init(jax.random.key(1))
    rows_B = jnp.asarray(np.random.RandomState(1).choice(NUM_POINTS, BATCH, replace=False))
    batch = Batch(jnp.asarray(images(BATCH)), rows_B, rows_B)
    start_P = loop.family.init()
    start = jax.tree.map(
        lambda a: jnp.tile(a, (BATCH,) + (1,) * a.ndim), (start_P, loop.solver.init(start_P))
    )

    @partial(jax.jit, donate_argnums=0)
    def learn(table, theta):
        def visit(table, v):
            return system.regime.expect(theta, table, batch, jax.random.fold_in(jax.random.key(2), v)), None

        return jax.lax.scan(visit, table, jnp.arange(VISITS))[0]

    @partial(jax.jit, donate_argnums=0)
    def infer(rows, theta):
        def one(row, x_D, key):
            return ascend(loop, bind(system.model, theta, x_D), *row, key)

        def visit(rows, v):
            keys_B = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(jax.random.key(2), v), rows_B)
            return jax.vmap(one)(rows, batch.x_BxD, keys_B), None

        return jax.lax.scan(visit, rows, jnp.arange(VISITS))[0]

    taken: dict[str, list[float]] = {"expect": [], "inner_loop": []}
    kept = {"expect": table, "inner_loop": start}
    for number in range(rounds + 1):  # the first compiles
        for name, run in (("expect", learn), ("inner_loop", infer)):
            began = time.perf_counter()
            kept[name] = jax.block_until_ready(run(kept[name], theta))
            seconds = time.perf_counter() - began
            if number:
                taken[name].append(seconds / (VISITS * BATCH * EXPECT_STEPS * DRAWS))
    return taken


def training(num_steps: int) -> dict[str, float]:
    """Trains for num_steps and saves a checkpoint twice, all of the data in memory."""
    import jax

    from vaelab.runtime.checkpoint import Checkpointer
    from vaelab.training.loop import Start, fit
    from vaelab.training.regime import table_bytes
    from vaelab.training.step import init_state

    system, loop = parts()
    x_NxD, index_N = images(NUM_POINTS), np.arange(NUM_POINTS, dtype=np.int32)
    seconds = []
    with tempfile.TemporaryDirectory() as folder, Checkpointer(Path(folder), max_to_keep=2) as checkpoints:
        began = time.perf_counter()
        for (progress,) in fit(
            [Start(init_state(system, jax.random.key(0)), jax.random.key(1), order_seed=0)],
            x_NxD,
            index_N,
            system_of=lambda numbers: system,
            num_steps=num_steps,
            batch_size=BATCH,
            chunk_size=num_steps // 4,
        ):
            jax.block_until_ready(progress.state)
            seconds.append(time.perf_counter() - began)
            checkpoints.save(int(progress.state.step), progress.state)
            began = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "step_ms": 1e3 * statistics.median(seconds[1:]) / (num_steps // 4),
        "table_bytes": table_bytes(loop, NUM_POINTS),
        "peak_bytes": peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--num_steps", type=int, default=1200, help="of training, in four chunks")
    parser.add_argument("--only_training", action="store_true", help="in this process, for its memory")
    arguments = parser.parse_args()
    if arguments.only_training:
        print(json.dumps(training(arguments.num_steps)))
        return
    command = [sys.executable, __file__, "--only_training", f"--num_steps={arguments.num_steps}"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    taken = expectation(arguments.rounds)
    ratios = [a / b for a, b in zip(taken["expect"], taken["inner_loop"], strict=True)]
    result = {
        "benchmark": "mean_field_table",
        "cores": os.cpu_count(),
        "points": NUM_POINTS,
        **{f"{name}_us": 1e6 * statistics.median(seconds) for name, seconds in taken.items()},
        "expect_over_inner_loop": {
            "median": statistics.median(ratios),
            "min": min(ratios),
            "max": max(ratios),
        },
        **json.loads(output.splitlines()[-1]),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
