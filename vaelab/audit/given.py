"""What an audit is given: a user's own functions and data."""

import functools
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.model.prior import standard_normal_log_prob
from vaelab.types import Array, ConfigError, Key, LatentModel, Params


class AuditError(ConfigError):
    """What was given to an audit cannot be audited; the message is one line that names the fix."""


class Given(NamedTuple):
    """A user's model. Each function takes the params first; without any of their own they are ().

    name: of the density, as the user calls it: log_likelihood, or log_joint
    density(params, x, z_K) -> [] nats; encode(params, x), or what it gave for every datapoint, or None;
    sample(params, key, z_K) -> x, or None; decode(params, z_K) -> an image, or None
    num_simulated: datapoints that are drawn by sample and measured too
    """

    name: str
    density: Callable[[Params, Any, Array], Array]
    encode: Callable[[Params, Any], Any] | tuple[Any, Any] | None
    sample: Callable[[Params, Key, Array], Any] | None
    decode: Callable[[Params, Array], Array] | None
    params: Params
    latent_dim: int
    num_simulated: int

    def model(self) -> LatentModel:
        """The model that is measured; the prior that a log_joint has in it is part of its likelihood."""
        return LatentModel(
            latent_dim=self.latent_dim,
            init=lambda key: self.params,
            log_prior=standard_normal_log_prob if self.name == "log_likelihood" else lambda z_K: 0.0,
            log_likelihood=self.density,
            mean=self.decode,
            sample=self.sample,
        )


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
    if sample is not None and log_likelihood is None:
        raise AuditError(
            "sample draws x given z, of a model with log_likelihood: leave it out with log_joint"
        )
    if num_simulated and sample is None:
        raise AuditError(f"num_simulated={num_simulated} needs sample=(key, z) -> x")

    def with_params(function: Callable[..., Any] | None) -> Callable[..., Any] | None:
        if params is not None or not callable(function):
            return function
        return lambda _, *arguments: function(*arguments)

    functions = map(with_params, (density, encode, sample, decode))
    return Given(
        name, *functions, () if params is None else params, int(latent_dim), num_simulated=int(num_simulated)
    )


class Data(NamedTuple):
    """The datapoints: x with one row each in every array, their number, and columns beside them; the key."""

    x: Any
    count: int
    key: Any
    columns: dict[str, np.ndarray]


def given_data(x: Any, key: Any, **columns: Any) -> Data:
    """The datapoints as NumPy arrays, and the columns that are not None. Raises AuditError."""
    x, count = as_arrays(x)
    _check_digits(x)
    for name, values in columns.items():
        _check_masks(name, values)
    arrays = {name: np.asarray(values) for name, values in columns.items() if values is not None}
    for name, values in arrays.items():
        if values.shape[:1] != (count,) or values.dtype == object:
            raise AuditError(
                f"{name} must be one for each of the {count:,} datapoints, and has the shape {values.shape}"
            )
    return Data(x, count, key, arrays)


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


def as_arrays(x: Any, what: str = "x") -> tuple[Any, int]:
    """(x as NumPy arrays, N). Raises AuditError."""
    _check_masks(what, x)
    x = jax.tree.map(np.asarray, x)
    leaves = jax.tree.leaves(x)
    bad = [a.dtype for a in leaves if not (jnp.issubdtype(a.dtype, jnp.number) or a.dtype == bool)]
    if bad or not leaves:
        raise AuditError(f"{what} must be numbers, in arrays of one row a datapoint, not {bad or x!r}")
    sizes = {a.shape[:1] for a in leaves}
    if len(sizes) > 1 or () in sizes or (0,) in sizes:
        arrays = ", ".join(_described(a) for a in leaves[:4]) + (", ..." if len(leaves) > 4 else "")
        if all(a.ndim == 0 for a in leaves):
            arrays += f"; of lists give np.asarray({what})"
        raise AuditError(f"{what} must have one row a datapoint, the same number in every array: {arrays}")
    _check_integers(what, leaves)
    return x, leaves[0].shape[0]


def _check_masks(what: str, tree: Any) -> None:
    """Raises AuditError where entries are behind a mask, which JAX arrays do not have."""
    for leaf in jax.tree.leaves(tree):
        masked = np.sum(np.ma.getmaskarray(leaf)) if isinstance(leaf, np.ma.MaskedArray) else 0
        if masked:
            raise AuditError(
                f"{what} has {masked:,} masked entries, and what is behind the mask would be taken for data: "
                f"give {what}.filled(0) with ~{what}.mask beside it, and leave these entries out"
            )


def _check_integers(what: str, leaves: list[np.ndarray]) -> None:
    """Raises AuditError for integers that wrap in the type that JAX, without 64 bits, makes of theirs."""
    for a in leaves:
        if a.dtype.kind not in "iu" or not a.size:
            continue
        dtype = jax.dtypes.canonicalize_dtype(a.dtype)
        least, greatest = int(a.min()), int(a.max())
        if least < np.iinfo(dtype).min or greatest > np.iinfo(dtype).max:
            raise AuditError(
                f"{what} has integers from {least:,} to {greatest:,}, which {dtype.name} does not hold: "
                "subtract an offset or scale them before, and give float32"
            )


LOST = 1e-3  # of the spread of a dimension: what rounding to float32 may take
NO_SPREAD = 1e-12  # of the size of the numbers: a spread this small is rounding in float64


def _check_digits(x: Any) -> None:
    """Raises AuditError where float32 rounds what a dimension of x varies by between the datapoints."""
    for a in jax.tree.leaves(x):
        if a.dtype.kind != "f" or a.dtype.itemsize <= 4:
            continue
        flat_NxD = a.reshape(len(a), -1)
        kept_NxD = np.where(np.isfinite(flat_NxD), flat_NxD, 0.0)
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and its rounding too
            rounding_D = np.abs(kept_NxD - kept_NxD.astype(np.float32)).max(axis=0)
            spread_D, size_D = kept_NxD.std(axis=0), np.abs(kept_NxD).max(axis=0)
        lost_D = np.isinf(rounding_D) | (rounding_D > LOST * spread_D) & (spread_D > NO_SPREAD * size_D)
        if lost_D.any():
            first = np.flatnonzero(lost_D)[0]
            raise AuditError(
                f"x is {a.dtype} and an audit is in float32, which rounds dimension {first} by up to "
                f"{rounding_D[first]:.2g} where its standard deviation is {spread_D[first]:.2g}: subtract an "
                "offset or scale it before; give x.astype(np.float32) if these digits do not matter"
            )


def theirs(name: str, function: Callable[..., Any], params: Params, how: str = "") -> Callable[..., Any]:
    """The function, whose exceptions are told as the user's: with the call, how it was made, and the line."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            return function(params, *arguments)
        except AuditError:
            raise
        except Exception as error:
            shapes = ", ".join(str(jax.tree.map(_described, argument)) for argument in arguments)
            said = " ".join(str(error).split())[:300]
            raise AuditError(
                f"{name}({shapes}){how} raised {type(error).__name__}: {said}{_place(error)}"
            ) from error

    return call


def _described(array: Any) -> str:
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
    return str(jax.tree.map(_described, value))
