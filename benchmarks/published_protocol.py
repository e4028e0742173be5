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
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.trained import load
from vaelab.config.experiment import Experiment
from vaelab.inference.loop import evaluations
from vaelab.measure.fit import fit_locally
from vaelab.measure.gap import mean_and_stderr
from vaelab.measure.subject import Inputs
from vaelab.model.latent import bind
from vaelab.objective.draws import estimate_elbo
from vaelab.objective.elbo import elbo_from_draws
from vaelab.types import Array, LatentModel, LogJoint, Params, PosteriorFamily

LEARNING_RATE, DRAWS, WINDOW, PATIENCE = 1e-3, 100, 100, 10
SCORE_DRAWS = 10_000


class Subject(NamedTuple):
    """Both are tried on these points under this model."""

    model: LatentModel
    family: PosteriorFamily
    theta: Params
    inputs: Inputs


class Published(NamedTuple):
    """What the protocol comes to: seconds of all points; of each its steps and its bound on fresh draws."""

    seconds: float
    steps_N: np.ndarray
    elbo_N: np.ndarray


def ascend(log_joint: LogJoint, family: PosteriorFamily, key: jax.Array) -> tuple[Array, Array]:
    """(phi, steps taken) by the published protocol."""
    optimizer = optax.adam(LEARNING_RATE)
    value_and_grad = jax.value_and_grad(partial(elbo_from_draws, num_samples=DRAWS), argnums=2)

    def window(carry):
        phi_P, opt_state, steps, best, without_gain = carry

        def step(carry, t):
            phi_P, opt_state = carry
            value, grad_P = value_and_grad(log_joint, family, phi_P, jax.random.fold_in(key, steps + t))
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


Score = Callable[[Array], np.ndarray]
"""phi_NxP -> [N]: the bound of each point's phi, on draws that nothing else sees; nats."""


def score_of(subject: Subject) -> Score:
    model, family, theta, inputs = subject

    @jax.jit
    @jax.vmap
    def score(x_D: Array, index: Array, phi_P: Array) -> Array:
        key, log_joint = jax.random.fold_in(jax.random.key(1), index), bind(model, theta, x_D)
        return estimate_elbo(log_joint, family, phi_P, key, num_samples=SCORE_DRAWS, chunk_size=100).value

    return lambda phi_NxP: np.float64(score(*inputs, phi_NxP))


def published(subject: Subject, score: Score) -> Published:
    """The protocol at every point, compiled beforehand."""
    model, family, theta, inputs = subject

    def one(x_D: Array, index: Array) -> tuple[Array, Array]:
        return ascend(bind(model, theta, x_D), family, jax.random.fold_in(jax.random.key(0), index))

    compiled = jax.jit(jax.vmap(one)).lower(*inputs).compile()
    began = time.perf_counter()
    phi_NxP, steps_N = jax.block_until_ready(compiled(*inputs))
    return Published(time.perf_counter() - began, steps_N, score(phi_NxP))


def ours(subject: Subject, score: Score, experiment: Experiment, other: Published) -> dict[str, Any]:
    """Local inference at the settings of the experiment, from the prior, against the protocol."""
    settings, tolerance = experiment.evaluate.inference["diagonal"], experiment.evaluate.tolerance
    model, family, theta, inputs = subject
    count = len(inputs.index_N)
    for _ in range(2):  # the first time compiles
        began = time.perf_counter()
        fit = fit_locally(
            model,
            family,
            settings,
            theta,
            inputs,
            np.tile(np.asarray(family.init()), (count, 1)),
            experiment.keys.inference,
            tolerance=tolerance,
            starts=("prior",),
            chunk_size=count,
        )
        seconds = time.perf_counter() - began
    gained_N = score(fit.inference.phi_P) - other.elbo_N
    sizes = {"num_steps": settings.num_steps, "certificate_groups": settings.certificate_groups}
    a_round = evaluations(settings.solver(family), family, **sizes)
    return {
        "num_steps": settings.num_steps,
        "tolerance": tolerance,
        "seconds": seconds / count,
        "evaluations": a_round * float(np.mean(fit.rounds)),
        "times_less": other.seconds / seconds,
        "elbo_gained": {**mean_and_stderr(gained_N), "min": float(gained_N.min())},
        "unconverged": int(np.sum(~fit.inference.converged)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, type=Path, help="directory of a finished run")
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--num_steps", type=int, default=70, help="of a round, in the exact setting")
    parser.add_argument("--tolerance", type=float, default=0.02, help="nats, in the exact setting")
    arguments = parser.parse_args()
    experiment, run = load(arguments.run, "diagonal", evaluate={"max_points": arguments.points})
    exact, _ = load(
        arguments.run,
        "diagonal",
        inference={"tolerance": arguments.tolerance, "diagonal": {"num_steps": arguments.num_steps}},
    )
    family, inputs = experiment.families["diagonal"], experiment.inputs["test"]
    subject = Subject(experiment.latent_model, family, run.theta, inputs)
    score, count = score_of(subject), len(inputs.index_N)
    other = published(subject, score)
    result = {
        "benchmark": "published_protocol",
        "points": count,
        "published": {
            "seconds": other.seconds / count,
            "evaluations": DRAWS * float(np.mean(other.steps_N)),
        },
        "vaelab": [ours(subject, score, settings, other) for settings in (experiment, exact)],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
