"""Bad settings of a study are refused in one line."""

import pytest

from experiments import reparameterization
from vaelab.config.study import build_study
from vaelab.types import ConfigError


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("name", "reparametrization", "did you mean 'reparameterization'"),
        ("latent_dim", 1, "2 or more"),
        ("num_draws", 99, "100 or more"),
    ],
)
def test_bad_settings_are_one_line(key, value, says):
    config = reparameterization.get_config()
    with config.unlocked():
        config.study[key] = value
    with pytest.raises(ConfigError, match=says):
        build_study(config)
