"""Changes of a config that experiments share."""

from functools import partial

import pytest

from experiments import digits_gap, mean_field_vs_encoder
from vaelab.config import defaults
from vaelab.config.sweep import read_sweep
from vaelab.errors import ConfigError


def test_a_variant_can_be_several():
    config = digits_gap.get_config("gaussian,smoke")
    assert config.model.likelihood.name == "gaussian"
    assert config.train.num_steps == digits_gap.get_config("smoke").train.num_steps
    with pytest.raises(ValueError, match="unknown variant 'smok'"):
        digits_gap.get_config("gaussian,smok")


def test_smoke_comes_last_in_whatever_order():
    one, other = (mean_field_vs_encoder.get_config(names) for names in ("stopped,smoke", "smoke,stopped"))
    assert one.to_json() == other.to_json()
    assert {config.train.num_steps for p in read_sweep(one).points for config in p.configs} == {40, 20}


def test_the_study_of_gaps_is_of_the_trained_family_alone():
    config = defaults.get_config()
    config.posterior.family, config.train.num_steps = "full", 777
    defaults.study_gaps(config)
    assert config.inference.families == ("full",)
    assert config.refit.num_steps == 0
    assert config.evaluate.splits == ("train", "test")
    assert config.train.evaluate_every == config.train.checkpoint_every == 777


def test_what_is_shrunk_costs_less_and_no_setting_is_added():
    config = defaults.get_config()
    config.evaluate.inference_times = (1, 2, 3)
    config.refit.num_steps = 7
    config.sweep = defaults.sweep(("seed", (1, 2, 3)), num_seeds=9)
    names = set(_numbers(config))
    before = _numbers(config)
    defaults.shrink(config)
    after = _numbers(config)
    assert set(after) == names
    assert all(after[name] <= before[name] for name in names)
    assert after["train.num_steps"] < 100 < before["train.num_steps"]
    assert (after["refit.num_steps"], after["sweep.num_seeds"]) == (7, 2)
    assert config.evaluate.inference_times == (1, 2)
    assert config.sweep.axes == (("seed", (1, 2)),)


def _numbers(config, path=""):
    """{dotted name: value} of all integers."""
    numbers = {}
    for name, value in config.items():
        if isinstance(value, type(config)):
            numbers |= _numbers(value, f"{path}{name}.")
        elif type(value) is int:
            numbers[f"{path}{name}"] = value
    return numbers


def test_variants_are_made_in_the_order_of_their_names():
    config = defaults.get_config()
    apply = partial(
        defaults.apply_variant,
        one=lambda config: config.train.update({"num_steps": 5}),
        two=lambda config: config.train.update({"num_steps": 2 * config.train.num_steps}),
        smoke=lambda config: config.train.update({"num_steps": config.train.num_steps + 1}),
    )
    assert apply(config, "smoke,one,two").train.num_steps == 11
    assert config.smoke is True
    assert "smoke" not in apply(defaults.get_config(), "")
    with pytest.raises(
        ConfigError, match=r"^unknown variant 'tow'; there are one, two, smoke; did you mean 'two'"
    ):
        apply(config, "tow")
