"""From a config to functions: every key is read, every bad value is one line that names the fix."""

import importlib
import os
import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import defaults, digits_gap, linear_gaussian, mean_field_vs_encoder
from vaelab import data, posterior
from vaelab.config import optimizer
from vaelab.config import regime as build_regime
from vaelab.config.experiment import build
from vaelab.config.section import Section
from vaelab.config.study import build_study
from vaelab.config.sweep import read_sweep
from vaelab.inference.optimizer import learning_rates
from vaelab.keys import named_key
from vaelab.training.step import init_state
from vaelab.types import ConfigError

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
        if name == "digits":
            return load(name, data_dir=data_dir)
        random = np.random.RandomState(0)
        splits, start = {}, 0
        for split in ("train", "validation", "test"):
            index_N = np.arange(start, start + 100, dtype=np.int32)
            pixels_NxD = random.randint(0, 256, (100, 784)).astype(np.uint8)
            splits[split] = data.Split(pixels_NxD, np.zeros(100, np.int32), index_N)
            start += 100
        return data.DataSet(name, (28, 28), 255, splits)

    monkeypatch.setattr(data, "load", fake)


def changed(config, key, value):
    *sections, name = key.split(".")
    holder = config
    for section in sections:
        holder = holder[section]
    with holder.unlocked():
        holder[name] = value
    return config


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
            {"model.network": "convolutional", "model.hidden": (9,), "model.channels": (2,) * 4},
            "8x8",
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


def test_a_family_without_an_encoder_asks_nothing_of_the_schedule():
    config = changed(digits_gap.get_config("smoke"), "train.optimizer.warmup_steps", 10)
    experiment = build(changed(config, "refit.num_steps", 0))
    assert [(s.name, s.num_steps) for s in experiment.stages] == [("train", 40)]


def test_bad_values_of_the_linear_gaussian_model():
    config = linear_gaussian.get_config("smoke")
    with pytest.raises(ConfigError, match="must be 5 numbers"):
        build(changed(config, "model.singular_values", (1.0, 2.0)))
    with pytest.raises(ConfigError, match="must be a tuple of numbers"):
        build(changed(config, "model.singular_values", ("a", 1.0, 1.0, 1.0, 1.0)))
    config = linear_gaussian.get_config("smoke")
    with pytest.raises(ConfigError, match="simulated needs"):
        build(changed(config, "model.name", "decoder"))


def test_simulated_examples_do_not_depend_on_the_sizes_of_the_splits():
    few, more = linear_gaussian.get_config("smoke"), linear_gaussian.get_config("smoke")
    more.data.num_train = few.data.num_train + 7
    few, more = build(few), build(more)
    np.testing.assert_array_equal(few.train_split.pixels_NxD, more.train_split.pixels_NxD[:-7])
    assert not np.array_equal(few.validation.x_NxD[0], more.validation.x_NxD[0])


def test_static_binarisation_is_that_of_the_index_and_the_data_seed():
    small, whole = digits_gap.get_config("smoke"), digits_gap.get_config()
    whole.seed = 7
    small, whole = build(small), build(whole)
    count = len(small.inputs["test"].index_N)
    np.testing.assert_array_equal(small.inputs["test"].x_NxD, whole.inputs["test"].x_NxD[:count])
    other_seed = digits_gap.get_config("smoke")
    other_seed.data.seed = 1
    assert not np.array_equal(small.inputs["test"].x_NxD, build(other_seed).inputs["test"].x_NxD)


def test_no_key_is_used_for_two_things():
    keys = build(digits_gap.get_config("smoke")).keys
    seed_key = jax.random.key(0)
    others = [named_key(0, purpose) for purpose in ("observe", "simulated", "study")]
    others += [*jax.random.split(seed_key, 20), *(jax.random.fold_in(seed_key, i) for i in range(100, 200))]
    everything = [*keys, *others]
    assert len({jax.random.key_data(key).tobytes() for key in everything}) == len(everything)


def test_a_variant_can_be_several():
    config = digits_gap.get_config("gaussian,smoke")
    assert config.model.likelihood.name == "gaussian"
    assert config.train.num_steps == digits_gap.get_config("smoke").train.num_steps
    with pytest.raises(ValueError, match="unknown variant 'smok'"):
        digits_gap.get_config("gaussian,smok")


def test_the_inner_loops_optimizer_is_one_setting():
    kept = {"adam": "mu", "quasi_newton": "curvature", "natural_gradient": "count"}  # a name in its state
    families = {"diagonal": "diagonal", "gaussian": "full"}
    for kind, name in (("diagonal", "adam"), ("gaussian", "quasi_newton"), ("diagonal", "natural_gradient")):
        config = changed(digits_gap.get_config("smoke"), f"inference.{kind}.optimizer.name", name)
        experiment = build(changed(config, f"inference.{kind}.objective.name", "elbo"))
        family = experiment.families[families[kind]]
        solver = experiment.evaluate.inference[family.name].solver(family)
        state = jax.tree_util.tree_leaves_with_path(solver.init(family.init()))
        paths = [jax.tree_util.keystr(path) for path, _ in state]
        found = {n for n, what in kept.items() if any(what in path for path in paths)}
        assert name in found
        assert found - {name} <= {"natural_gradient"}  # whose count others have too


def test_names_of_a_tuple_may_come_as_one_flag():
    config = changed(digits_gap.get_config("smoke"), "inference.families", ("diagonal,cholesky",))
    assert tuple(build(config).families) == ("diagonal", "cholesky")


def learned_in(regime, **changes):
    config = digits_gap.get_config("smoke")
    for key, value in {"learning.regime": regime, "data.observe": "once", **changes}.items():
        changed(config, key, value)
    return config


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            learned_in("mean_field", **{"model.learn": False}),
            "with model.learn=False there is nothing to learn",
        ),
        (
            learned_in(
                "semi_amortized",
                **{"learning.local.optimizer.name": "quasi_newton", "learning.local.objective.name": "elbo"},
            ),
            "no derivative for unrolled steps",
        ),
        (
            learned_in(
                "mean_field",
                **{
                    "posterior.family": "real_nvp",
                    "inference.families": ("real_nvp",),
                    "objective.name": "elbo_from_draws",
                },
            ),
            "is for a Gaussian q(z)",
        ),
        (
            learned_in("mean_field", **{"posterior.family": "full", "inference.families": ("full",)}),
            "config.learning.local.optimizer.max_norm=5.0: a step of learning_rate * max_norm = 1.5 can",
        ),
        (
            learned_in("amortized", **{"inference.gaussian.optimizer.learning_rate": 0.3}),
            "take less than 4.71 for full",
        ),
        (
            learned_in("mean_field", **{"objective.name": "beta_elbo", "objective.warmup_steps": 10}),
            "the rows of mean_field climb the ELBO, so must the model",
        ),
    ],
)
def test_a_regime_that_cannot_be_is_refused(config, says):
    with pytest.raises(ConfigError) as caught:
        build(config)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_larger_than_the_memory_is_refused_with_its_bytes(monkeypatch):
    small = learned_in("mean_field", **{"evaluate.memory_bytes": 1, "inference.families": ("diagonal",)})
    monkeypatch.setattr(os, "sysconf", lambda name: 500)
    # 1,257 rows of 20 float32, with the schedule's count, three times over.
    with pytest.raises(ConfigError, match=r"the table of 1,257 x 20 .* take 316,764 bytes, .* has 250,000"):
        build(small)
    monkeypatch.setattr(os, "sysconf", lambda name: 600)
    build(small)


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


def test_rows_need_an_index_of_their_own(monkeypatch):
    original = data.load

    def load(*arguments, **settings):
        loaded = original(*arguments, **settings)
        train = loaded.splits["train"]
        loaded.splits["train"] = train._replace(index_N=np.zeros_like(train.index_N))
        return loaded

    monkeypatch.setattr(data, "load", load)
    with pytest.raises(ConfigError, match="no index of their own"):
        build(learned_in("mean_field"))


def test_observed_once_is_the_evaluations_x():
    config = learned_in("amortized", **{"evaluate.splits": ("train",), "evaluate.max_points": 0})
    experiment = build(config)
    np.testing.assert_array_equal(experiment.train_split.pixels_NxD, experiment.inputs["train"].x_NxD)
    assert set(np.unique(experiment.train_split.pixels_NxD)) == {0.0, 1.0}


def test_smoke_comes_last_in_whatever_order():
    one, other = (mean_field_vs_encoder.get_config(names) for names in ("stopped,smoke", "smoke,stopped"))
    assert one.to_json() == other.to_json()
    assert {config.train.num_steps for p in read_sweep(one).points for config in p.configs} == {40, 20}


def test_powers_of_three_are_eight_stages_each_three_times_as_long_as_the_last():
    config = digits_gap.get_config()
    changes = {"schedule": "powers_of_three", "final_scale": 0.1, "learning_rate": 1e-3}
    config.train.optimizer.update(changes)
    schedule = learning_rates(optimizer.read_optimizer(Section(config.train.optimizer), 3280), 3280)
    ends = np.cumsum([3**i for i in range(8)])
    assert ends[-1] == 3280
    for i, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        for step in (start, end - 1):
            assert float(schedule(step)) == pytest.approx(1e-3 * 10 ** (-i / 7), rel=1e-5), (i, step)


def test_exponential_falls_by_the_same_part_in_every_step():
    config = digits_gap.get_config()
    config.train.optimizer.update({"schedule": "exponential", "final_scale": 0.25, "learning_rate": 1e-3})
    schedule = learning_rates(optimizer.read_optimizer(Section(config.train.optimizer), 100), 100)
    for step, rate in ((0, 1e-3), (50, 0.5e-3), (100, 0.25e-3)):
        assert float(schedule(step)) == pytest.approx(rate, rel=1e-6)


def spied(monkeypatch):
    """The numbers of steps that the solvers of section `learning.local` are made for."""
    seen, original = [], build_regime.gaussian_loop

    def solver(section, num_steps):
        seen.append(num_steps)
        return original(section, num_steps)

    monkeypatch.setattr(build_regime, "gaussian_loop", solver)
    return seen


def test_a_rows_schedule_spans_the_steps_it_takes_in_all(monkeypatch):
    """1,257 rows in batches of 100: 40 steps visit a row 3 or 4 times, with 5 steps of the solver each."""
    seen = spied(monkeypatch)
    build(learned_in("mean_field"))
    build(learned_in("semi_amortized", **{"learning.refinements": 7}))
    assert seen == [20, 7]


def test_the_models_schedule_spans_all_its_steps():
    config = learned_in("mean_field", **{"learning.model_steps": 3, "inference.families": ("diagonal",)})
    # 40 steps of 3 updates each, and the encoder after it
    assert [stage.recipe.num_updates for stage in build(config).stages] == [120, 20]


@pytest.mark.parametrize("name", ["natural_gradient", "adam"])
def test_a_local_solver_of_the_config_can_be_differentiated(name):
    """The derivative of the stick-the-landing gradient in phi is that of its central differences, whose own
    error is of the order of their step squared."""
    config = digits_gap.get_config()
    changed(config, "learning.local.optimizer.name", name)
    family = posterior.diagonal(2)
    solver = optimizer.gaussian_loop(Section(config.learning.local), 5)(family)
    phi_P, key = jnp.array([0.3, -0.2, 0.1, -0.4]), jax.random.key(0)

    def log_joint(z_K):
        return -jnp.sum(jnp.cosh(z_K - 1.0))

    def gradient(phi_P):
        return solver.gradient(log_joint, phi_P, solver.init(phi_P), key)[0]

    found_PxP = jax.jacobian(gradient)(phi_P)
    differences = [(gradient(phi_P + d) - gradient(phi_P - d)) / 0.02 for d in 0.01 * jnp.eye(4)]
    np.testing.assert_allclose(found_PxP, jnp.stack(differences, axis=1), rtol=1e-3, atol=2e-3)


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
