"""Changes of a config, as the tests of its readers make them."""

from collections.abc import Callable
from typing import Any

import pytest

from experiments import digits_gap
from vaelab.types import ConfigError


def changed(config, key, value):
    *sections, name = key.split(".")
    holder = config
    for section in sections:
        holder = holder[section]
    with holder.unlocked():
        holder[name] = value
    return config


def learned_in(regime, **changes):
    config = digits_gap.get_config("smoke")
    for key, value in {"learning.regime": regime, "data.observe": "once", **changes}.items():
        changed(config, key, value)
    return config


def refused(read: Callable[[], Any], says: str) -> None:
    """Asserts that reading ends with one line, about a setting, that says so."""
    with pytest.raises(ConfigError) as caught:
        read()
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("--config.")
    assert says in line, line
