"""A user's own network, likelihood or prior, named in a config as module:attribute."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from vaelab.config.section import Section
from vaelab.data.sources import first_line
from vaelab.errors import ConfigError
from vaelab.model import Prior
from vaelab.types import Network, Params

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


def checked_prior(
    section: Section, make: Callable[[], Prior], latent_dim: int, encoder: Network | None
) -> Prior:
    """The prior that a user's own `make` gives. Raises ConfigError where it is none of z of [latent_dim].

    By shapes alone: nothing is computed. encoder: that which the prior is made of; None where it is of none.
    """
    prior = _tried(section, "could not be made", make)
    if not isinstance(prior, Prior):
        raise section.error("name", f"makes a {type(prior).__name__}, and a Prior is needed")
    if prior.name == "standard_normal":
        raise section.error("name", "is called standard_normal, which is N(0, I)", fix="call it otherwise")
    key = jax.random.key(0)

    def params() -> Params:
        made = prior.init(key)
        for path, leaf in jax.tree_util.tree_leaves_with_path(made):
            in_dicts = all(isinstance(part, jax.tree_util.DictKey) for part in path)
            if not in_dicts or not hasattr(leaf, "shape"):
                what = f"a {type(leaf).__name__}" if in_dicts else "an array in a list or tuple"
                problem = f"has an init with {what} at {jax.tree_util.keystr(path)}"
                raise section.error("name", problem, fix="give a dict of arrays, or of such dicts")
        return made if prior.tie is None or encoder is None else prior.tie(made, encoder.init(key))

    if prior.tie is not None and encoder is None:
        raise section.error("name", "has a tie to an encoder", fix="set of_encoder=True of its PriorEntry")
    shapes = _tried(section, "has an init that failed", lambda: jax.eval_shape(params))
    for leaf in jax.tree.leaves(shapes):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            problem = f"has parameters of {leaf.dtype}, shape {list(leaf.shape)}, which cannot be learned"
            raise section.error("name", problem, fix="give floats, and close over what is none")
    z_K, K = jax.ShapeDtypeStruct((latent_dim,), jnp.float32), latent_dim
    levels = (len(prior.levels),)
    if prior.levels and sum(prior.levels) != K:
        raise section.error("name", f"has levels {prior.levels}, and z has {K} dimensions in all")
    for what, function, argument, shape in (
        ("log_prob", prior.log_prob, z_K, ()),
        ("fast_log_prob", prior.fast_log_prob, z_K, ()),
        ("log_prob_of_levels", prior.log_prob_of_levels, z_K, levels),
        ("sample", prior.sample, key, (K,)),
        ("concavity", prior.concavity, None, (K, K)),
    ):
        if function is not None:
            arguments = (shapes,) if argument is None else (shapes, argument)
            _check_function(section, f"{what} of z of shape [{K}]", function, arguments, shape)
    return prior


def _check_function(
    section: Section, what: str, function: Callable[..., Any], arguments: tuple, shape: tuple[int, ...]
) -> None:
    """Raises ConfigError where a function does not give one array of floats of this shape."""
    given = _tried(
        section, f"failed in {what}", lambda: jax.eval_shape(lambda *given: function(*given), *arguments)
    )
    if not hasattr(given, "shape"):
        raise section.error("name", f"gives no array as {what}, and shape {list(shape)} is needed")
    if given.shape != shape:
        problem = f"gives shape {list(given.shape)} as {what}, and {list(shape)} is needed"
        raise section.error("name", problem)
    if not jnp.issubdtype(given.dtype, jnp.floating):
        raise section.error("name", f"gives {given.dtype} as {what}, and floats are needed")


def _tried(section: Section, problem: str, function: Callable[[], T]) -> T:
    """What a function of the user's gives. Raises ConfigError with the first line of its own error."""
    try:
        return function()
    except ConfigError:
        raise
    except Exception as error:  # broad, as the function is the user's
        raise section.error("name", f"{problem} ({type(error).__name__}: {first_line(error)})") from None
