"""Learning regimes from a config."""

from collections.abc import Callable

import numpy as np

from vaelab.config.objective import ELBOS, check_pair
from vaelab.config.optimizer import check_steps, flow_loop, gaussian_loop
from vaelab.config.section import Section
from vaelab.data.sources import Split
from vaelab.inference.loop import Loop
from vaelab.posterior.project import searched_as
from vaelab.runtime.memory import of_machine
from vaelab.training import regime
from vaelab.training.regime import Regime
from vaelab.types import Encoder, LatentModel, PosteriorFamily

REGIMES = ("amortized", "mean_field", "semi_amortized")
# The table, the bytes that a checkpoint is made of, and what a step writes before it lets the old one go.
COPIES = 3


def learned_in(section: Section) -> str:
    """The name of the regime."""
    return section.choice("regime", {name: name for name in REGIMES})


def check_learning(section: Section, objective: Section) -> None:
    """Raises ConfigError for a training bound that the rows of a table would not climb with the model."""
    name = objective.value("name")
    if learned_in(section) == "mean_field" and name not in ELBOS:
        known = ", ".join(ELBOS)
        raise objective.error("name", f"the rows of mean_field climb the ELBO, so must the model: {known}")


def training_regime(
    section: Section,
    family: PosteriorFamily,
    model: LatentModel,
    encoder: Encoder,
    *,
    split: Split,
    num_steps: int,
    batch_size: int,
    learn_model: bool,
    from_scratch: Loop,
) -> Regime:
    """The regime that section `learning` names, with every setting of it checked.

    split: the training set; from_scratch: how mean-field learning infers a datapoint that is new.
    """
    name, local = learned_in(section), section.section("local")
    expect_steps, refinements = section.integer("expect_steps", 1), section.integer("refinements", 1)
    model_steps, at_once = section.integer("model_steps", 1), section.boolean("at_once")
    unrolled = section.boolean("unrolled")
    visits = -(-num_steps * batch_size // len(split.index_N))
    steps = {"mean_field": expect_steps, "semi_amortized": refinements}.get(name, 1)
    if family.shared_of is not None and name != "amortized":
        raise section.error(
            "regime", f"cannot learn {family.name}, whose q hang on the prior: take amortized"
        )
    fitted = searched_as(family)
    make: Callable = gaussian_loop if family.gaussian else flow_loop
    if name == "amortized":
        gaussian_loop(local, steps)  # reads and checks what then has no effect
        return regime.amortized(encoder, family)
    check_pair(local.section("objective"), family)
    inner = make(local, steps * visits if name == "mean_field" else steps)
    check_steps(local, inner, fitted)
    loop = Loop(fitted, inner(fitted), steps)
    if name == "semi_amortized":
        if unrolled and local.section("optimizer").value("name") == "quasi_newton":
            raise local.section("optimizer").error(
                "name", "its curvature has no derivative for unrolled steps: take natural_gradient or adam"
            )
        return regime.semi_amortized(encoder, family, model, loop, unrolled=unrolled)
    if not learn_model:
        raise section.error("regime", "with model.learn=False there is nothing to learn: take amortized")
    _check_table(section, loop, split)
    return regime.mean_field(
        family,
        model,
        loop,
        from_scratch,
        num_points=len(split.index_N),
        model_steps=model_steps,
        at_once=at_once,
    )


def _check_table(section: Section, loop: Loop, split: Split) -> None:
    """Raises ConfigError where rows cannot be told apart, or their table does not fit."""
    count = len(split.index_N)
    if len(np.unique(split.index_N)) < count:
        raise section.error(
            "regime", "the training examples have no index of their own, which the rows need: take amortized"
        )
    needed = COPIES * regime.table_bytes(loop, count)
    available = of_machine()
    if needed > available:
        raise section.error(
            "regime",
            f"the table of {count:,} x {loop.family.param_size:,} numbers and what the solver keeps of each "
            f"row take {needed:,} bytes, and this machine has {available:,}: take a smaller data.num_train, "
            "a smaller family, or natural_gradient, which keeps nothing",
        )
