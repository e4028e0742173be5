"""What is trained, stage by stage, from a config."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import digits_gap
from tests.support.configs import changed, learned_in, refused
from vaelab.config.experiment import build
from vaelab.config.section import Section
from vaelab.config.train import train_settings
from vaelab.errors import ConfigError
from vaelab.training.step import init_state


def test_a_family_without_an_encoder_asks_nothing_of_the_schedule():
    config = changed(digits_gap.get_config("smoke"), "train.optimizer.warmup_steps", 10)
    experiment = build(changed(config, "refit.num_steps", 0))
    assert [(s.name, s.num_steps) for s in experiment.stages] == [("train", 40)]


def test_encoders_are_trained_for_the_families_that_ask_for_one():
    config = changed(digits_gap.get_config("smoke"), "inference.families", ("diagonal", "full", "cholesky"))
    names = [stage.name for stage in build(config).stages]
    assert names == ["train", "refit_full", "refit_cholesky"]
    some = build(changed(config, "refit.families", ("cholesky",)))
    assert [stage.name for stage in some.stages] == ["train", "refit_cholesky"]
    with pytest.raises(ConfigError, match=r"config.refit.families.*there are diagonal, full, cholesky"):
        build(changed(config, "refit.families", ("low_rank",)))
    tabled = learned_in("mean_field", **{"refit.families": ("diagonal",)})
    assert [stage.name for stage in build(tabled).stages] == ["train", "refit_diagonal"]


def test_the_models_schedule_spans_all_its_steps():
    config = learned_in("mean_field", **{"learning.model_steps": 3, "inference.families": ("diagonal",)})
    # 40 steps of 3 updates each, and the encoder after it
    assert [stage.recipe.num_updates for stage in build(config).stages] == [120, 20]


def test_bfloat16_is_for_the_networks_in_training_alone():
    experiment = build(changed(digits_gap.get_config(), "train.dtype", "bfloat16"))
    exact = build(digits_gap.get_config())
    stage, x_D = experiment.stages[0], experiment.inputs["test"].x_NxD[0]
    state = init_state(stage.system, jax.random.key(0), experiment.theta)
    assert {leaf.dtype.name for leaf in jax.tree.leaves((state.theta, state.psi))} == {"float32"}

    def phi(system):
        return system.regime.encode(state.psi, x_D)

    trained = stage.recipe({})
    half, whole = phi(trained), phi(stage.system)
    assert half.dtype == jnp.float32
    np.testing.assert_array_equal(whole, phi(exact.stages[0].system))
    # A bfloat16 has 8 bits; and it is not float32 either.
    error = np.abs(half - whole).max() / np.abs(whole).max()
    assert 1e-5 < error < 2.0**-5
    z_K = jnp.ones(experiment.latent_model.latent_dim)
    models = trained.model, stage.system.model
    half, whole = (float(model.log_likelihood(state.theta, x_D, z_K)) for model in models)
    assert half != whole
    assert half == pytest.approx(whole, rel=0.02)
    in_bfloat16 = ["bf16" in str(jax.make_jaxpr(partial(m.mean, state.theta))(z_K)) for m in models]
    assert in_bfloat16 == [True, False]
    assert stage.system.model is experiment.latent_model


def test_numbers_of_the_host_loop_reach_their_record():
    config = digits_gap.get_config("smoke")
    numbers = {
        "num_steps": 12,
        "batch_size": 3,
        "chunk_size": 2,
        "evaluate_every": 4,
        "checkpoint_every": 6,
        "keep_checkpoints": 5,
        "validation_samples": 7,
        "stop_after": 3,
        "max_skipped": 8,
        "devices": 9,
    }
    config.train.update(numbers)
    read = train_settings(Section(config))
    assert read._asdict() == {"bound_name": "elbo", "keep_best": False, **numbers}
    config.train.keep_best = "validation_elbo"
    assert train_settings(Section(config)).keep_best
    for name in ("stick_the_landing", "iwae"):
        config.objective.name = name
        assert train_settings(Section(config)).bound_name == ("iwae" if name == "iwae" else "elbo")


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("evaluate_every", 3, "evaluate_every=3: must be a multiple of chunk_size=2"),
        ("checkpoint_every", 5, "checkpoint_every=5: must be a multiple of chunk_size=2"),
        ("keep_checkpoints", 1, "2 or more"),
        ("validation_samples", 1, "2 or more"),
        ("stop_after", -1, "0 or more"),
        ("keep_best", "elbo", "must be validation_elbo, or '' for the last state"),
    ],
)
def test_a_number_of_the_host_loop_that_cannot_be(setting, value, says):
    config = digits_gap.get_config("smoke")
    config.train.update({"chunk_size": 2, setting: value})
    refused(lambda: train_settings(Section(config)), says)
