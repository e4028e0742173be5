"""Recipes: what a number does as an argument of a program is what it does compiled into it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import digits_gap
from vaelab import data, model, posterior
from vaelab.config.experiment import build
from vaelab.inference.optimizer import Optimizer
from vaelab.model import likelihood, networks
from vaelab.training import loop as train_loop
from vaelab.training.recipe import NUMBERS, Recipe, TrainingObjective
from vaelab.training.regime import amortized
from vaelab.training.step import init_state

K, D, STEPS = 2, 6, 10
PIXELS = np.random.RandomState(0).randint(0, 17, (20, D)).astype(np.uint8)
INDEX = np.arange(20, dtype=np.int32)
FAMILY = posterior.diagonal(K)
ENCODER = networks.mlp_encoder(D, (4,), FAMILY.init(), activation=jnp.tanh, output_scale=0.1)
DECODER = networks.mlp_decoder(K, (4,), D, activation=jnp.tanh)
ADAM = Optimizer(
    name="adam",
    schedule="constant",
    learning_rate=3e-2,
    final_scale=0.0,
    warmup_steps=0,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    weight_decay=0.0,
    clip_norm=200.0,
    max_norm=5.0,
)
RECIPE = Recipe(
    model=model.decoder_model(K, DECODER, likelihood.bernoulli()),
    family=FAMILY,
    regime=amortized(ENCODER, FAMILY),
    observe=partial(data.binarize, max_value=16),
    learn_model=True,
    objective=TrainingObjective("elbo", 1, False),
    optimizer=ADAM,
    num_updates=STEPS,
    max_skipped=0,
)
BETA = TrainingObjective("beta_elbo", 1, False, (("beta", 1.0),))
CASES = {
    "learning_rate": ("train.optimizer.learning_rate", (3e-2, 1e-1), {}),
    **{
        schedule: ("train.optimizer.final_scale", (0.1, 0.9), {"optimizer": ADAM._replace(schedule=schedule)})
        for schedule in ("cosine", "linear", "exponential", "powers_of_three")
    },
    "b1": ("train.optimizer.b1", (0.9, 0.1), {}),
    "b2": ("train.optimizer.b2", (0.999, 0.1), {}),
    "eps": ("train.optimizer.eps", (1e-8, 1.0), {}),
    "weight_decay": ("train.optimizer.weight_decay", (1e-2, 5.0), {"optimizer": ADAM._replace(name="adamw")}),
    "clip_norm": ("train.optimizer.clip_norm", (200.0, 1e-3), {"optimizer": ADAM._replace(eps=1e-2)}),
    "beta": ("objective.beta", (1.0, 0.1), {"objective": BETA}),
    "warmup_steps": ("objective.warmup_steps", (2, 10), {"objective": BETA._replace(warmup_steps=2)}),
    "min_kl": (
        "objective.min_kl",
        (0.1, 5.0),
        {"objective": TrainingObjective("free_bits", 1, False, (("min_kl", 0.1),))},
    ),
    "alpha": (
        "objective.alpha",
        (0.5, -3.0),
        {"objective": TrainingObjective("renyi", 4, False, (("alpha", 0.5),))},
    ),
}


def with_number(recipe: Recipe, name: str, value: float) -> Recipe:
    """The recipe with the number in its records, as a config of its own would have it."""
    *_, last = name.split(".")
    if name.startswith("train."):
        return recipe._replace(optimizer=recipe.optimizer._replace(**{last: value}))
    objective = recipe.objective
    if last == "warmup_steps":
        return recipe._replace(objective=objective._replace(warmup_steps=value))
    settings = tuple((key, value if key == last else number) for key, number in objective.settings)
    return recipe._replace(objective=objective._replace(settings=settings))


def trained(starts, recipe):
    settings = {"num_steps": STEPS, "batch_size": 10, "chunk_size": STEPS}
    (chunk,) = train_loop.fit(starts, PIXELS, INDEX, system_of=recipe, **settings)
    return [progress.metrics.bound for progress in chunk]


MORE = tuple(case for case in CASES if case not in ("learning_rate", "beta", "cosine"))  # more of a kind


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] if case in MORE else []) for case in CASES]
)
def test_every_number_does_as_an_argument_what_it_does_in_the_config(case):
    """Two values as one program, against each in a recipe of its own, and compiled into a single run."""
    name, values, changes = CASES[case]
    recipe, key = RECIPE._replace(**changes), jax.random.key(1)
    state = init_state(recipe({}), jax.random.key(0))
    starts = [train_loop.Start(state, key, 0, {name: value}) for value in values]
    together = trained(starts, recipe)
    for start, value, bounds in zip(starts, values, together, strict=True):
        (alone,) = trained([start._replace(numbers={})], with_number(recipe, name, value))
        (compiled_in,) = trained([start], recipe)
        np.testing.assert_array_equal(compiled_in, alone)
        np.testing.assert_allclose(bounds, alone, rtol=1e-4)
    # The numbers differ, and so does what they do.
    assert np.max(np.abs(together[0] - together[1])) > 1e-3


def test_every_number_that_may_vary_has_a_case():
    assert {name for name, _, _ in CASES.values()} == set(NUMBERS)


def test_a_clipping_that_is_not_there_is_not_made_by_a_number():
    unclipped = RECIPE._replace(optimizer=ADAM._replace(clip_norm=None))
    start = train_loop.Start(init_state(unclipped({}), jax.random.key(0)), jax.random.key(1), 0)
    (alone,), (numbered,) = (
        trained([start._replace(numbers=numbers)], unclipped)
        for numbers in ({}, {"train.optimizer.clip_norm": 0.0})
    )
    np.testing.assert_array_equal(alone, numbered)


def test_the_weight_of_the_kl_rises_from_nothing_to_beta_over_the_warm_up():
    objective = BETA._replace(settings=(("beta", 0.6),), warmup_steps=20)
    weights = [float(objective.bound()[1](jnp.int32(step))) for step in (0, 5, 10, 20, 400)]
    np.testing.assert_allclose(weights, [0.0, 0.15, 0.3, 0.6, 0.6], rtol=1e-6)
    _, changed = objective.at({"beta": 0.2, "warmup_steps": 5}).bound()
    np.testing.assert_allclose([changed(step) for step in (1, 5)], [0.04, 0.2], rtol=1e-6)
    assert BETA.bound()[1] is None


def test_equal_recipes_are_one_program():
    start = train_loop.Start(init_state(RECIPE({}), jax.random.key(0)), jax.random.key(1), 0)
    trained([start], RECIPE)
    before = train_loop.train_chunk._cache_size()
    trained([start], RECIPE._replace(optimizer=ADAM._replace()))
    assert train_loop.train_chunk._cache_size() == before


def test_the_config_fills_every_number_in():
    """Each number of NUMBERS, set in a config, is where `Recipe` looks for it."""
    config = digits_gap.get_config("smoke")
    changed = {
        "train.optimizer.learning_rate": 2e-3,
        "train.optimizer.final_scale": 0.3,
        "train.optimizer.b1": 0.8,
        "train.optimizer.b2": 0.7,
        "train.optimizer.eps": 1e-3,
        "train.optimizer.clip_norm": 7.0,
        "objective.name": "beta_elbo",
        "objective.beta": 0.6,
        "objective.warmup_steps": 5,
    }
    config.update_from_flattened_dict(changed)
    recipe = build(config).stages[0].recipe
    assert recipe.objective.settings == (("beta", 0.6),)
    assert recipe.objective.warmup_steps == 5
    for name, value in changed.items():
        if name.startswith("train."):
            assert getattr(recipe.optimizer, name.split(".")[-1]) == value
