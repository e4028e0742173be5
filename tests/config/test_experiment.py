"""From a config to functions: every key is read, every bad value is one line that names the fix."""

import importlib
import pathlib

import numpy as np
import pytest

from experiments import defaults, digits_gap
from tests.support.configs import changed, learned_in
from vaelab import data
from vaelab.config.experiment import build
from vaelab.config.study import build_study
from vaelab.config.sweep import read_sweep
from vaelab.errors import ConfigError

EXPERIMENTS = sorted(
    path.stem
    for path in pathlib.Path(defaults.__file__).parent.glob("*.py")
    if path.stem not in ("defaults", "__init__")
)


@pytest.fixture
def images_at_hand(monkeypatch):
    """Any image data set, as 300 random images, so that experiments build on a machine without archives."""
    load = data.load

    def fake(name, *, data_dir):
        if data.SOURCES[name].prepare is None:
            return load(name, data_dir=data_dir)
        shape, max_value = data.describe(name)
        random = np.random.RandomState(0)
        splits, start = {}, 0
        for split in ("train", "validation", "test"):
            index_N = np.arange(start, start + 100, dtype=np.int32)
            pixels_NxD = random.randint(0, max_value + 1, (100, int(np.prod(shape)))).astype(np.uint8)
            splits[split] = data.Split(pixels_NxD, np.zeros(100, np.int32), index_N)
            start += 100
        return data.DataSet(name, shape, max_value, splits)

    monkeypatch.setattr(data, "load", fake)


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("variant", ["", "smoke"])
def test_every_experiment_builds_and_reads_every_key(name, variant, images_at_hand):
    # build() raises for a key that nothing read; the next test shows that it does.
    config = importlib.import_module(f"experiments.{name}").get_config(variant)
    assert config.get("smoke", False) == (variant == "smoke")
    if "study" in config:
        build_study(config)
        return
    runs = [point.configs[0] for point in read_sweep(config).points] if "sweep" in config else [config]
    for run_config in runs:
        experiment = build(run_config)
        assert experiment.smoke == (variant == "smoke")
        check_built(experiment)


def test_the_published_study_of_cifar_has_its_schedule_and_networks(images_at_hand):
    config = importlib.import_module("experiments.inference_suboptimality").get_config("cifar10,published")
    assert (config.train.num_steps, config.objective.warmup_steps) == (3280 * 450, 50 * 450)
    points = read_sweep(config).points
    assert [point.configs[0].encoder.channels for point in points] == [
        (64, 128, 256),
        (128, 256, 512),
        (64, 128, 256),
    ]
    first = points[0].configs[0]
    assert (first.data.name, first.model.channels, first.model.hidden) == ("cifar10_3bit", (64, 128, 256), ())
    small = importlib.import_module("experiments.inference_suboptimality").get_config("cifar10,smoke")
    for point in read_sweep(small).points:
        check_built(build(point.configs[0]))


def check_built(experiment):
    assert {name: family.name for name, family in experiment.families.items()} == {
        name: name for name in experiment.evaluate.families
    }
    assert not any(stage.system.learn_model for stage in experiment.stages[1:])


@pytest.mark.parametrize(
    "section", ["", "data", "model", "model.likelihood", "train.optimizer", "inference.diagonal.objective"]
)
def test_a_key_that_nothing_reads_is_an_error(section):
    config = digits_gap.get_config("smoke")
    key = f"{section}.num_stepz" if section else "num_stepz"
    with pytest.raises(ConfigError, match=rf"--config\.{key}=1: has no effect"):
        build(changed(config, key, 1))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("seed", -1, "0 or more"),
        ("seed", 2**63, "below 2147483648"),
        ("data.num_train", 10**6, "1257 training examples"),
        ("data.observation", "binarise", "did you mean 'binarize'"),
        ("data.observation", "dequantize", "bernoulli needs --config.data.observation=binarize"),
        ("model.name", "linear_gaussian", "data.name=simulated"),
        ("model.likelihood.name", "gauss", "did you mean 'gaussian'"),
        ("model.likelihood.name", "gaussian", "dequantize"),
        ("model.likelihood.min_variance", 0.0, "above 0"),
        ("model.latent_dim", 0, "1 or more"),
        ("model.hidden", (10, -1), "positive layer widths"),
        ("model.activation", "rellu", "did you mean 'relu'"),
        ("encoder.output_scale", -1.0, "0 or more"),
        ("model.likelihood.name", "discretized_logistic", "observation=rescale"),
        ("model.network", "convolution", "did you mean 'convolutional'"),
        ("model.network", "convolutional", "give one width"),
        ("posterior.family", "ful", "did you mean 'full'"),
        ("posterior.family", "cholesky", "must be one of"),
        ("posterior.rank", 0, "1 or more"),
        ("objective.beta", 2.0, "needs --config.objective.name=beta_elbo"),
        ("objective.warmup_steps", 10, "needs --config.objective.name=beta_elbo"),
        ("objective.min_kl", 1.0, "needs --config.objective.name=free_bits"),
        ("train.max_skipped", -1, "0 or more"),
        ("train.optimizer.schedule", "powers_of_three", "final_scale"),
        ("data.observe", "twice", "there are each_step, once"),
        ("learning.regime", "mean-field", "did you mean 'mean_field'"),
        ("learning.regime", "mean_field", "each step draws another: take once"),
        ("learning.expect_steps", 0, "1 or more"),
        ("learning.model_steps", 0, "1 or more"),
        ("learning.refinements", 0, "1 or more"),
        ("evaluate.inference_times", (0,), "1 or more"),
        ("inference.gaussian.average_last", 10**6, "at most num_steps"),
        ("evaluate.memory_bytes", 0, "1 or more"),
        ("evaluate.memory_bytes", 2**40, "this machine has"),
        ("evaluate.splits", ("test", "simulatd"), "did you mean 'simulated'"),
        ("evaluate.corruption", 1.5, "below"),
        ("evidence.estimator", "ais", "there are importance"),
        ("evidence.estimator", "quadrature", "at most 2 latent dimensions and the model has 10"),
        ("evidence.proposals", "optimum", "did you mean 'optima'"),
        ("evidence.annealing.schedule", "cubic", "there are linear"),
        ("evidence.annealing.target_acceptance", 1.0, "below 1"),
        ("evidence.smc.wanted_size", 0.0, "above 0"),
        ("evidence.quadrature.num_nodes", 64, "must be odd"),
        ("evidence.wanted_width", 0.0, "above 0"),
        ("inference.gaussian.objective.name", "iwae", "q* is the optimum of the ELBO"),
        ("inference.flow.optimizer.name", "natural_gradient", "take adam or adamw"),
        ("objective.name", "elb", "did you mean 'elbo'"),
        ("objective.antithetic", True, "even number"),
        ("train.num_steps", 0, "1 or more"),
        ("train.evaluate_every", 33, "multiple of chunk_size=20"),
        ("train.checkpoint_every", 33, "multiple of chunk_size=20"),
        ("train.optimizer.learning_rate", 0.0, "above 0"),
        ("train.optimizer.learning_rate", float("nan"), "finite"),
        ("train.optimizer.b2", 1.0, "below 1"),
        ("train.optimizer.schedule", "cos", "did you mean 'cosine'"),
        ("train.optimizer.schedule", "exponential", "final_scale"),
        ("train.optimizer.weight_decay", 0.1, "adamw"),
        ("train.optimizer.warmup_steps", 40, "fewer than the 40 steps"),
        ("refit.num_steps", -1, "0 or more"),
        ("evaluate.splits", ("tset",), "did you mean 'test'"),
        ("evaluate.splits", (), "at least one"),
        ("inference.families", ("full",), "must be one of"),
        ("inference.families", ("diagonal", "diagonal"), "each once"),
        ("inference.families", ("diagonal", 1), "unknown; there are diagonal, full"),
        ("model.hidden", ("a",), "positive layer widths"),
        ("model.hidden", (True,), "positive layer widths"),
        ("train.optimizer.name", "natural_gradient", "take adam or adamw"),
        ("inference.diagonal.optimizer.clip_norm", 1.0, "max_norm"),
        ("inference.diagonal.objective.name", "stick_the_landing", "has its own gradient of the elbo"),
        ("inference.max_rounds", 0, "1 or more"),
        ("inference.start", "priors", "did you mean 'prior'"),
        ("inference.diagonal.certificate_groups", 2, "3 or more"),
        ("inference.gaussian.objective.num_samples", 3, "even number"),
        ("evidence.num_samples", 0, "2 or more"),
    ],
)
def test_a_bad_value_is_one_line_that_names_its_setting_and_the_fix(key, value, says):
    with pytest.raises(ConfigError) as caught:
        build(changed(digits_gap.get_config("smoke"), key, value))
    message = str(caught.value)
    assert "\n" not in message
    assert says in message
    assert "--config." in message


@pytest.mark.parametrize(
    ("family", "changes", "says"),
    [
        ("low_rank", {"posterior.rank": 11}, "at most model.latent_dim=10"),
        ("householder", {"posterior.num_reflections": 11}, "at most model.latent_dim=10"),
        ("real_nvp", {}, "no closed-form KL to the prior: take elbo_from_draws"),
        ("iaf", {"objective.name": "free_bits"}, "no closed-form KL"),
        ("real_nvp", {"model.latent_dim": 1, "objective.name": "iwae"}, "latent_dim of 2 or more"),
        ("full", {"model.latent_dim": 10**6}, "bytes and this machine has"),
        (
            "diagonal",
            {"objective.name": "renyi", "objective.alpha": 1.0},
            "take --config.objective.name=elbo_from",
        ),
        ("diagonal", {"objective.name": "beta_elbo", "objective.warmup_steps": 41}, "at most the 40 steps"),
        (
            "diagonal",
            {"model.network": "convolutional", "model.hidden": (9,), "model.channels": ()},
            "one stage at least",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(family, changes, says):
    config = changed(digits_gap.get_config("smoke"), "posterior.family", family)
    config = changed(config, "inference.families", (family,))
    for key, value in changes.items():
        config = changed(config, key, value)
    with pytest.raises(ConfigError) as caught:
        build(config)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_static_binarisation_is_that_of_the_index_and_the_data_seed():
    small, whole = digits_gap.get_config("smoke"), digits_gap.get_config()
    whole.seed = 7
    small, whole = build(small), build(whole)
    count = len(small.inputs["test"].index_N)
    np.testing.assert_array_equal(small.inputs["test"].x_NxD, whole.inputs["test"].x_NxD[:count])
    other_seed = digits_gap.get_config("smoke")
    other_seed.data.seed = 1
    assert not np.array_equal(small.inputs["test"].x_NxD, build(other_seed).inputs["test"].x_NxD)


def test_names_of_a_tuple_may_come_as_one_flag():
    config = changed(digits_gap.get_config("smoke"), "inference.families", ("diagonal,cholesky",))
    assert tuple(build(config).families) == ("diagonal", "cholesky")


def test_observed_once_is_the_evaluations_x():
    config = learned_in("amortized", **{"evaluate.splits": ("train",), "evaluate.max_points": 0})
    experiment = build(config)
    np.testing.assert_array_equal(experiment.train_split.pixels_NxD, experiment.inputs["train"].x_NxD)
    assert set(np.unique(experiment.train_split.pixels_NxD)) == {0.0, 1.0}
