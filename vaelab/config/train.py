"""What is trained, stage by stage, from a config: the model in its regime, then encoders on it."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax

from vaelab import data
from vaelab.config.objective import ELBOS, check_pair, training_objective
from vaelab.config.optimizer import adam
from vaelab.config.posterior import encoder
from vaelab.config.regime import check_learning, training_regime
from vaelab.config.section import Section
from vaelab.inference.loop import Loop
from vaelab.measure.fit import InferenceSettings
from vaelab.posterior.project import searched_as
from vaelab.training.recipe import Recipe
from vaelab.training.regime import Regime, amortized
from vaelab.training.step import System
from vaelab.types import Encoder, Key, LatentModel, Network, PosteriorFamily

Observe = Callable[[Key, jax.Array], jax.Array]
Computed = Callable[[Network], Network]
"""How a network is computed: as it is, or `in_bfloat16`."""


class TrainSettings(NamedTuple):
    """The host loop's own numbers; see `defaults`. bound_name: the name of the bound."""

    bound_name: str
    num_steps: int
    batch_size: int
    chunk_size: int
    evaluate_every: int
    checkpoint_every: int
    keep_checkpoints: int
    validation_samples: int
    stop_after: int
    keep_best: bool
    max_skipped: int
    devices: int


class Stage(NamedTuple):
    """One training: of the model with the trained family (`train`), or of an encoder on it, held fixed.

    system: as it is measured, in float32. recipe: as it is trained, in the config's train.dtype and with the
    prior's `fast_log_prob`.
    """

    name: str
    family: str
    system: System
    recipe: Recipe
    num_steps: int


def train_settings(top: Section) -> TrainSettings:
    """The section `train`, every number checked. Raises ConfigError."""
    section, objective = top.section("train"), top.section("objective").value("name")
    settings = TrainSettings(
        bound_name="elbo" if objective in ELBOS else objective,
        num_steps=section.integer("num_steps", 1),
        batch_size=section.integer("batch_size", 1),
        chunk_size=section.integer("chunk_size", 1),
        evaluate_every=section.integer("evaluate_every", 1),
        checkpoint_every=section.integer("checkpoint_every", 1),
        keep_checkpoints=section.integer("keep_checkpoints", 2),
        validation_samples=section.integer("validation_samples", 2),
        stop_after=section.integer("stop_after", 0),
        keep_best=_keep_best(section),
        max_skipped=section.integer("max_skipped", 0),
        devices=section.integer("devices", 1),
    )
    periods = {"evaluate_every": settings.evaluate_every, "checkpoint_every": settings.checkpoint_every}
    for name, period in periods.items():
        if period % settings.chunk_size:
            raise section.error(name, f"must be a multiple of chunk_size={settings.chunk_size}")
    return settings


def _keep_best(section: Section) -> bool:
    """Whether the state with the best validation ELBO is measured, and not the last one."""
    value = section.value("keep_best")
    if value not in ("", "validation_elbo"):
        raise section.error("keep_best", "must be validation_elbo, or '' for the last state")
    return value != ""


class Planned(NamedTuple):
    """A stage to be: its family's name, its steps, and its recipe."""

    name: str
    family: str
    num_steps: int
    recipe: Recipe


def plan(
    top: Section,
    split: data.Split,
    image_shape: tuple[int, ...],
    observe: Observe,
    train: TrainSettings,
    families: dict[str, PosteriorFamily],
    inference: dict[str, InferenceSettings],
    model: LatentModel,
    computed: Computed,
) -> list[Planned]:
    """What is trained on a split, in order, in one way of computing networks. Raises ConfigError.

    computed: how the networks of the encoders are, those of the model being in it.
    """
    learn, learning = top.section("model").boolean("learn"), top.section("learning")
    encoders = read_encoders(top, families, image_shape, computed)
    trained, family = next(iter(families.items()))
    settings = inference[trained]
    check_learning(learning, top.section("objective"))
    regime = training_regime(
        learning,
        family,
        model,
        encoders[trained],
        split=split,
        num_steps=train.num_steps,
        batch_size=train.batch_size,
        learn_model=learn,
        from_scratch=Loop(searched_as(family), settings.solver(searched_as(family)), settings.num_steps),
    )
    recipe = partial(_recipe, top, train, model=model, observe=observe)
    first = recipe(train.num_steps, family=family, regime=regime, learn_model=learn)
    planned = [Planned("train", trained, train.num_steps, first)]
    refit_steps, refitted = _refitted(top, families)
    for name in refitted:
        has_encoder = name == trained and regime.expect is None
        if not has_encoder:
            again = amortized(encoders[name], families[name])
            fixed = recipe(refit_steps, family=families[name], regime=again, learn_model=False)
            planned.append(Planned(f"refit_{name}", name, refit_steps, fixed))
    return planned


def read_encoders(
    top: Section, families: dict[str, PosteriorFamily], image_shape: tuple[int, ...], computed: Computed
) -> dict[str, Encoder]:
    """The encoder of each family."""
    section = top.section("encoder")
    return {name: encoder(section, family, image_shape, computed) for name, family in families.items()}


def _refitted(top: Section, families: dict[str, PosteriorFamily]) -> tuple[int, tuple[str, ...]]:
    """(steps, the families that get an encoder on the trained model, in their order)."""
    section = top.section("refit")
    num_steps, names = section.integer("num_steps", 0), tuple(families)
    if section.value("families"):
        chosen = section.choices("families", families)
        names = tuple(name for name in families if name in chosen)
    return num_steps, names if num_steps else ()


def _recipe(
    top: Section,
    train: TrainSettings,
    num_steps: int,
    *,
    model: LatentModel,
    family: PosteriorFamily,
    regime: Regime,
    observe: Observe,
    learn_model: bool,
) -> Recipe:
    check_pair(top.section("objective"), family)
    objective = training_objective(top.section("objective"), train.num_steps)
    num_updates = num_steps * regime.model_steps
    optimizer = adam(top.section("train").section("optimizer"), num_updates)
    return Recipe(
        model, family, regime, observe, learn_model, objective, optimizer, num_updates, train.max_skipped
    )


def stages(planned: list[Planned], trained: list[Planned]) -> tuple[Stage, ...]:
    """What is planned in float32, with the recipes of the way in which it is trained."""
    no_numbers: dict[str, Any] = {}
    return tuple(
        Stage(one.name, one.family, one.recipe(no_numbers), other.recipe, one.num_steps)
        for one, other in zip(planned, trained, strict=True)
    )
