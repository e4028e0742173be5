"""Changes of a config that experiments share."""

import pytest

from experiments import digits_gap, mean_field_vs_encoder
from vaelab.config.sweep import read_sweep


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
