"""Optimizers, their schedules, and the solvers of the inner loop, made from records of numbers.

The numbers of a record may be traced arrays, as those of several runs that are one program. What a number
decides of the program itself, whether there is a clipping at all, is None or a number, never 0 or a number.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vaelab.inference.curvature import MOST_DENSE
from vaelab.inference.limited_memory import limited_memory
from vaelab.inference.solver import (
    Solver,
    natural_gradient,
    natural_path_step,
    quasi_newton,
    stochastic_gradient,
)
from vaelab.objective import OBJECTIVES
from vaelab.types import Array, Objective, PosteriorFamily

Number = float | Array


class Optimizer(NamedTuple):
    """An optimizer under a schedule over the steps of its loop.

    name: adam, adamw, natural_gradient or quasi_newton. schedule: a key of SCHEDULES, from learning_rate to
    learning_rate * final_scale, after warmup_steps from 0. b1, b2, eps: of Adam. weight_decay: of AdamW.
    clip_norm: bound of the gradient's global norm; None is none. max_norm: longest step before the learning
    rate, sqrt(nats), of the last two.
    """

    name: str
    schedule: str
    learning_rate: Number
    final_scale: Number
    warmup_steps: int
    b1: Number
    b2: Number
    eps: Number
    weight_decay: Number
    clip_norm: Number | None
    max_norm: Number


def _constant(rate: Number, steps: int, final_scale: Number) -> optax.Schedule:
    del steps, final_scale
    return optax.constant_schedule(rate)


def _exponential(rate: Number, steps: int, final_scale: Number) -> optax.Schedule:
    return lambda count: rate * final_scale ** (count / steps)


def _linear(rate: Number, steps: int, final_scale: Number) -> optax.Schedule:
    return optax.linear_schedule(rate, rate * final_scale, steps)


def _cosine(rate: Number, steps: int, final_scale: Number) -> optax.Schedule:
    return optax.cosine_decay_schedule(rate, steps, final_scale)


def _powers_of_three(rate: Number, steps: int, final_scale: Number) -> optax.Schedule:
    """rate * final_scale^(i/7) over 3^i parts of the 3280 = 3^0 + .. + 3^7 that the steps are divided into.

    (Burda, Grosse & Salakhutdinov 2016, section 5: final_scale 0.1, and an epoch for each part.)
    """
    ends = np.array([round(steps * sum(3**j for j in range(i + 1)) / 3280) for i in range(7)])
    return lambda count: rate * final_scale ** (jnp.sum(count >= ends) / 7.0)


SCHEDULES: Mapping[str, Callable[[Number, int, Number], optax.Schedule]] = {
    "constant": _constant,
    "cosine": _cosine,
    "linear": _linear,
    "exponential": _exponential,
    "powers_of_three": _powers_of_three,
}


def learning_rates(optimizer: Optimizer, num_steps: int) -> optax.Schedule:
    """The learning rate at each step: a linear warm-up, then a schedule that ends with the last step."""
    warmup, rate = optimizer.warmup_steps, optimizer.learning_rate
    make = SCHEDULES[optimizer.schedule]
    schedule = make(rate, max(num_steps - warmup, 1), optimizer.final_scale)
    if warmup:
        schedule = optax.join_schedules([optax.linear_schedule(0.0, rate, warmup), schedule], [warmup])
    return schedule


def adam(optimizer: Optimizer, num_steps: int, max_skipped: int = 0) -> optax.GradientTransformation:
    """Clips the global gradient norm, then takes a step of Adam or AdamW.

    With max_skipped, a step whose gradient is not finite is left out, up to max_skipped in a row.
    """
    make = optax.adam
    if optimizer.name == "adamw":
        make = partial(optax.adamw, weight_decay=optimizer.weight_decay)
    schedule = learning_rates(optimizer, num_steps)
    steps = make(schedule, b1=optimizer.b1, b2=optimizer.b2, eps=optimizer.eps)
    if optimizer.clip_norm is not None:
        steps = optax.chain(optax.clip_by_global_norm(optimizer.clip_norm), steps)
    return optax.apply_if_finite(steps, max_skipped) if max_skipped else steps


class LocalObjective(NamedTuple):
    """The bound that the inner loop maximises, a key of OBJECTIVES that is an ELBO, and its samples."""

    name: str
    num_samples: int
    antithetic: bool

    def bound(self) -> Objective:
        draws = {"num_samples": self.num_samples, "antithetic": self.antithetic}
        return partial(OBJECTIVES[self.name].bound, **draws)


class InnerLoop(NamedTuple):
    """A solver for each family that it is called with: the SolverOf of `InferenceSettings`.

    Equal records are one compiled program.
    """

    optimizer: Optimizer
    objective: LocalObjective
    num_steps: int

    def __call__(self, family: PosteriorFamily) -> Solver:
        return SOLVERS[self.optimizer.name](self, family)


def _stochastic(loop: InnerLoop, family: PosteriorFamily, steps: optax.GradientTransformation) -> Solver:
    return stochastic_gradient(
        family,
        loop.objective.bound(),
        steps,
        num_samples=loop.objective.num_samples,
        holds_density=loop.objective.name == "stick_the_landing",
    )


def _adam(loop: InnerLoop, family: PosteriorFamily) -> Solver:
    return _stochastic(loop, family, refuse_overflow(adam(loop.optimizer, loop.num_steps)))


def refuse_overflow(steps: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same steps, but none for a gradient that is finite and whose square is not.

    Adam turns such a gradient into an infinite second moment, and never moves that coordinate again (optax
    0.2.8). Training leaves such a step out by the norm that it reports.
    """

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(updates)]))
        overflows = finite & ~jnp.isfinite(optax.tree.norm(updates, squared=True))
        moved, none = steps.update(updates, state, params), jax.tree.map(jnp.zeros_like, updates)
        return jax.tree.map(lambda kept, new: jnp.where(overflows, kept, new), (none, state), moved)

    return optax.GradientTransformation(steps.init, update)


def _natural(loop: InnerLoop, family: PosteriorFamily) -> Solver:
    max_norm, objective = loop.optimizer.max_norm, loop.objective
    rate = optax.scale_by_learning_rate(learning_rates(loop.optimizer, loop.num_steps))
    solver = _stochastic(loop, family, optax.chain(natural_gradient(family, max_norm=max_norm), rate))
    if objective.name != "stick_the_landing" or family.gaussian.natural_path is None:
        return solver
    draws = {"num_samples": objective.num_samples, "antithetic": objective.antithetic}
    return solver._replace(step=natural_path_step(family, rate, max_norm=max_norm, **draws))


def _quasi_newton(loop: InnerLoop, family: PosteriorFamily) -> Solver:
    sparse = family.gaussian.axes is not None and family.latent_dim > MOST_DENSE
    return (limited_memory if sparse else quasi_newton)(
        family,
        learning_rates(loop.optimizer, loop.num_steps),
        num_samples=loop.objective.num_samples,
        max_norm=loop.optimizer.max_norm,
    )


SOLVERS: Mapping[str, Callable[[InnerLoop, PosteriorFamily], Solver]] = {
    "adam": _adam,
    "adamw": _adam,
    "natural_gradient": _natural,
    "quasi_newton": _quasi_newton,
}
"""What moves phi, by the optimizer's name; the last two are for Gaussian families alone."""
GAUSSIAN_SOLVERS = ("natural_gradient", "quasi_newton")
