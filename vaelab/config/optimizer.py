"""Optimizers, their schedules and the inner loop's solvers from a config."""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from vaelab.config.objective import local_objective
from vaelab.config.section import Section
from vaelab.inference.solver import Solver, SolverOf, natural_gradient, quasi_newton, stochastic_gradient
from vaelab.types import PosteriorFamily


def _constant(rate: float, steps: int, final_scale: float) -> optax.Schedule:
    del steps, final_scale
    return optax.constant_schedule(rate)


def _exponential(rate: float, steps: int, final_scale: float) -> optax.Schedule:
    return lambda count: rate * final_scale ** (count / steps)


def _linear(rate: float, steps: int, final_scale: float) -> optax.Schedule:
    return optax.linear_schedule(rate, rate * final_scale, steps)


def _cosine(rate: float, steps: int, final_scale: float) -> optax.Schedule:
    return optax.cosine_decay_schedule(rate, steps, final_scale)


def _powers_of_three(rate: float, steps: int, final_scale: float) -> optax.Schedule:
    """rate * final_scale^(i/7) over 3^i parts of the 3280 = 3^0 + .. + 3^7 that the steps are divided into.

    (Burda, Grosse & Salakhutdinov 2016, section 5: final_scale 0.1, and an epoch for each part.)
    """
    ends = np.array([round(steps * sum(3**j for j in range(i + 1)) / 3280) for i in range(7)])
    return lambda count: rate * final_scale ** (jnp.sum(count >= ends) / 7.0)


SCHEDULES = {
    "constant": _constant,
    "cosine": _cosine,
    "linear": _linear,
    "exponential": _exponential,
    "powers_of_three": _powers_of_three,
}


def _schedule(section: Section, num_steps: int) -> optax.Schedule:
    """The learning rate at each step: a linear warm-up, then a schedule that ends with the last step."""
    warmup = section.integer("warmup_steps", 0)
    final_scale = section.number("final_scale")
    if section.value("schedule") in ("exponential", "powers_of_three") and not section.value("final_scale"):
        raise section.error("final_scale", f"must be above 0 for the {section.value('schedule')} schedule")
    if warmup >= max(num_steps, 1):
        raise section.error("warmup_steps", f"must be fewer than the {num_steps} steps there are")
    rate = section.number("learning_rate", above=True)
    schedule = section.choice("schedule", SCHEDULES)(rate, max(num_steps - warmup, 1), final_scale)
    if warmup:
        schedule = optax.join_schedules([optax.linear_schedule(0.0, rate, warmup), schedule], [warmup])
    return schedule


class _Settings(NamedTuple):
    """One `optimizer` section; every number of it is checked, whatever its name makes of it."""

    schedule: optax.Schedule
    moments: dict[str, float]
    weight_decay: float
    clip_norm: float
    max_norm: float


def _read(section: Section, num_steps: int) -> _Settings:
    settings = _Settings(
        schedule=_schedule(section, num_steps),
        moments={
            "b1": section.number("b1", below=1.0),
            "b2": section.number("b2", below=1.0),
            "eps": section.number("eps", above=True),
        },
        weight_decay=section.number("weight_decay"),
        clip_norm=section.number("clip_norm"),
        max_norm=section.number("max_norm", above=True),
    )
    if section.value("weight_decay") and section.value("name") != "adamw":
        raise section.error("weight_decay", "needs optimizer.name=adamw")
    return settings


def adam(section: Section, num_steps: int, max_skipped: int = 0) -> optax.GradientTransformation:
    """Clipping of the global gradient norm, then Adam or AdamW.

    With max_skipped, a step whose gradient is not finite is left out, up to so many in a row.
    """
    if section.value("name") in ("natural_gradient", "quasi_newton"):
        raise section.error("name", "is for a Gaussian q(z), not an encoder or a flow: take adam or adamw")
    settings = _read(section, num_steps)
    make = section.choice(
        "name", {"adam": optax.adam, "adamw": partial(optax.adamw, weight_decay=settings.weight_decay)}
    )
    optimizer = make(settings.schedule, **settings.moments)
    if section.value("clip_norm"):
        optimizer = optax.chain(optax.clip_by_global_norm(settings.clip_norm), optimizer)
    return optax.apply_if_finite(optimizer, max_skipped) if max_skipped else optimizer


def gaussian_solver(section: Section, num_steps: int) -> SolverOf:
    """What moves phi of a Gaussian family, as a section with `optimizer` and `objective` has it."""
    optimizer, objective = section.section("optimizer"), section.section("objective")
    if optimizer.value("name") not in ("natural_gradient", "quasi_newton"):
        return flow_solver(section, num_steps)
    draws, bound = objective.integer("num_samples", 1), local_objective(objective)
    settings = _read(optimizer, num_steps)
    if optimizer.value("clip_norm"):
        raise optimizer.error("clip_norm", f"has no effect on {optimizer.value('name')}: max_norm bounds it")
    rate = optimizer.value("learning_rate")

    def check(family: PosteriorFamily) -> None:
        if rate * settings.max_norm >= family.gaussian.longest_step:
            raise optimizer.error(
                "max_norm",
                f"a step of learning_rate * max_norm = {rate * settings.max_norm:g} can leave the family: "
                f"take less than {family.gaussian.longest_step / rate:.3g} for {family.name}",
            )

    if optimizer.value("name") == "quasi_newton":
        if objective.value("name") != "elbo" or not objective.value("antithetic"):
            raise objective.error("name", "quasi_newton has its own gradient of the elbo, antithetic=True")

        def newton(family: PosteriorFamily) -> Solver:
            check(family)
            return quasi_newton(family, settings.schedule, num_samples=draws, max_norm=settings.max_norm)

        return newton

    def natural(family: PosteriorFamily) -> Solver:
        check(family)
        steps = optax.chain(
            natural_gradient(family, max_norm=settings.max_norm),
            optax.scale_by_learning_rate(settings.schedule),
        )
        held = objective.value("name") == "stick_the_landing"
        return stochastic_gradient(family, bound, steps, num_samples=draws, holds_density=held)

    return natural


def flow_solver(section: Section, num_steps: int) -> SolverOf:
    """The same of any family, by an optimizer that knows nothing of it."""
    transformation, objective = adam(section.section("optimizer"), num_steps), section.section("objective")
    bound, draws = local_objective(objective), objective.integer("num_samples", 1)
    return lambda family: stochastic_gradient(
        family,
        bound,
        transformation,
        num_samples=draws,
        holds_density=objective.value("name") == "stick_the_landing",
    )
