"""A user's own network or likelihood, named in a config as module:attribute."""

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from vaelab.config.section import Section
from vaelab.data.sources import first_line
from vaelab.errors import ConfigError
from vaelab.types import Network

T = TypeVar("T")


def entry(section: Section, name: str, options: Mapping[str, T], kind: type[T]) -> T:
    """The entry of `options` by the setting's value, or "module:attribute", which must be a `kind`.

    The module is looked for in the folder of the launch too. Raises ConfigError where there is none, or it is
    something else.
    """
    value = section.value(name)
    if not is_own(value):
        return section.choice(name, options)
    module_name, _, attribute = value.partition(":")
    try:
        module = _imported(module_name)
    except Exception as error:  # broad, as the module is the user's
        problem = f"{module_name} cannot be imported ({type(error).__name__}: {first_line(error)})"
        raise section.error(name, problem, fix="give module:attribute of a module on the path") from None
    found = getattr(module, attribute, None)
    if not isinstance(found, kind):
        has = ", ".join(key for key, each in vars(module).items() if isinstance(each, kind))
        what = (
            f"{module_name} has no {attribute}"
            if found is None
            else f"{attribute} is a {type(found).__name__}"
        )
        raise section.error(name, f"{what}, and a {kind.__name__} is needed", fix=has and f"it has {has}")
    return found


def is_own(value: Any) -> bool:
    """Whether a setting names something of the user's own."""
    return isinstance(value, str) and ":" in value


def _imported(name: str) -> Any:
    folder = os.getcwd()
    if folder in sys.path:
        return importlib.import_module(name)
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)


def check_network(section: Section, network: Network, input_size: int, output_size: int) -> None:
    """Raises ConfigError where a user's own network does not take [input_size] to [output_size].

    By shapes alone: nothing is computed. A network of the package is as it should be.
    """
    if not is_own(section.value("network")):
        return

    def output() -> Any:
        return network.apply(network.init(jax.random.key(0)), jnp.zeros(input_size))

    try:
        shape = jax.eval_shape(output)
    except ConfigError:
        raise
    except Exception as error:  # broad, as the network is the user's
        problem = f"failed on an input of shape [{input_size}] ({type(error).__name__}: {first_line(error)})"
        raise section.error("network", problem) from None
    given = getattr(shape, "shape", None)
    if given != (output_size,):
        sizes = "no array" if given is None else f"shape {list(given)}"
        problem = f"gives {sizes} for an input of shape [{input_size}], and [{output_size}] is needed"
        raise section.error("network", problem)
