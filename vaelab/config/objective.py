"""Objectives from a config, and which of them fit together with what."""

from vaelab.config.section import Section
from vaelab.inference.optimizer import LocalObjective
from vaelab.objective import OBJECTIVES
from vaelab.training.recipe import TrainingObjective
from vaelab.types import PosteriorFamily

ELBOS = {name: entry for name, entry in OBJECTIVES.items() if entry.is_elbo}
CHECKED = ("name", "num_samples", "antithetic", "beta", "warmup_steps", "min_kl", "alpha")


def _draws(section: Section) -> dict[str, int | bool]:
    num_samples, antithetic = section.integer("num_samples", 1), section.boolean("antithetic")
    if antithetic and num_samples % 2:
        raise section.error("num_samples", "antithetic draws come in pairs: take an even number")
    return {"num_samples": num_samples, "antithetic": antithetic}


def local_objective(section: Section) -> LocalObjective:
    """The bound that the inner loop maximises. Raises ConfigError for one whose optimum is not q*."""
    name = section.value("name")
    if name in OBJECTIVES and name not in ELBOS:
        raise section.error("name", f"q* is the optimum of the ELBO; here it can be {', '.join(ELBOS)}")
    section.choice("name", ELBOS)
    return LocalObjective(name, **_draws(section))


def training_objective(section: Section, num_steps: int) -> TrainingObjective:
    """The bound that training maximises, every setting of the section checked. Raises ConfigError."""
    entry, name = section.choice("name", OBJECTIVES), section.value("name")
    beta, warmup_steps = section.number("beta"), section.integer("warmup_steps", 0)
    numbers = {
        "beta": beta,
        "min_kl": section.number("min_kl"),
        "alpha": section.number("alpha", -float("inf")),
    }
    if "beta" not in entry.settings and (beta != 1.0 or warmup_steps):
        key = "beta" if beta != 1.0 else "warmup_steps"
        raise section.error(key, "needs --config.objective.name=beta_elbo")
    if warmup_steps > num_steps:
        raise section.error("warmup_steps", f"must be at most the {num_steps} steps of the training")
    if "min_kl" not in entry.settings and numbers["min_kl"]:
        raise section.error("min_kl", "needs --config.objective.name=free_bits")
    draws = _draws(section)
    if entry.needs_independent and draws["antithetic"]:
        raise section.error("antithetic", f"{name} is unbiased for independent draws only: take False")
    if "alpha" in entry.settings and numbers["alpha"] == 1.0:
        raise section.error("alpha", "is the ELBO: take --config.objective.name=elbo_from_draws")
    # An objective that is added has settings of its own, which it checks itself.
    others = {name for other in OBJECTIVES.values() for name in other.settings} - set(CHECKED)
    numbers |= {name: section.value(name) for name in sorted(others)}
    settings = tuple((name, numbers[name]) for name in entry.settings)
    return TrainingObjective(name, **draws, settings=settings, warmup_steps=warmup_steps or None)


def check_pair(section: Section, family: PosteriorFamily) -> None:
    """Raises ConfigError for an objective that needs of the family what it has not."""
    name = section.value("name")
    if family.kl_to_prior is None and name in OBJECTIVES and OBJECTIVES[name].needs_closed_kl:
        raise section.error(
            "name", f"{family.name} has no closed-form KL to the prior: take elbo_from_draws, iwae or dreg"
        )
