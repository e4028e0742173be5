"""From a config to functions: the only place where a name in a config becomes code.

Everything is checked here, before a run writes or computes anything; `ConfigError` is one line that
names the setting and the fix.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from vaelab import data
from vaelab.config.evaluate import evaluate_settings, inference_settings
from vaelab.config.model import dataset as load_dataset
from vaelab.config.model import decoder_model, linear_gaussian, simulated
from vaelab.config.objective import ELBO_OBJECTIVES, check_pair, train_objective
from vaelab.config.optimizer import adam
from vaelab.config.posterior import FAMILIES, check_memory, encoder, families
from vaelab.config.regime import check_learning, learned_in, training_regime
from vaelab.config.section import Section
from vaelab.data.observe import observe as observe_examples
from vaelab.data.sources import SPLITS
from vaelab.inference.loop import Loop
from vaelab.keys import Keys, named_key
from vaelab.measure.fit import InferenceSettings
from vaelab.measure.subject import EvaluateSettings, Inputs
from vaelab.model import networks
from vaelab.posterior.project import searched_as
from vaelab.training.regime import amortized
from vaelab.training.step import System
from vaelab.types import Key, LatentModel, Network, Params, PosteriorFamily

OBSERVATIONS: Mapping[str, Callable] = {
    "binarize": data.binarize,
    "dequantize": data.dequantize,
    "rescale": data.rescale,
}

Observe = Callable[[Key, jax.Array], jax.Array]


def _as_it_is(network: Network) -> Network:
    return network


DTYPES: Mapping[str, Callable[[Network], Network]] = {
    "float32": _as_it_is,
    "bfloat16": networks.in_bfloat16,
}


class TrainSettings(NamedTuple):
    """The host loop's own numbers; see `experiments/defaults.py`. bound_name: the name of the bound."""

    bound_name: str
    num_steps: int
    batch_size: int
    chunk_size: int
    evaluate_every: int
    checkpoint_every: int
    keep_checkpoints: int
    validation_samples: int
    max_skipped: int
    devices: int


class Stage(NamedTuple):
    """One training: of the model with the trained family (`train`), or of an encoder on it, held fixed.

    system: as it is measured, in float32; trained: as it is trained, in the config's train.dtype.
    system_of(numbers) is the trained one with other numbers in the config, by their names, traced ones too:
    those of its objective and optimizer.
    """

    name: str
    family: str
    system: System
    trained: System
    num_steps: int
    system_of: Callable[[Mapping[str, jax.Array]], System]


class Experiment(NamedTuple):
    """All that a run needs, with every name resolved and every number checked.

    families: those that are fitted locally, the trained one first.
    stages: what is trained, in order: first the model, with the trained family in the regime of the config,
        then an encoder of each family that has none.
    smoke: whether its figures are of no value, as it is a trial of the code.
    validation, inputs[split]: (x_NxD, index_N), each example observed once and for all; of the splits of
        the data that are measured.
    """

    latent_model: LatentModel
    theta: Params
    families: dict[str, PosteriorFamily]
    regime: str
    stages: tuple[Stage, ...]
    train_split: data.Split
    image_shape: tuple[int, ...]
    validation: Inputs
    inputs: dict[str, Inputs]
    train: TrainSettings
    evaluate: EvaluateSettings
    order_seed: int
    keys: Keys
    smoke: bool


def build(config: Any) -> Experiment:
    """Resolves a config. Raises ConfigError, or DataError where its data set is not at hand."""
    top = Section(config)
    seed = top.integer("seed", 0)
    keys = _keys(seed)
    data_section, model_section = top.section("data"), top.section("model")
    if data_section.value("name") == "simulated":
        latent_model = linear_gaussian(model_section)
        train, family_of = _trained(top, latent_model)
        truth = latent_model.init(keys.model)
        dataset, observe = simulated(data_section, latent_model, truth), data.identity
        # What is learned starts elsewhere than at the model that the data come from.
        theta = latent_model.init(keys.learned) if model_section.boolean("learn") else truth
    else:
        dataset = load_dataset(data_section)
        observe = partial(data_section.choice("observation", OBSERVATIONS), max_value=dataset.max_value)
        latent_model = decoder_model(model_section, dataset, data_section.value("observation"), _as_it_is)
        train, family_of = _trained(top, latent_model)
        theta = latent_model.init(keys.model)

    key_observe = named_key(data_section.integer("seed", 0), "observe")
    train_split, observe_training = dataset.splits["train"], observe
    if data_section.value("name") != "simulated" and _once(top):
        x_NxD, _ = _observed(key_observe, train_split, observe, 0)
        train_split, observe_training = train_split._replace(pixels_NxD=x_NxD), data.identity
    inference = inference_settings(top, family_of)
    stages_with = partial(_stages, top, dataset, observe_training, train, family_of, inference)
    stages = stages_with(latent_model, _as_it_is)
    computed = top.section("train").choice("dtype", DTYPES)
    if computed is not _as_it_is:
        trained_model = latent_model
        if data_section.value("name") != "simulated":
            trained_model = decoder_model(model_section, dataset, data_section.value("observation"), computed)
        stages = tuple(
            stage._replace(trained=other.trained, system_of=other.system_of)
            for stage, other in zip(stages, stages_with(trained_model, computed), strict=True)
        )
    regime = learned_in(top.section("learning"))
    encoded = tuple(dict.fromkeys(s.family for s in stages if s.name != "train" or regime != "mean_field"))
    evaluate = evaluate_settings(top, family_of, inference, encoded)
    experiment = Experiment(
        latent_model=latent_model,
        theta=theta,
        families=family_of,
        regime=regime,
        stages=stages,
        train_split=train_split,
        image_shape=dataset.image_shape,
        validation=_observed(key_observe, dataset.splits["validation"], observe, 0),
        inputs={
            name: _observed(key_observe, dataset.splits[name], observe, evaluate.max_points)
            for name in SPLITS
            if name in evaluate.splits or (name == "test" and "corrupted" in evaluate.splits)
        },
        train=train,
        evaluate=evaluate,
        order_seed=seed,
        keys=keys,
        smoke="smoke" in config and top.boolean("smoke"),
    )
    top.close()
    return experiment


def _keys(seed: int) -> Keys:
    return Keys(*(named_key(seed, purpose) for purpose in Keys._fields))


def renumbered(experiment: Experiment, seed: int, numbers: Mapping[str, float]) -> Experiment:
    """The experiment of another seed and of other numbers, by name: of what it trains by, and TOLERANCE.

    With the same functions and data, so that what is compiled serves again: not for simulated data.
    """
    keys, stages, evaluate = _keys(seed), experiment.stages, experiment.evaluate
    if numbers:
        stages = tuple(stage._replace(trained=stage.system_of(numbers)) for stage in stages)
    if TOLERANCE in numbers:
        tolerance = float(numbers[TOLERANCE])
        inference = {name: s._replace(tolerance=tolerance) for name, s in evaluate.inference.items()}
        evaluate = evaluate._replace(inference=inference)
    return experiment._replace(
        theta=experiment.latent_model.init(keys.model),
        stages=stages,
        evaluate=evaluate,
        order_seed=seed,
        keys=keys,
    )


TOLERANCE = "inference.tolerance"


def _once(top: Section) -> bool:
    """Whether training too sees each example as it was observed once and for all."""
    section = top.section("data")
    once = section.choice("observe", {"each_step": False, "once": True})
    drawn = section.value("observation") in ("binarize", "dequantize")
    if not once and drawn and learned_in(top.section("learning")) == "mean_field":
        raise section.error(
            "observe", "a row of the table is for one x, and each step draws another: take once"
        )
    return once


def _trained(top: Section, latent_model: LatentModel) -> tuple[TrainSettings, dict[str, PosteriorFamily]]:
    """Checked before any parameter is made, as there may be too many for the memory."""
    train = _train_settings(top)
    return train, _families(top, latent_model.latent_dim, train.batch_size)


def _train_settings(top: Section) -> TrainSettings:
    section, objective = top.section("train"), top.section("objective").value("name")
    settings = TrainSettings(
        bound_name="elbo" if objective in ELBO_OBJECTIVES else objective,
        num_steps=section.integer("num_steps", 1),
        batch_size=section.integer("batch_size", 1),
        chunk_size=section.integer("chunk_size", 1),
        evaluate_every=section.integer("evaluate_every", 1),
        checkpoint_every=section.integer("checkpoint_every", 1),
        keep_checkpoints=section.integer("keep_checkpoints", 2),
        validation_samples=section.integer("validation_samples", 2),
        max_skipped=section.integer("max_skipped", 0),
        devices=section.integer("devices", 1),
    )
    periods = {"evaluate_every": settings.evaluate_every, "checkpoint_every": settings.checkpoint_every}
    for name, period in periods.items():
        if period % settings.chunk_size:
            raise section.error(name, f"must be a multiple of chunk_size={settings.chunk_size}")
    return settings


def _stages(
    top: Section,
    dataset: data.DataSet,
    observe: Observe,
    train: TrainSettings,
    families: dict[str, PosteriorFamily],
    inference: dict[str, InferenceSettings],
    latent_model: LatentModel,
    computed: Callable[[Network], Network],
) -> tuple[Stage, ...]:
    """computed: how the networks of the encoders are, those of the model being in it."""
    learn, learning = top.section("model").boolean("learn"), top.section("learning")
    refit_steps = top.section("refit").integer("num_steps", 0)
    refitted = tuple(families)
    if top.section("refit").value("families"):
        refitted = top.section("refit").choices("families", families)

    encoders = {
        name: encoder(top.section("encoder"), family, dataset.image_shape, computed)
        for name, family in families.items()
    }
    trained, family = next(iter(families.items()))
    searched = searched_as(family)
    settings = inference[trained]
    check_learning(learning, top.section("objective"))
    regime = training_regime(
        learning,
        family,
        latent_model,
        encoders[trained],
        split=dataset.splits["train"],
        num_steps=train.num_steps,
        batch_size=train.batch_size,
        learn_model=learn,
        from_scratch=Loop(searched, settings.solver(searched), settings.num_steps),
    )
    stage = partial(_stage, top, train, model=latent_model, observe=observe)
    stages = [stage("train", train.num_steps, family=family, regime=regime, learn_model=learn)]
    for name, family in families.items():
        has_encoder = name == trained and regime.expect is None
        if refit_steps and name in refitted and not has_encoder:
            again = amortized(encoders[name], family)
            stages.append(stage(f"refit_{name}", refit_steps, family=family, regime=again, learn_model=False))
    return tuple(stages)


def _stage(top: Section, train: TrainSettings, name: str, num_steps: int, **fixed: Any) -> Stage:
    """fixed: the fields of the stage's system that no number of the config changes."""
    family, regime = fixed["family"], fixed["regime"]
    check_pair(top.section("objective"), family)

    def system_of(numbers: Mapping[str, jax.Array]) -> System:
        section = top.with_numbers(numbers) if numbers else top
        bound, kl_weight = train_objective(section.section("objective"), train.num_steps)
        num_updates = num_steps * regime.model_steps
        optimizer = adam(section.section("train").section("optimizer"), num_updates, train.max_skipped)
        return System(objective=bound, kl_weight=kl_weight, optimizer=optimizer, **fixed)

    system = system_of({})
    return Stage(name, family.name, system, system, num_steps, system_of)


def _families(top: Section, latent_dim: int, batch_size: int) -> dict[str, PosteriorFamily]:
    names = top.section("inference").choices("families", FAMILIES)
    hidden = top.section("encoder").widths("hidden")
    for name in names:
        last_width = hidden[-1] if hidden else 1
        check_memory(top.section("model"), name, latent_dim, last_width, batch_size)
    return families(top.section("posterior"), names, latent_dim)


def _observed(key: Key, split: data.Split, observe: Observe, max_points: int) -> Inputs:
    """Each example observed with fold_in(key, its index): the same x in every run, split and order."""
    rows = slice(0, max_points or None)
    index_N = split.index_N[rows]
    x_NxD = jax.jit(partial(observe_examples, observation=observe))(key, split.pixels_NxD[rows], index_N)
    return Inputs(np.asarray(x_NxD), index_N)
