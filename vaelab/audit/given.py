"""What an audit is given: a user's own functions and data."""

import functools
import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.errors import ConfigError
from vaelab.model.prior import standard_normal
from vaelab.types import Array, Key, LatentModel, Params


class AuditError(ConfigError):
    """What was given to an audit cannot be audited; the message is one line that names the fix."""


class Given(NamedTuple):
    """A user's model. Each function takes the params first; without any of their own they are ().

    name: of the density, as the user calls it: log_likelihood, or log_joint
    density(params, x, z_K) -> [] nats; encode(params, x), or what it gave for every datapoint, or None;
    sample(params, key, z_K, x), or None: the user's, which takes of these what it asks for, and returns x, or
    (x, z) of a log_joint; x is a datapoint, for the sake of its covariates
    decode(params, z_K) -> an image, or None
    num_simulated: datapoints that are drawn by sample and measured too
    """

    name: str
    density: Callable[[Params, Any, Array], Array]
    encode: Callable[[Params, Any], Any] | tuple[Any, Any] | None
    sample: Callable[[Params, Key, Array, Any], Any] | None
    decode: Callable[[Params, Array], Array] | None
    params: Params
    latent_dim: int
    num_simulated: int

    def model(self) -> LatentModel:
        """The model that is measured; the prior that a log_joint has in it is part of its likelihood."""
        prior, known = standard_normal(self.latent_dim), self.name == "log_likelihood"
        return LatentModel(
            latent_dim=self.latent_dim,
            init=lambda key: self.params,
            log_prior=prior.log_prob if known else lambda params, z_K: 0.0,
            log_likelihood=self.density,
            mean=self.decode,
            sample=None,  # `draw`, which takes covariates, or draws z too
            sample_prior=prior.sample if known else None,
            prior=prior.name if known else None,
        )

    @property
    def draw(self) -> Callable[[Params, Key, Array, Any], tuple[Any, Array]] | None:
        """(params, key, z_K, x) -> (x drawn, the z that it was drawn from), or None without a sampler."""
        if self.sample is None:
            return None
        if self.name == "log_joint":
            return lambda params, key, z_K, x: tuple(self.sample(params, key, z_K, x))
        return lambda params, key, z_K, x: (self.sample(params, key, z_K, x), z_K)


def given_model(
    log_likelihood: Any,
    log_joint: Any,
    encode: Any,
    sample: Any,
    decode: Any,
    params: Any,
    latent_dim: Any,
    num_simulated: Any,
) -> Given:
    """The arguments of an audit that are functions, all with params. Raises AuditError."""
    if jax.config.jax_enable_x64:
        raise AuditError(
            "jax_enable_x64 is on and an audit is in float32: call it under jax.enable_x64(False)"
        )
    if (log_likelihood is None) == (log_joint is None):
        raise AuditError(
            "give log_likelihood=(x, z) -> [], or None and log_joint=(x, z) -> []: one of the two"
        )
    name = "log_joint" if log_likelihood is None else "log_likelihood"
    density = log_joint if log_likelihood is None else log_likelihood
    for what, function in ((name, density), ("sample", sample), ("decode", decode)):
        if function is not None and not callable(function):
            raise AuditError(f"{what} must be a function, not {type(function).__name__}")
    whole = {"latent_dim": (latent_dim, 1), "num_simulated": (num_simulated, 0)}
    for what, (number, least) in whole.items():
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < least:
            raise AuditError(f"{what}={number!r} must be a whole number of {least} or more")
    if num_simulated and sample is None:
        arguments = "(key, z) -> x" if name == "log_likelihood" else "(key) -> (x, z)"
        raise AuditError(f"num_simulated={num_simulated} needs sample={arguments}")

    def with_params(function: Callable[..., Any] | None) -> Callable[..., Any] | None:
        if params is not None or not callable(function):
            return function
        return lambda _, *arguments: function(*arguments)

    drawn = None if sample is None else _sampler(sample, name, with_params=params is not None)
    functions = with_params(density), with_params(encode), drawn, with_params(decode)
    return Given(
        name, *functions, () if params is None else params, int(latent_dim), num_simulated=int(num_simulated)
    )


def _sampler(sample: Callable[..., Any], name: str, *, with_params: bool) -> Callable[..., Any]:
    """The user's sampler as (params, key, z_K, x) -> its result, by the number of arguments that it asks for.

    Beside a log_likelihood these are (key, z) or (key, z, x), beside a log_joint (key) or (key, x). Raises
    AuditError.
    """
    try:
        parameters = inspect.signature(sample).parameters.values()
        by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        asked = sum(p.default is p.empty for p in by_position) - with_params
        if any(p.kind is p.VAR_POSITIONAL for p in parameters):
            asked = None
    except (TypeError, ValueError):  # a callable that has no signature to be read
        asked = None
    least = 1 if name == "log_joint" else 2
    asked = least if asked is None else asked
    if asked not in (least, least + 1):
        forms = "(key) -> (x, z) or (key, x) -> (x, z)" if least == 1 else "(key, z) -> x or (key, z, x) -> x"
        first = " after params" if with_params else ""
        raise AuditError(f"sample takes {asked} arguments{first}; with {name} it is {forms}")

    def drawn(params: Params, key: Key, z_K: Array, x: Any) -> Any:
        arguments = (key,) if least == 1 else (key, z_K)
        arguments += (x,) if asked > least else ()
        return sample(params, *arguments) if with_params else sample(*arguments)

    return drawn


class Choices(NamedTuple):
    """How the gaps are to be measured: the arguments of `audit` of the same names."""

    family: str | None
    families: tuple[str, ...]
    evidence: str
    tolerance: float
    settings: Mapping[str, Any]


def given_choices(
    family: str | None,
    families: Sequence[str],
    evidence: str,
    tolerance: float,
    settings: Mapping[str, Any] | None,
) -> Choices:
    """The choices, without a name of families that is taken for its letters. Raises AuditError."""
    if isinstance(families, str):
        raise AuditError(f"families={families!r} must be a tuple of names, as ({families!r},)")
    return Choices(family, tuple(families), evidence, tolerance, settings or {})


def typed(key: Any) -> Key:
    """A typed key, made of one or of a key of the older kind. Raises AuditError."""
    if (
        isinstance(key, jax.Array)
        and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
        and key.shape == ()
    ):
        return key
    if isinstance(key, jax.Array) and key.dtype == jnp.uint32 and key.shape == (2,):
        return jax.random.wrap_key_data(key)
    raise AuditError(f"key must be a JAX key, as jax.random.key(0), not {key!r}")


def theirs(name: str, function: Callable[..., Any], params: Params, how: str = "") -> Callable[..., Any]:
    """The function, whose exceptions are told as the user's: with the call, how it was made, and the line."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            return function(params, *arguments)
        except AuditError:
            raise
        except Exception as error:
            shapes = ", ".join(str(jax.tree.map(described, argument)) for argument in arguments)
            said = " ".join(str(error).split())[:300]
            raise AuditError(
                f"{name}({shapes}){how} raised {type(error).__name__}: {said}{_place(error)}"
            ) from error

    return call


def described(array: Any) -> str:
    aval = jax.typeof(array) if isinstance(array, jax.Array) else np.asarray(array)
    if jax.dtypes.issubdtype(aval.dtype, jax.dtypes.prng_key):
        return "key"
    return f"{aval.dtype}[{','.join(map(str, aval.shape))}]"


def _place(error: Exception) -> str:
    """Where in the user's files it was raised: the last frame that is neither vaelab's nor a package's."""
    of_audit = str(Path(__file__).parent)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(of_audit) and "site-packages" not in frame.filename
    ]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def shapes(value: Any) -> str:
    return str(jax.tree.map(described, value))
