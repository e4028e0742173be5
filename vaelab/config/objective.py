"""Objectives from a config, and which of them fit together with what."""

from collections.abc import Callable, Mapping
from functools import partial

import jax.numpy as jnp

from vaelab import objective
from vaelab.config.section import Section
from vaelab.objective import multisample
from vaelab.types import Array, Objective, PosteriorFamily

# What the inner loop can maximise: q* is the optimum of the ELBO.
ELBO_OBJECTIVES: Mapping[str, Callable] = {
    "elbo": objective.elbo,
    "elbo_from_draws": objective.elbo_from_draws,
    "stick_the_landing": objective.stick_the_landing,
}
OBJECTIVES: Mapping[str, Callable] = {
    **ELBO_OBJECTIVES,
    "beta_elbo": objective.beta_elbo,
    "free_bits": objective.free_bits,
    "iwae": multisample.iwae,
    "dreg": multisample.dreg,
    "renyi": multisample.renyi,
}
CLOSED_KL = ("elbo", "free_bits")


def _draws(section: Section) -> dict[str, int | bool]:
    num_samples, antithetic = section.integer("num_samples", 1), section.boolean("antithetic")
    if antithetic and num_samples % 2:
        raise section.error("num_samples", "antithetic draws come in pairs: take an even number")
    return {"num_samples": num_samples, "antithetic": antithetic}


def local_objective(section: Section) -> Objective:
    """The bound that the inner loop maximises."""
    name = section.value("name")
    if name in OBJECTIVES and name not in ELBO_OBJECTIVES:
        known = ", ".join(ELBO_OBJECTIVES)
        raise section.error("name", f"q* is the optimum of the ELBO; here it can be {known}")
    return partial(section.choice("name", ELBO_OBJECTIVES), **_draws(section))


def train_objective(section: Section, num_steps: int) -> tuple[Objective, Callable[[Array], Array] | None]:
    """The bound that training maximises, and the weight of its KL at each step where that changes."""
    function, name = section.choice("name", OBJECTIVES), section.value("name")
    beta, warmup_steps = section.number("beta"), section.integer("warmup_steps", 0)
    alpha, min_kl = section.number("alpha", -float("inf")), section.number("min_kl")
    warms_up = bool(section.value("warmup_steps"))
    if name != "beta_elbo" and (section.value("beta") != 1.0 or warms_up):
        key = "beta" if section.value("beta") != 1.0 else "warmup_steps"
        raise section.error(key, "needs --config.objective.name=beta_elbo")
    if section.value("warmup_steps") > num_steps:
        raise section.error("warmup_steps", f"must be at most the {num_steps} steps of the training")
    if name != "free_bits" and section.value("min_kl"):
        raise section.error("min_kl", "needs --config.objective.name=free_bits")
    bound = partial(function, **_draws(section))
    if name == "dreg" and section.value("antithetic"):
        raise section.error("antithetic", "dreg is unbiased for independent draws only: take False")
    if name == "renyi":
        if section.value("alpha") == 1.0:
            raise section.error("alpha", "is the ELBO: take --config.objective.name=elbo_from_draws")
        bound = partial(bound, alpha=alpha)
    if name == "free_bits":
        bound = partial(bound, min_kl=min_kl)
    if name != "beta_elbo":
        return bound, None
    if not warms_up:
        return partial(bound, beta=beta), None
    return bound, lambda step: beta * jnp.minimum(step / warmup_steps, 1.0)


def check_pair(section: Section, family: PosteriorFamily) -> None:
    """Raises ConfigError for an objective that the family has not what it needs for."""
    name = section.value("name")
    if family.kl_to_prior is None and name in CLOSED_KL:
        raise section.error(
            "name", f"{family.name} has no closed-form KL to the prior: take elbo_from_draws, iwae or dreg"
        )
