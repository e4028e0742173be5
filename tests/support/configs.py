"""Changes of a config, as the tests of its readers make them."""

from collections.abc import Callable
from typing import Any

import pytest

from experiments import digits_gap
from vaelab.errors import ConfigError


def changed(config, key, value):
    *sections, name = key.split(".")
    holder = config
    for section in sections:
        holder = holder[section]
    with holder.unlocked():
        holder[name] = value
    return config


def smoke_with(settings):
    """The smoke of the demo with these settings, by their dotted names."""
    config = digits_gap.get_config("smoke")
    for key, value in settings.items():
        changed(config, key, value)
    return config


def learned_in(regime, **changes):
    return smoke_with({"learning.regime": regime, "data.observe": "once", **changes})


def refused(read: Callable[[], Any], says: str) -> None:
    """Asserts that reading ends with one line, about a setting, that says so."""
    with pytest.raises(ConfigError) as caught:
        read()
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("--config.")
    assert says in line, line
