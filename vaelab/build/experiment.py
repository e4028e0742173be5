"""From a config to functions: the only place where a name in a config becomes code.

Everything is checked here, before a run writes or computes anything; `ConfigError` is one line that
names the setting and the fix.
"""

import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from vaelab import data
from vaelab.build.evidence import EvidenceSettings, evidence_settings
from vaelab.build.model import SPLITS, decoder_model, linear_gaussian, simulated
from vaelab.build.model import dataset as load_dataset
from vaelab.build.objective import ELBO_OBJECTIVES, check_pair, train_objective
from vaelab.build.optimizer import adam, flow_solver, gaussian_solver
from vaelab.build.posterior import FAMILIES, check_memory, encoder, families
from vaelab.keys import named_key
from vaelab.local_fit import InferenceSettings
from vaelab.parallel import Memory
from vaelab.settings import Section
from vaelab.solver import SolverOf
from vaelab.train import System
from vaelab.types import Key, LatentModel, Params, PosteriorFamily

OBSERVATIONS: Mapping[str, Callable] = {
    "binarize": data.binarize,
    "dequantize": data.dequantize,
    "rescale": data.rescale,
}

MADE_SPLITS = ("simulated", "corrupted")

STARTS = {"encoder": ("encoder",), "prior": ("prior",), "both": ("encoder", "prior")}

Observe = Callable[[Key, jax.Array], jax.Array]


class Inputs(NamedTuple):
    """Observed datapoints with their stable indices."""

    x_NxD: np.ndarray
    index_N: np.ndarray


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


class EvaluateSettings(NamedTuple):
    """What is measured on the trained model, and in what portions; `inference` for each family.

    splits: of the data, and "simulated" (from the trained model) and "corrupted" (the test split, see
        `splits.corrupted`), of at most max_points datapoints each where that is not 0.
    points_per_save: datapoints after which a stage keeps what it has.
    """

    splits: tuple[str, ...]
    max_points: int
    corruption: float
    families: tuple[str, ...]
    starts: tuple[str, ...]
    inference: dict[str, InferenceSettings]
    evidence: EvidenceSettings
    memory: Memory
    points_per_save: int


class Keys(NamedTuple):
    """What draws on the run's one seed, each with a key of its own."""

    model: Key
    encoder: Key
    train: Key
    evaluate: Key
    inference: Key
    evidence: Key
    pictures: Key
    pilot: Key
    simulate: Key
    corrupt: Key
    bidirectional: Key
    calibrate: Key


class Experiment(NamedTuple):
    """All that a run needs, with every name resolved and every number checked.

    systems: how each family's encoder is trained. The trained family comes first and has the run's
        `train` settings; every other trains an encoder on the model held fixed, for refit_steps.
    validation, inputs[split]: (x_NxD, index_N), each example observed once and for all; of the splits of
        the data that are measured.
    """

    latent_model: LatentModel
    theta: Params
    systems: dict[str, System]
    train_split: data.Split
    image_shape: tuple[int, ...]
    validation: Inputs
    inputs: dict[str, Inputs]
    train: TrainSettings
    refit_steps: int
    evaluate: EvaluateSettings
    order_seed: int
    keys: Keys

    def num_steps(self, family: str) -> int:
        """Training steps of a family's encoder; 0 where a refit was not asked for."""
        return self.train.num_steps if family == next(iter(self.systems)) else self.refit_steps


def build(config: Any) -> Experiment:
    """Resolves a config. Raises ConfigError, or DataError where its data set is not at hand."""
    top = Section(config)
    seed = top.integer("seed", 0)
    keys = Keys(*(named_key(seed, purpose) for purpose in Keys._fields))
    data_section, model_section = top.section("data"), top.section("model")
    if data_section.value("name") == "simulated":
        latent_model = linear_gaussian(model_section)
        train, family_of = _trained(top, latent_model)
        theta = latent_model.init(keys.model)
        dataset, observe = simulated(data_section, latent_model, theta), data.identity
    else:
        dataset = load_dataset(data_section)
        observe = partial(data_section.choice("observation", OBSERVATIONS), max_value=dataset.max_value)
        latent_model = decoder_model(model_section, dataset, data_section.value("observation"))
        train, family_of = _trained(top, latent_model)
        theta = latent_model.init(keys.model)

    refit_steps = top.section("refit").integer("num_steps", 0)
    key_observe = named_key(data_section.integer("seed", 0), "observe")
    max_points = top.section("evaluate").integer("max_points", 0)
    splits = top.section("evaluate").choices("splits", dict.fromkeys((*SPLITS, *MADE_SPLITS)))
    experiment = Experiment(
        latent_model=latent_model,
        theta=theta,
        systems=_systems(top, latent_model, dataset, observe, train, refit_steps, family_of),
        train_split=dataset.splits["train"],
        image_shape=dataset.image_shape,
        validation=_observed(key_observe, dataset.splits["validation"], observe, 0),
        inputs={
            name: _observed(key_observe, dataset.splits[name], observe, max_points)
            for name in SPLITS
            if name in splits or (name == "test" and "corrupted" in splits)
        },
        train=train,
        refit_steps=refit_steps,
        evaluate=_evaluate_settings(top, family_of, tuple(family_of)[: None if refit_steps else 1]),
        order_seed=seed,
        keys=keys,
    )
    top.close()
    return experiment


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
    )
    periods = {"evaluate_every": settings.evaluate_every, "checkpoint_every": settings.checkpoint_every}
    for name, period in periods.items():
        if period % settings.chunk_size:
            raise section.error(name, f"must be a multiple of chunk_size={settings.chunk_size}")
    return settings


def _systems(
    top: Section,
    latent_model: LatentModel,
    dataset: data.DataSet,
    observe: Observe,
    train: TrainSettings,
    refit_steps: int,
    families: dict[str, PosteriorFamily],
) -> dict[str, System]:
    bound, kl_weight = train_objective(top.section("objective"), train.num_steps)
    learn = top.section("model").boolean("learn")
    systems = {}
    for number, (name, family) in enumerate(families.items()):
        num_steps = refit_steps if number else train.num_steps
        if num_steps:
            check_pair(top.section("objective"), family)
        systems[name] = System(
            model=latent_model,
            encoder=encoder(top.section("encoder"), family, dataset.image_shape),
            family=family,
            objective=bound,
            kl_weight=kl_weight,
            optimizer=(
                adam(top.section("train").section("optimizer"), num_steps, train.max_skipped)
                if num_steps
                else optax.set_to_zero()  # a family without an encoder of its own
            ),
            observe=observe,
            learn_model=learn and number == 0,
        )
    return systems


def _families(top: Section, latent_dim: int, batch_size: int) -> dict[str, PosteriorFamily]:
    names = top.section("inference").choices("families", FAMILIES)
    hidden = top.section("encoder").widths("hidden")
    for name in names:
        last_width = hidden[-1] if hidden else 1
        check_memory(top.section("model"), name, latent_dim, last_width, batch_size)
    return families(top.section("posterior"), names, latent_dim)


def _local_settings(
    top: Section, section: Section, solver: Callable[[Section], SolverOf]
) -> InferenceSettings:
    """The inner loop of one kind of family; `section` is a part of `inference`."""
    inference, evidence, evaluate = top.section("inference"), top.section("evidence"), top.section("evaluate")
    return InferenceSettings(
        solver=solver(section),
        num_steps=section.integer("num_steps", 1),
        max_rounds=inference.integer("max_rounds", 1),
        certificate_groups=section.integer("certificate_groups", 3),
        tolerance=inference.number("tolerance", above=True),
        elbo_samples=evaluate.integer("elbo_samples", 4),
        elbo_chunk_size=evidence.integer("draw_chunk_size", 2),
        average_last=_at_most(section, "average_last", section.integer("num_steps", 1)),
    )


def _at_most(section: Section, name: str, most: int) -> int:
    number = section.integer(name, 0)
    if number > most:
        raise section.error(name, f"must be at most num_steps={most}")
    return number


def _kind(family: PosteriorFamily) -> str:
    """The part of `inference` that a family is fitted with."""
    if family.natural_gradient is None:
        return "flow"
    return "diagonal" if family.name == "diagonal" else "gaussian"


def _evaluate_settings(
    top: Section, families: dict[str, PosteriorFamily], encoded: tuple[str, ...]
) -> EvaluateSettings:
    inference, evidence, evaluate = top.section("inference"), top.section("evidence"), top.section("evaluate")
    solvers = {"diagonal": gaussian_solver, "gaussian": gaussian_solver, "flow": flow_solver}
    settings = {kind: _local_settings(top, inference.section(kind), make) for kind, make in solvers.items()}
    for family in families.values():
        check_pair(inference.section(_kind(family)).section("objective"), family)
    return EvaluateSettings(
        splits=evaluate.choices("splits", dict.fromkeys((*SPLITS, *MADE_SPLITS))),
        max_points=evaluate.integer("max_points", 0),
        corruption=evaluate.number("corruption", below=math.nextafter(1.0, 2.0)),
        families=inference.choices("families", FAMILIES),
        starts=inference.choice("start", STARTS),
        inference={name: settings[_kind(family)] for name, family in families.items()},
        evidence=evidence_settings(evidence, families, encoded),
        memory=_memory(evaluate),
        points_per_save=evaluate.integer("points_per_save", 1),
    )


def _memory(section: Section) -> Memory:
    limit = int(section.number("memory_bytes", 1))
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if jax.default_backend() == "cpu" and limit > there:
        raise section.error("memory_bytes", f"this machine has {there:,} bytes: set fewer")
    return Memory(limit)


def _observed(key: Key, split: data.Split, observe: Observe, max_points: int) -> Inputs:
    """Each example observed with fold_in(key, its index): the same x in every run, split and order."""
    rows = slice(0, max_points or None)
    index_N = split.index_N[rows]
    x_NxD = jax.jit(partial(data.observe, observation=observe))(key, split.pixels_NxD[rows], index_N)
    return Inputs(np.asarray(x_NxD), index_N)
