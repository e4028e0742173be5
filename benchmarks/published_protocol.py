"""Local inference by the published protocol and by this code, side by side on a few points of a trained run:

    python benchmarks/published_protocol.py --run=runs/mnist_gap

The protocol (C. Cremer, X. Li & D. Duvenaud 2018, as in their code): a diagonal q from the prior, Adam at a
constant 1e-3 on the ELBO from 100 draws, until 10 windows of 100 steps bring no better window. This code: the
run's settings, from the prior too, with its rounds and its convergence estimate; at the run's own number of
steps and tolerance, and at those of --num_steps and --tolerance, to see what exactness costs. All are vmapped
over the points and compiled beforehand. Prints one JSON line: for each the seconds and gradients of
log p(x, z) a point, and how much higher this code's ELBO is on draws that neither saw, with its standard
error.
"""

import argparse
import json
import os
import sys
import time
from functools import partial
from pathlib import Path

LEARNING_RATE, DRAWS, WINDOW, PATIENCE = 1e-3, 100, 100, 10
SCORE_DRAWS = 10_000


def main() -> None:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from benchmarks.trained import load
    from vaelab.inference.loop import evaluations
    from vaelab.measure import fit as local_fit
    from vaelab.measure import gap
    from vaelab.model.latent import bind
    from vaelab.objective.draws import estimate_elbo
    from vaelab.objective.elbo import elbo_from_draws

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, type=Path, help="directory of a finished run")
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--num_steps", type=int, default=70, help="of a round, in the exact setting")
    parser.add_argument("--tolerance", type=float, default=0.02, help="nats, in the exact setting")
    arguments = parser.parse_args()
    experiment, state = load(arguments.run, "diagonal", evaluate={"max_points": arguments.points})
    exact, _ = load(
        arguments.run,
        "diagonal",
        inference={"tolerance": arguments.tolerance, "diagonal": {"num_steps": arguments.num_steps}},
    )
    theta, system, model = state.theta, experiment.stages[0].system, experiment.latent_model
    family = system.family
    inputs = experiment.inputs["test"]
    optimizer = optax.adam(LEARNING_RATE)
    prior_NxP = np.tile(np.asarray(family.init()), (len(inputs.index_N), 1))

    def published(x_D: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(phi, steps taken)."""
        log_joint, key = bind(model, theta, x_D), jax.random.fold_in(jax.random.key(0), index)
        bound = partial(elbo_from_draws, num_samples=DRAWS)
        ascend = jax.value_and_grad(bound, argnums=2)

        def window(carry):
            phi_P, opt_state, steps, best, without_gain = carry

            def step(carry, t):
                phi_P, opt_state = carry
                value, grad_P = ascend(log_joint, family, phi_P, jax.random.fold_in(key, steps + t))
                updates_P, opt_state = optimizer.update(-grad_P, opt_state, phi_P)
                return (optax.apply_updates(phi_P, updates_P), opt_state), value

            (phi_P, opt_state), values = jax.lax.scan(step, (phi_P, opt_state), jnp.arange(WINDOW))
            gained = jnp.mean(values) > best
            without_gain = jnp.where(gained, 0, without_gain + 1)
            return phi_P, opt_state, steps + WINDOW, jnp.maximum(best, jnp.mean(values)), without_gain

        phi_P = family.init()
        start = (phi_P, optimizer.init(phi_P), jnp.int32(0), -jnp.inf, jnp.int32(0))
        phi_P, _, steps, _, _ = jax.lax.while_loop(lambda carry: carry[4] < PATIENCE, window, start)
        return phi_P, steps

    def score(x_D: jax.Array, index: jax.Array, phi_P: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(1), index)
        log_joint = bind(model, theta, x_D)
        return estimate_elbo(log_joint, family, phi_P, key, num_samples=SCORE_DRAWS, chunk_size=100).value

    compiled = jax.jit(jax.vmap(published)).lower(inputs.x_NxD, inputs.index_N).compile()
    began = time.perf_counter()
    published_NxP, steps_N = jax.block_until_ready(compiled(inputs.x_NxD, inputs.index_N))
    published_seconds = time.perf_counter() - began

    score_N = jax.jit(jax.vmap(score))
    published_N, count = np.float64(score_N(*inputs, published_NxP)), len(inputs.index_N)

    def ours(settings: local_fit.InferenceSettings) -> dict[str, object]:
        for _ in range(2):  # the first time compiles
            began = time.perf_counter()
            fitted = local_fit.fit_locally(
                model,
                family,
                settings,
                theta,
                inputs,
                prior_NxP,
                experiment.keys.inference,
                starts=("prior",),
                chunk_size=count,
            )
            seconds = time.perf_counter() - began
        difference_N = np.float64(score_N(*inputs, fitted.inference.phi_P)) - published_N
        a_round = evaluations(
            settings.solver(family),
            family,
            num_steps=settings.num_steps,
            certificate_groups=settings.certificate_groups,
        )
        return {
            "num_steps": settings.num_steps,
            "tolerance": settings.tolerance,
            "seconds": seconds / count,
            "evaluations": a_round * float(np.mean(fitted.rounds)),
            "times_less": published_seconds / seconds,
            "elbo_gained": {**gap.mean_and_stderr(difference_N), "min": float(difference_N.min())},
            "unconverged": int(np.sum(~fitted.inference.converged)),
        }

    result = {
        "benchmark": "published_protocol",
        "points": count,
        "published": {
            "seconds": published_seconds / count,
            "evaluations": DRAWS * float(np.mean(steps_N)),
        },
        "vaelab": [ours(e.evaluate.inference["diagonal"]) for e in (experiment, exact)],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main()
