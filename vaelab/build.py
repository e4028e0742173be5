"""From a config to functions: the only place where a name in a config becomes code.

Everything is checked here, before a run writes or computes anything; `ConfigError` is one line that
names the setting and the fix.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from vaelab import data, likelihood, model, networks, objective, posterior
from vaelab.gap import InferenceSettings
from vaelab.inference import natural_gradient
from vaelab.settings import Section
from vaelab.train import System
from vaelab.types import Key, LatentModel, Objective, Params, PosteriorFamily

FAMILIES: Mapping[str, Callable[[int], PosteriorFamily]] = {
    "diagonal": posterior.diagonal,
    "full": posterior.full,
}
OBJECTIVES: Mapping[str, Callable] = {
    "elbo": objective.elbo,
    "elbo_from_draws": objective.elbo_from_draws,
    "stick_the_landing": objective.stick_the_landing,
}
OBSERVATIONS: Mapping[str, Callable] = {"binarize": data.binarize, "dequantize": data.dequantize}
SPLITS = ("train", "validation", "test")

Observe = Callable[[Key, jax.Array], jax.Array]


class Inputs(NamedTuple):
    """Observed datapoints with their stable indices."""

    x_NxD: np.ndarray
    index_N: np.ndarray


class TrainSettings(NamedTuple):
    """The host loop's own numbers; see `experiments/defaults.py`."""

    num_steps: int
    batch_size: int
    chunk_size: int
    evaluate_every: int
    checkpoint_every: int
    keep_checkpoints: int
    validation_samples: int


class EvaluateSettings(NamedTuple):
    """What is measured on the trained model, and in what portions."""

    families: tuple[str, ...]
    from_prior: bool
    inference: InferenceSettings
    draws_per_step: int
    evidence_samples: int
    evidence_draw_chunk_size: int
    chunk_size: int


class Keys(NamedTuple):
    """The run's one seed, split once into what draws on it."""

    model: Key
    encoder: Key
    train: Key
    evaluate: Key
    inference: Key
    evidence: Key
    pictures: Key


class Experiment(NamedTuple):
    """All that a run needs, with every name resolved and every number checked.

    systems: how each family's encoder is trained. The trained family comes first and has the run's
        `train` settings; every other trains an encoder on the model held fixed, for refit_steps.
    validation, inputs[split]: (x_NxD, index_N), each example observed once and for all.
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
    keys = Keys(*jax.random.split(jax.random.key(seed), len(Keys._fields)))
    data_section, model_section = top.section("data"), top.section("model")
    if data_section.value("name") == "simulated":
        latent_model = _linear_gaussian(model_section)
        theta = latent_model.init(keys.model)
        dataset, observe = _simulated(data_section, latent_model, theta), data.identity
    else:
        dataset = _dataset(data_section)
        observe = partial(data_section.choice("observation", OBSERVATIONS), max_value=dataset.max_value)
        latent_model = _decoder_model(model_section, math.prod(dataset.image_shape), data_section)
        theta = latent_model.init(keys.model)

    evaluate = _evaluate_settings(top)
    train, refit_steps = _train_settings(top.section("train")), top.section("refit").integer("num_steps", 0)
    key_observe = jax.random.key(data_section.integer("seed", 0))
    max_points = top.section("evaluate").integer("max_points", 0)
    experiment = Experiment(
        latent_model=latent_model,
        theta=theta,
        systems=_systems(
            top, latent_model, dataset, observe, train.num_steps, refit_steps, evaluate.families
        ),
        train_split=dataset.splits["train"],
        image_shape=dataset.image_shape,
        validation=_observed(key_observe, dataset.splits["validation"], observe, 0),
        inputs={
            name: _observed(key_observe, dataset.splits[name], observe, max_points)
            for name in top.section("evaluate").choices("splits", dict.fromkeys(SPLITS))
        },
        train=train,
        refit_steps=refit_steps,
        evaluate=evaluate,
        order_seed=seed,
        keys=keys,
    )
    top.close()
    return experiment


def _dataset(section: Section) -> data.DataSet:
    dataset = data.load(section.value("name"), data_dir=section.value("data_dir"))
    count = section.integer("num_train", 0)
    train = dataset.splits["train"]
    if count > len(train.index_N):
        raise section.error("num_train", f"{dataset.name} has {len(train.index_N)} training examples")
    if count:
        dataset.splits["train"] = data.Split(*(array[:count] for array in train))
    return dataset


def _linear_gaussian(section: Section) -> LatentModel:
    if section.value("name") != "linear_gaussian":
        raise section.error("name", "data.name=simulated needs model.name=linear_gaussian")
    latent_dim = section.integer("latent_dim", 1)
    singular_values = tuple(section.value("singular_values"))
    if len(singular_values) != latent_dim or min(singular_values) < 0:
        raise section.error("singular_values", f"must be {latent_dim} numbers (latent_dim), 0 or more")
    data_dim = section.integer("data_dim", latent_dim)
    return model.linear_gaussian(latent_dim, singular_values, section.number("noise", above=True), data_dim)


def _simulated(section: Section, latent_model: LatentModel, theta: Params) -> data.DataSet:
    """Draws from the model at theta: example i of seed s is the same whatever the sizes of the splits."""
    sizes = {name: section.integer(f"num_{name}", 2) for name in SPLITS}
    index_N = np.arange(sum(sizes.values()), dtype=np.int32)
    key = jax.random.fold_in(jax.random.key(section.integer("seed", 0)), 1)

    def draw(index: jax.Array) -> jax.Array:
        key_z, key_x = jax.random.split(jax.random.fold_in(key, index))
        return latent_model.sample(theta, key_x, jax.random.normal(key_z, (latent_model.latent_dim,)))

    x_NxD = np.asarray(jax.vmap(draw)(index_N))
    splits, start = {}, 0
    for name in SPLITS:
        rows = slice(start, start + sizes[name])
        splits[name] = data.Split(x_NxD[rows], np.full(sizes[name], -1, np.int32), index_N[rows])
        start += sizes[name]
    return data.DataSet("simulated", x_NxD.shape[1:], 1, splits)


def _decoder_model(section: Section, data_dim: int, data_section: Section) -> LatentModel:
    if section.value("name") != "decoder":
        raise section.error("name", "must be decoder, or linear_gaussian with data.name=simulated")
    likelihood_section = section.section("likelihood")
    min_variance = likelihood_section.number("min_variance", above=True)
    density = likelihood_section.choice(
        "name",
        {"bernoulli": likelihood.bernoulli(), "gaussian": likelihood.gaussian(min_variance=min_variance)},
    )
    if (density.name == "bernoulli") != (data_section.value("observation") == "binarize"):
        raise likelihood_section.error(
            "name", "bernoulli goes with --config.data.observation=binarize, gaussian with dequantize"
        )
    latent_dim = section.integer("latent_dim", 1)
    decoder = networks.mlp_decoder(
        latent_dim,
        section.widths("hidden"),
        density.outputs_per_dim * data_dim,
        activation=section.choice("activation", networks.ACTIVATIONS),
    )
    return model.decoder_model(latent_dim, decoder, density)


def _objective(section: Section) -> Objective:
    num_samples, antithetic = section.integer("num_samples", 1), section.boolean("antithetic")
    if antithetic and num_samples % 2:
        raise section.error("num_samples", "antithetic draws come in pairs: take an even number")
    return partial(section.choice("name", OBJECTIVES), num_samples=num_samples, antithetic=antithetic)


def _constant(rate: float, steps: int, final_scale: float) -> optax.Schedule:
    del steps, final_scale
    return optax.constant_schedule(rate)


def _exponential(rate: float, steps: int, final_scale: float) -> optax.Schedule:
    return optax.exponential_decay(rate, steps, final_scale)


def _linear(rate: float, steps: int, final_scale: float) -> optax.Schedule:
    return optax.linear_schedule(rate, rate * final_scale, steps)


def _cosine(rate: float, steps: int, final_scale: float) -> optax.Schedule:
    return optax.cosine_decay_schedule(rate, steps, final_scale)


SCHEDULES = {"constant": _constant, "cosine": _cosine, "linear": _linear, "exponential": _exponential}


def _schedule(section: Section, num_steps: int) -> optax.Schedule:
    """The learning rate at each step: a linear warm-up, then a schedule that ends with the last step."""
    warmup = section.integer("warmup_steps", 0)
    final_scale = section.number("final_scale")
    if section.value("schedule") == "exponential" and final_scale == 0.0:
        raise section.error("final_scale", "must be above 0 for the exponential schedule")
    if warmup >= max(num_steps, 1):
        raise section.error("warmup_steps", f"must be fewer than the {num_steps} steps there are")
    rate = section.number("learning_rate", above=True)
    schedule = section.choice("schedule", SCHEDULES)(rate, max(num_steps - warmup, 1), final_scale)
    if warmup:
        schedule = optax.join_schedules([optax.linear_schedule(0.0, rate, warmup), schedule], [warmup])
    return schedule


def _adam(section: Section, num_steps: int) -> optax.GradientTransformation:
    """Clipping of the global gradient norm, then Adam or AdamW."""
    schedule = _schedule(section, num_steps)
    adam = partial(
        section.choice("name", {"adam": optax.adam, "adamw": optax.adamw}),
        schedule,
        b1=section.number("b1", below=1.0),
        b2=section.number("b2", below=1.0),
        eps=section.number("eps", above=True),
    )
    weight_decay = section.number("weight_decay")
    if section.value("name") == "adamw":
        adam = partial(adam, weight_decay=weight_decay)
    elif weight_decay:
        raise section.error("weight_decay", "needs optimizer.name=adamw")
    clip_norm = section.number("clip_norm")
    return optax.chain(optax.clip_by_global_norm(clip_norm), adam()) if clip_norm else adam()


def _local_optimizer(
    section: Section, num_steps: int
) -> Callable[[PosteriorFamily], optax.GradientTransformation]:
    """The inner loop's optimizer for a family; natural_gradient needs the family's Fisher information."""
    if section.value("name") != "natural_gradient":
        adam = _adam(section, num_steps)
        return lambda family: adam
    schedule, max_norm = _schedule(section, num_steps), section.number("max_norm", above=True)
    return lambda family: optax.chain(
        natural_gradient(family, max_norm=max_norm), optax.scale_by_learning_rate(schedule)
    )


def _train_settings(section: Section) -> TrainSettings:
    settings = TrainSettings(
        num_steps=section.integer("num_steps", 1),
        batch_size=section.integer("batch_size", 1),
        chunk_size=section.integer("chunk_size", 1),
        evaluate_every=section.integer("evaluate_every", 1),
        checkpoint_every=section.integer("checkpoint_every", 1),
        keep_checkpoints=section.integer("keep_checkpoints", 2),
        validation_samples=section.integer("validation_samples", 2),
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
    num_steps: int,
    refit_steps: int,
    families: tuple[str, ...],
) -> dict[str, System]:
    encoder_section, optimizer_section = top.section("encoder"), top.section("train").section("optimizer")
    bound = _objective(top.section("objective"))
    learn = top.section("model").boolean("learn")
    hidden = encoder_section.widths("hidden")
    activation = encoder_section.choice("activation", networks.ACTIVATIONS)
    output_scale = encoder_section.number("output_scale")
    trained = top.section("posterior")
    trained.choice("family", FAMILIES)
    if trained.value("family") not in families:
        raise trained.error("family", f"must be one of --config.inference.families={families}")
    systems = {}
    for name in sorted(families, key=lambda name: name != trained.value("family")):
        is_trained = name == trained.value("family")
        family = FAMILIES[name](latent_model.latent_dim)
        systems[name] = System(
            model=latent_model,
            encoder=networks.mlp_encoder(
                math.prod(dataset.image_shape),
                hidden,
                family.init(),
                activation=activation,
                output_scale=output_scale,
            ),
            family=family,
            objective=bound,
            optimizer=_adam(optimizer_section, num_steps if is_trained else max(refit_steps, 1)),
            observe=observe,
            learn_model=learn and is_trained,
        )
    return systems


def _evaluate_settings(top: Section) -> EvaluateSettings:
    inference, evidence, evaluate = top.section("inference"), top.section("evidence"), top.section("evaluate")
    num_steps = inference.integer("num_steps", 1)
    objective_section = inference.section("objective")
    settings = InferenceSettings(
        objective=_objective(objective_section),
        optimizer=_local_optimizer(inference.section("optimizer"), num_steps),
        num_steps=num_steps,
        certificate_groups=inference.integer("certificate_groups", 3),
        tolerance=inference.number("tolerance", above=True),
        elbo_samples=evaluate.integer("elbo_samples", 4),
        elbo_chunk_size=evidence.integer("draw_chunk_size", 2),
    )
    return EvaluateSettings(
        families=inference.choices("families", FAMILIES),
        from_prior=inference.choice("start", {"encoder": False, "prior": True}),
        inference=settings,
        draws_per_step=objective_section.integer("num_samples", 1),
        evidence_samples=evidence.integer("num_samples", 2),
        evidence_draw_chunk_size=evidence.integer("draw_chunk_size", 2),
        chunk_size=evaluate.integer("chunk_size", 1),
    )


def _observed(key: Key, split: data.Split, observe: Observe, max_points: int) -> Inputs:
    """Each example observed with fold_in(key, its index): the same x in every run, split and order."""
    rows = slice(0, max_points or None)
    index_N = split.index_N[rows]
    x_NxD = jax.jit(partial(data.observe, observation=observe))(key, split.pixels_NxD[rows], index_N)
    return Inputs(np.asarray(x_NxD), index_N)
