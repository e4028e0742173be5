"""An experiment from its config, with every name resolved and every number checked.

Everything is checked here, before a run writes or computes anything; `ConfigError` is one line that
names the setting and the fix.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from vaelab import data
from vaelab.config.condition import (
    beside,
    check_condition,
    check_log1p,
    input_shape,
    read_condition,
    with_condition,
)
from vaelab.config.data import check_batch, check_validation, first, observation
from vaelab.config.data import dataset as load_dataset
from vaelab.config.evaluate import evaluate_settings, inference_settings
from vaelab.config.log import read_log
from vaelab.config.model import decoder_model, linear_gaussian, simulated
from vaelab.config.posterior import check_memory, families
from vaelab.config.prior import check_objective, check_simulated, read_prior
from vaelab.config.regime import learned_in
from vaelab.config.section import Section
from vaelab.config.train import (
    Computed,
    Observe,
    Planned,
    Stage,
    TrainSettings,
    plan,
    stages,
    train_settings,
)
from vaelab.data.observe import observe_all
from vaelab.data.sources import SPLITS
from vaelab.keys import Keys, named_key, run_keys
from vaelab.measure.fit import InferenceSettings
from vaelab.measure.subject import EvaluateSettings, Inputs, Quantized
from vaelab.model import in_training, networks, with_prior
from vaelab.posterior import FAMILIES
from vaelab.training.recipe import TOLERANCE
from vaelab.types import Key, LatentModel, Network, Params, PosteriorFamily


def _as_it_is(network: Network) -> Network:
    return network


DTYPES: Mapping[str, Computed] = {"float32": _as_it_is, "bfloat16": networks.in_bfloat16}


class Experiment(NamedTuple):
    """All that a run needs.

    families: those that are fitted locally, the trained one first.
    stages: what is trained, in order: first the model, with the trained family in the regime of the config,
        then an encoder of each family that has none.
    smoke: whether its figures are of no value, as it is a trial of the code.
    validation, inputs[split]: (x_NxD, index_N), each example observed once and for all; of the splits of
        the data that are measured. labels[split]: of these datapoints, where the data have any.
    quantized: the levels of x; None where the likelihood is not of levels.
    log_to: the trackers that are told of the run, of `report.trackers.NAMES`.
    described: what the data are known by, see `vaelab.data.fingerprint`, and the notes of their reading; None
        of simulated ones, which the config makes.
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
    labels: dict[str, np.ndarray]
    quantized: Quantized | None
    train: TrainSettings
    evaluate: EvaluateSettings
    order_seed: int
    keys: Keys
    smoke: bool
    log_to: tuple[str, ...] = ("tensorboard",)
    described: dict[str, Any] | None = None


def build(config: Any, given: Any = None) -> Experiment:
    """Resolves a config; given: the data, in the place of those that it names.

    Raises ConfigError, or DataError where its data set is not at hand.
    """
    top = Section(config)
    seed = top.integer("seed", 0)
    keys, data_section = run_keys(seed), top.section("data")
    is_simulated = data_section.value("name") == "simulated"
    dataset = None if is_simulated else load_dataset(data_section, given)
    observe = data.identity if is_simulated else observation(data_section, dataset)
    as_read = dataset
    latent_model = read_model(top, dataset, _as_it_is)
    check_log1p(top)
    check_objective(top.section("objective"), latent_model)
    # Checked before any parameter is made, as there may be too many for the memory.
    train = train_settings(top)
    family_of = read_families(top, latent_model, train.batch_size)
    theta = latent_model.init(keys.model)
    if is_simulated:
        dataset = simulated(data_section, latent_model, theta)
        # What is learned starts elsewhere than at the model that the data come from.
        theta = latent_model.init(keys.learned) if top.section("model").boolean("learn") else theta
    else:
        dataset, observe = _with_condition(top, dataset, observe)
    check_batch(top.section("train"), train.batch_size, len(dataset.splits["train"].index_N))
    check_validation(top.section("train"), train.stop_after, len(dataset.splits["validation"].index_N))
    observed = partial(_observed, named_key(data_section.integer("seed", 0), "observe"), observe)
    train_split, observe_training = dataset.splits["train"], observe
    if not is_simulated and _once(top):
        x_NxD, _ = observed(train_split, 0)
        train_split, observe_training = train_split._replace(pixels_NxD=x_NxD), data.identity
    inference = inference_settings(top, family_of)
    of_data = dataset, as_read, observe_training
    planned, trained = _plans(top, *of_data, train, family_of, inference, latent_model)
    regime = learned_in(top.section("learning"))
    encoded = tuple(
        dict.fromkeys(one.family for one in planned if one.name != "train" or regime != "mean_field")
    )
    evaluate = evaluate_settings(top, family_of, inference, encoded)
    check_simulated(top.section("evaluate"), evaluate.splits, latent_model)
    measured = _measured(dataset, evaluate)
    experiment = Experiment(
        latent_model=latent_model,
        theta=theta,
        families=family_of,
        regime=regime,
        stages=stages(planned, trained),
        train_split=train_split,
        image_shape=dataset.image_shape,
        validation=observed(dataset.splits["validation"], 0),
        inputs={name: _in_memory(observed(split, evaluate.max_points)) for name, split in measured.items()},
        labels=_labels(measured, evaluate.max_points),
        quantized=None if is_simulated else _quantized(data_section, dataset),
        train=train,
        evaluate=evaluate,
        order_seed=seed,
        keys=keys,
        smoke="smoke" in config and top.boolean("smoke"),
        log_to=read_log(top.section("log")),
        described=None if is_simulated else data.described(as_read),
    )
    top.close()
    return experiment


def _with_condition(top: Section, dataset: data.DataSet, observe: Observe) -> tuple[data.DataSet, Observe]:
    """The data with y beside x in each example, where the model is conditional, and their observation."""
    section = top.section("model")
    condition = read_condition(section, dataset)
    check_condition(top, condition)
    return with_condition(section, dataset, condition), beside(observe, condition)


def _plans(
    top: Section,
    dataset: data.DataSet,
    as_read: data.DataSet | None,
    observe_training: Observe,
    train: TrainSettings,
    family_of: dict[str, PosteriorFamily],
    inference: dict[str, InferenceSettings],
    latent_model: LatentModel,
) -> tuple[list[Planned], list[Planned]]:
    """What is trained, in order, as it is measured and as training computes it: often the same."""
    shape = read_input_shape(top, dataset)
    settings = dataset.splits["train"], shape, observe_training, train, family_of, inference
    planned = plan(top, *settings, latent_model, _as_it_is)
    computed = top.section("train").choice("dtype", DTYPES)
    if computed is _as_it_is and latent_model.fast_log_prior is None:
        return planned, planned
    # As it was read: a condition is beside x in the other, and is none of its values.
    trained = latent_model if computed is _as_it_is else read_model(top, as_read, computed)
    return planned, plan(top, *settings, in_training(trained), computed)


def read_model(top: Section, described: Any, computed: Computed) -> LatentModel:
    """The model of a config. described: what has the `image_shape` and `max_value` of its data."""
    section = top.section("model")
    if top.section("data").value("name") == "simulated":
        return linear_gaussian(section)
    decoded = decoder_model(section, described, top.section("data").value("observation"), computed)
    prior = read_prior(top, decoded.latent_dim, described, computed)
    return decoded if prior is None else with_prior(decoded, prior)


def read_input_shape(top: Section, described: Any) -> tuple[int, ...]:
    """The shape of what an encoder of a config takes. described: as of `read_model`."""
    if top.section("data").value("name") == "simulated":
        return described.image_shape
    return input_shape(top.section("model"), described, top.section("encoder"))


def read_families(top: Section, model: LatentModel, batch_size: int) -> dict[str, PosteriorFamily]:
    """The families that are fitted locally, the trained one first. Raises ConfigError."""
    names = top.section("inference").choices("families", FAMILIES)
    hidden = top.section("encoder").widths("hidden")
    for name in names:
        last_width = hidden[-1] if hidden else 1
        check_memory(top.section("model"), name, model.latent_dim, last_width, batch_size)
    return families(top.section("posterior"), names, model.latent_dim, model)


def renumbered(experiment: Experiment, seed: int, numbers: Mapping[str, float]) -> Experiment:
    """The experiment of another seed and, where it is among the numbers, of another TOLERANCE.

    With the same functions and data, so that what is compiled serves again: not for simulated data.
    """
    keys, evaluate = run_keys(seed), experiment.evaluate
    if TOLERANCE in numbers:
        evaluate = evaluate._replace(tolerance=float(numbers[TOLERANCE]))
    theta = experiment.latent_model.init(keys.model)
    return experiment._replace(theta=theta, evaluate=evaluate, order_seed=seed, keys=keys)


def _quantized(section: Section, dataset: data.DataSet) -> Quantized | None:
    """The levels of x of these data; None where it is drawn from them, as binarised."""
    observation = section.value("observation")
    if observation not in ("dequantize", "rescale"):
        return None
    num_dims = int(np.prod(dataset.image_shape))
    return Quantized(int(dataset.max_value) + 1, num_dims, observation == "dequantize")


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


def _observed(key: Key, observe: Observe, split: data.Split, max_points: int) -> Inputs:
    """Each example observed with fold_in(key, its index): the same x in every run, split and order."""
    count = min(max_points or len(split.index_N), len(split.index_N))
    index_N = split.index_N[:count]
    return Inputs(observe_all(key, first(split.pixels_NxD, count), index_N, observation=observe), index_N)


def _measured(dataset: data.DataSet, evaluate: EvaluateSettings) -> dict[str, data.Split]:
    """The splits of the data that what is measured comes from."""
    names = set(evaluate.splits) | ({"test"} if "corrupted" in evaluate.splits else set())
    return {name: dataset.splits[name] for name in SPLITS if name in names}


def _labels(splits: Mapping[str, data.Split], max_points: int) -> dict[str, np.ndarray]:
    """Labels of the first max_points examples, all for 0, of each split that has any."""
    some = {name: split for name, split in splits.items() if (split.label_N >= 0).any()}
    return {name: split.label_N[: max_points or None] for name, split in some.items()}


def _in_memory(inputs: Inputs) -> Inputs:
    return inputs._replace(x_NxD=np.asarray(inputs.x_NxD))
