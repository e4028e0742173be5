"""Optimizers and the inner loop's solvers from a config."""

from vaelab.config.objective import local_objective
from vaelab.config.section import Section
from vaelab.inference.optimizer import GAUSSIAN_SOLVERS, SCHEDULES, SOLVERS, InnerLoop, Optimizer
from vaelab.types import PosteriorFamily

ADAMS = {name: name for name in SOLVERS if name not in GAUSSIAN_SOLVERS}


def read_optimizer(section: Section, num_steps: int) -> Optimizer:
    """One `optimizer` section; every number of it is checked, whatever its name makes of it."""
    warmup_steps, final_scale = section.integer("warmup_steps", 0), section.number("final_scale")
    if section.value("schedule") in ("exponential", "powers_of_three") and not final_scale:
        raise section.error("final_scale", f"must be above 0 for the {section.value('schedule')} schedule")
    if warmup_steps >= max(num_steps, 1):
        raise section.error("warmup_steps", f"must be fewer than the {num_steps} steps there are")
    learning_rate = section.number("learning_rate", above=True)
    section.choice("schedule", SCHEDULES)
    optimizer = Optimizer(
        name=section.value("name"),
        schedule=section.value("schedule"),
        learning_rate=learning_rate,
        final_scale=final_scale,
        warmup_steps=warmup_steps,
        b1=section.number("b1", below=1.0),
        b2=section.number("b2", below=1.0),
        eps=section.number("eps", above=True),
        weight_decay=section.number("weight_decay"),
        clip_norm=section.number("clip_norm") or None,
        max_norm=section.number("max_norm", above=True),
    )
    if optimizer.weight_decay and optimizer.name != "adamw":
        raise section.error("weight_decay", "needs optimizer.name=adamw")
    return optimizer


def adam(section: Section, num_steps: int) -> Optimizer:
    """Adam or AdamW, of what is no Gaussian q(z). Raises ConfigError."""
    if section.value("name") in GAUSSIAN_SOLVERS:
        raise section.error("name", "is for a Gaussian q(z), not an encoder or a flow: take adam or adamw")
    optimizer = read_optimizer(section, num_steps)
    section.choice("name", ADAMS)
    return optimizer


def gaussian_loop(section: Section, num_steps: int) -> InnerLoop:
    """What moves phi of a Gaussian family, as a section with `optimizer` and `objective` has it."""
    optimizer, objective = section.section("optimizer"), section.section("objective")
    if optimizer.value("name") not in GAUSSIAN_SOLVERS:
        return flow_loop(section, num_steps)
    bound, settings = local_objective(objective), read_optimizer(optimizer, num_steps)
    if settings.clip_norm is not None:
        raise optimizer.error("clip_norm", f"has no effect on {settings.name}: max_norm bounds it")
    if settings.name == "quasi_newton" and (bound.name != "elbo" or not bound.antithetic):
        raise objective.error("name", "quasi_newton has its own gradient of the elbo, antithetic=True")
    return InnerLoop(settings, bound, num_steps)


def flow_loop(section: Section, num_steps: int) -> InnerLoop:
    """The same for any family, by an optimizer that knows nothing of it."""
    settings = adam(section.section("optimizer"), num_steps)
    return InnerLoop(settings, local_objective(section.section("objective")), num_steps)


def check_steps(section: Section, loop: InnerLoop, family: PosteriorFamily) -> None:
    """Raises ConfigError where a step of the loop can leave the family. section: as of `gaussian_loop`."""
    settings = loop.optimizer
    longest = family.gaussian.longest_step if family.gaussian else float("inf")
    step = settings.learning_rate * settings.max_norm
    if settings.name in GAUSSIAN_SOLVERS and step >= longest:
        raise section.section("optimizer").error(
            "max_norm",
            f"a step of learning_rate * max_norm = {step:g} can leave the family: "
            f"take less than {longest / settings.learning_rate:.3g} for {family.name}",
        )
