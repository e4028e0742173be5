"""What is trained and how, as records of numbers: a `System` for each choice of the numbers that may vary.

Runs that differ in these numbers alone are one program, in which they are arguments.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp

from vaelab.inference.optimizer import Number, Optimizer, adam
from vaelab.model.prior import has_known_prior
from vaelab.objective import OBJECTIVES
from vaelab.training.regime import Regime
from vaelab.training.step import System
from vaelab.types import Array, Key, LatentModel, Objective, PosteriorFamily

# By the dotted names of a config's settings; TOLERANCE is the one that training does not know.
NUMBERS = (
    "train.optimizer.learning_rate",
    "train.optimizer.final_scale",
    "train.optimizer.b1",
    "train.optimizer.b2",
    "train.optimizer.eps",
    "train.optimizer.weight_decay",
    "train.optimizer.clip_norm",
    "objective.beta",
    "objective.warmup_steps",
    "objective.min_kl",
    "objective.alpha",
)
TOLERANCE = "inference.tolerance"


class TrainingObjective(NamedTuple):
    """The bound that training maximises, a key of OBJECTIVES, with its samples and the numbers that it takes.

    settings: (name, number) of each of these, as beta. warmup_steps: steps over which beta rises from 0; None
    where it does not.
    """

    name: str
    num_samples: int
    antithetic: bool
    settings: tuple[tuple[str, Number], ...] = ()
    warmup_steps: Number | None = None

    def bound(self) -> tuple[Objective, Callable[[Array], Array] | None]:
        """(the bound, the weight of its KL at each step where that changes)."""
        draws = {"num_samples": self.num_samples, "antithetic": self.antithetic}
        numbers = dict(self.settings)
        function = partial(OBJECTIVES[self.name].bound, **draws)
        if self.warmup_steps is None:
            return partial(function, **numbers), None
        beta, warmup_steps = numbers.pop("beta"), self.warmup_steps
        return partial(function, **numbers), lambda step: beta * jnp.minimum(step / warmup_steps, 1.0)

    def at(self, numbers: Mapping[str, Number]) -> "TrainingObjective":
        """The same with other numbers, by their names; of those that it does not take nothing is made."""
        settings = tuple((name, numbers.get(name, value)) for name, value in self.settings)
        warmup = self.warmup_steps
        if warmup is not None:
            warmup = numbers.get("warmup_steps", warmup)
        return self._replace(settings=settings, warmup_steps=warmup)


class Recipe(NamedTuple):
    """A system but for the numbers that may vary: called with these, by dotted name, it is the `System`.

    num_updates: steps of the optimizer in all. max_skipped: steps in a row that may be left out. Equal
    recipes are one compiled program.
    """

    model: LatentModel
    family: PosteriorFamily
    regime: Regime
    observe: Callable[[Key, Array], Array]
    learn_model: bool
    objective: TrainingObjective
    optimizer: Optimizer
    num_updates: int
    max_skipped: int

    def __call__(self, numbers: Mapping[str, Number]) -> System:
        bound, kl_weight = self.objective.at(_below("objective", numbers)).bound()
        changed = _below("train.optimizer", numbers)
        if self.optimizer.clip_norm is None:
            changed.pop("clip_norm", None)
        optimizer = self.optimizer._replace(**changed)
        return System(
            model=self.model,
            family=self.family,
            regime=self.regime,
            objective=bound,
            optimizer=adam(optimizer, self.num_updates, self.max_skipped),
            observe=self.observe,
            learn_model=self.learn_model,
            kl_weight=kl_weight,
            weighs_kl=OBJECTIVES[self.objective.name].weighs_kl and not has_known_prior(self.model),
        )


def _below(section: str, numbers: Mapping[str, Number]) -> dict[str, Number]:
    """The numbers of one section of the config, by their last names."""
    prefix = f"{section}."
    return {name.removeprefix(prefix): n for name, n in numbers.items() if name.startswith(prefix)}
