"""Studies from a config: their numbers reach them, and are checked before anything is computed."""

import importlib

import jax
import pytest

from tests.support.configs import changed, refused
from vaelab import study
from vaelab.config.study import build_study
from vaelab.keys import named_key

STUDIES = ("reparameterization", "family_cost", "full_covariance_kl", "gradient_variance")


def config_of(name):
    return importlib.import_module(f"experiments.{name}").get_config()


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_gets_every_number_of_its_section_and_the_key_of_its_seed(name, monkeypatch):
    seen = []
    monkeypatch.setattr(study, name, lambda key, **numbers: seen.append((key, numbers)))
    config = changed(config_of(name), "seed", 5)
    build_study(config)()
    ((key, numbers),) = seen
    assert jax.random.key_data(key).tolist() == jax.random.key_data(named_key(5, "study")).tolist()
    sizes = numbers.pop("sizes")._asdict() if "sizes" in numbers else {}
    wanted = config.study.to_dict()
    assert wanted.pop("name") == name
    assert numbers | sizes == wanted


@pytest.mark.parametrize(
    ("name", "key", "value", "says"),
    [
        ("reparameterization", "study.name", "family_costs", "did you mean 'family_cost'"),
        ("reparameterization", "study.latent_dim", 1, "2 or more"),
        ("family_cost", "study.families", ("diagnal",), "did you mean 'diagonal'"),
        ("family_cost", "study.families", ("per_level",), "unknown; there are diagonal, full"),
        ("family_cost", "study.rank", 0, "1 or more"),
        ("full_covariance_kl", "study.latent_dims", (), "must be a tuple of integers"),
        ("gradient_variance", "study.repeats", 9, "10 or more"),
        ("gradient_variance", "study.num_step", 1, "has no effect"),
        ("gradient_variance", "smoke", 1, "must be True or False"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_computed(name, key, value, says):
    config = config_of(name)
    *outer, last = key.split(".")
    holder = config[outer[0]] if outer else config
    with config.unlocked(), holder.ignore_type():
        holder[last] = value
    refused(lambda: build_study(config), says)
