"""The families and settings of an audit: the defaults, with what its caller asks for."""

import pytest

from vaelab.config import defaults
from vaelab.config.audit import ELSEWHERE, audit_config, audit_settings
from vaelab.errors import ConfigError


def config_of(*names, encoded=None, evidence="importance", tolerance=0.02, **changes):
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    return audit_config(names, encoded, evidence=evidence, tolerance=tolerance, changes=changes)


def test_what_is_asked_for_is_what_is_measured():
    config = config_of("diagonal", "full", encoded="full", evidence__num_samples=77, posterior__rank=2)
    families, settings = audit_settings(config, 3, "full", two_sided=True)
    assert list(families) == ["full", "diagonal"]
    assert (settings.families, settings.tolerance) == (("diagonal", "full"), 0.02)
    assert settings.evidence.by_modes.num_samples == 77
    assert [estimator.name for estimator in settings.evidence.estimators] == ["importance sampling"]
    assert config.posterior.rank == 2


def test_the_defaults_of_a_study_stay_as_they_are():
    before = defaults.inference().to_dict()
    config = config_of("diagonal", inference__max_rounds=9)
    assert config.inference.max_rounds == 9
    assert config.inference.diagonal.objective.num_samples > before["diagonal"]["objective"]["num_samples"]
    assert defaults.inference().to_dict() == before


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_has_another_place_is_named_with_it(name):
    with pytest.raises(ConfigError) as caught:
        config_of("diagonal", **{name.replace(".", "__"): 1})
    assert (caught.value.setting, caught.value.value, caught.value.fix) == (name, 1, ELSEWHERE[name])


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("evidence__num_sample", 3, "there is no such setting; did you mean 'evidence.num_samples'?"),
        ("train__num_steps", 3, "train.num_steps=3: there is no such setting"),
        ("evidence__num_samples", "many", "evidence.num_samples='many'"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(name, value, says):
    with pytest.raises(ConfigError) as caught:
        config_of("diagonal", **{name: value})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_both_bounds_need_a_gaussian_family_to_begin_at():
    config = config_of("real_nvp")
    audit_settings(config, 2, None, two_sided=False)
    with pytest.raises(ConfigError, match=r"anneals from a Gaussian family, not 'real_nvp'"):
        audit_settings(config_of("real_nvp"), 2, None, two_sided=True)


@pytest.mark.parametrize("name", ["per_level", "bottom_up", "top_down"])
def test_families_of_levels_are_not_for_a_model_of_which_none_are_known(name):
    with pytest.raises(ConfigError, match="unknown; there are diagonal, full") as caught:
        audit_settings(config_of("diagonal", name), 3, None, two_sided=False)
    assert "\n" not in str(caught.value)
