"""The arrays an audit is given, as NumPy's: the datapoints, what goes beside them, and params.

What JAX in float32 would take for other numbers than they are is refused in one line, and so is what is no
array at all.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.audit.given import AuditError, described
from vaelab.types import Params


class Data(NamedTuple):
    """The datapoints: x with one row each in every array, their number, and columns beside them; the key."""

    x: Any
    count: int
    key: Any
    columns: dict[str, np.ndarray]


def given_data(x: Any, key: Any, **columns: Any) -> Data:
    """The datapoints as NumPy arrays, and the columns that are not None. Raises AuditError."""
    x, count = as_arrays(x)
    for a in jax.tree.leaves(x):
        _check_digits("x", a)
    for name, values in columns.items():
        _check_masks(name, values)
    arrays = {name: np.asarray(values) for name, values in columns.items() if values is not None}
    for name, values in arrays.items():
        if values.shape[:1] != (count,) or values.dtype == object:
            raise AuditError(
                f"{name} must be one for each of the {count:,} datapoints, and has the shape {values.shape}"
            )
    weights = arrays.get("weights")
    if weights is not None and weights.ndim == 1:
        if weights.dtype.kind not in "fiub" or not (np.isfinite(weights) & (weights >= 0)).all():
            raise AuditError("weights must be finite numbers of 0 or more, one for each datapoint")
        if not weights.sum() > 0:
            raise AuditError("weights are 0 at every datapoint: give some that are not")
    return Data(x, count, key, arrays)


def as_arrays(x: Any, what: str = "x") -> tuple[Any, int]:
    """(x as NumPy arrays, N). Raises AuditError."""
    _check_list(what, x)
    if isinstance(x, Iterator):  # which a pytree does not take for a leaf in every version of JAX
        x = _as_array(what, x)
    x = jax.tree.map(lambda leaf: _as_array(what, leaf), x, is_leaf=_is_sparse)
    leaves = jax.tree.leaves(x)
    if not leaves:
        raise AuditError(f"{what} must be numbers, in arrays of one row a datapoint, not {x!r}")
    sizes = {a.shape[:1] for a in leaves}
    if len(sizes) > 1 or () in sizes or (0,) in sizes:
        arrays = ", ".join(described(a) for a in leaves[:4]) + (", ..." if len(leaves) > 4 else "")
        if all(a.ndim == 0 for a in leaves):
            arrays += f"; of lists give np.asarray({what})"
        raise AuditError(f"{what} must have one row a datapoint, the same number in every array: {arrays}")
    for a in leaves:
        _check_integers(what, a)
    return x, leaves[0].shape[0]


def check_params(params: Params) -> None:
    """Raises AuditError for what no compiled function takes, and for numbers that float32 does not hold."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params, is_leaf=_is_sparse):
        what = f"params{jax.tree_util.keystr(path)}"
        if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended):
            continue  # a key
        if isinstance(leaf, str | bytes) or callable(leaf):
            raise AuditError(
                f"{what} is {_kind(leaf)}, and params must be arrays: close over what is none, as with "
                "functools.partial; of a module give its arrays"
            )
        a = _as_array(what, leaf)
        holes = np.sum(np.isnan(a)) if jnp.issubdtype(a.dtype, jnp.inexact) else 0
        if holes:
            raise AuditError(f"{what} has {holes:,} NaN among its {a.size:,} numbers: give finite ones")
        _check_integers(what, a)
        # One after the other, each number stands for itself: the spread is that between them.
        _check_digits(what, a.reshape(-1, 1))


MANY = 10  # arrays in a list: more are datapoints, not parts of one


def _check_list(what: str, x: Any) -> None:
    """Raises AuditError for a list of datapoints, whose arrays would be taken for parts of each."""
    if not isinstance(x, list) or not x:
        return
    shapes = {np.shape(a) for a in x if hasattr(a, "shape")}
    vectors = len(x) > 1 and all(hasattr(a, "shape") for a in x) and len(shapes) == 1
    if isinstance(x[0], dict | tuple):
        raise AuditError(
            f"{what} is a list of {len(x):,} {type(x[0]).__name__}s: give one {type(x[0]).__name__} of "
            f"arrays with a row for each datapoint, as jax.tree.map(lambda *a: np.stack(a), *{what})"
        )
    if vectors and len(next(iter(shapes))) > 0 and (len(x) > MANY or len(next(iter(shapes))) == 1):
        raise AuditError(
            f"{what} is a list of {len(x):,} arrays of the shape {next(iter(shapes))}: of one for each "
            f"datapoint give np.stack({what}); of parts of a datapoint a tuple"
        )


def _as_array(what: str, leaf: Any) -> np.ndarray:
    """The leaf as a NumPy array of numbers that JAX takes as they are. Raises AuditError."""
    if isinstance(leaf, np.ndarray):
        _check_masks(what, leaf)
    if _is_sparse(leaf):
        dense = "toarray" if hasattr(leaf, "toarray") else "todense"
        raise AuditError(
            f"{what} is a sparse {type(leaf).__name__}, which JAX does not take: {dense}() of it"
        )
    if isinstance(leaf, str | bytes) or not (
        hasattr(leaf, "__array__") or isinstance(leaf, int | float | complex | bool)
    ):
        raise AuditError(
            f"{what} must be numbers, and it is {_kind(leaf)}: give an array, of all batches np.concatenate"
        )
    try:
        a = np.asarray(leaf)
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise AuditError(
            f"{what} is {_kind(leaf)} and no NumPy array can be made of it ({said}): give one, as "
            "tensor.detach().cpu().numpy()"
        ) from error
    if a.dtype == object:
        raise AuditError(
            f"{what} must be numbers, and its {_kind(leaf)} holds objects: give np.asarray({what}, "
            "np.float32), of a table to_numpy(np.float32) of its columns of numbers"
        )
    if not (jnp.issubdtype(a.dtype, jnp.number) or a.dtype == bool):
        raise AuditError(f"{what} must be numbers, in arrays of one row a datapoint, not {[a.dtype]}")
    if jnp.issubdtype(a.dtype, jnp.complexfloating):
        raise AuditError(f"{what} is {a.dtype}: give its real and its imaginary part")
    if what == "x" and jnp.issubdtype(a.dtype, jnp.floating) and a.dtype.itemsize < 4:
        raise AuditError(f"x is {a.dtype} and an audit is in float32: give x.astype(np.float32)")
    return a


def _is_sparse(leaf: Any) -> bool:
    """Sparse arrays of SciPy (toarray), and of JAX (todense), which are pytrees of their parts."""
    return hasattr(leaf, "todense") or hasattr(leaf, "toarray")


def _kind(leaf: Any) -> str:
    """The type, with the package where it is none of Python's or NumPy's, and the value of a word."""
    if isinstance(leaf, str | bytes):
        return f"the word {leaf[:40]!r}"
    package = type(leaf).__module__.split(".")[0]
    prefix = "" if package in ("builtins", "numpy", "__main__") else f"{package}."
    return f"{prefix}{type(leaf).__name__}"


def _check_masks(what: str, tree: Any) -> None:
    """Raises AuditError where entries are behind a mask, which JAX arrays do not have."""
    for leaf in jax.tree.leaves(tree):
        masked = np.sum(np.ma.getmaskarray(leaf)) if isinstance(leaf, np.ma.MaskedArray) else 0
        if masked:
            raise AuditError(
                f"{what} has {masked:,} masked entries, and what is behind the mask would be taken for data: "
                f"give {what}.filled(0) with ~{what}.mask beside it, and leave these entries out"
            )


def _check_integers(what: str, a: np.ndarray) -> None:
    """Raises AuditError for integers that wrap in the type that JAX, without 64 bits, makes of theirs."""
    if a.dtype.kind not in "iu" or not a.size:
        return
    dtype = jax.dtypes.canonicalize_dtype(a.dtype)
    least, greatest = int(a.min()), int(a.max())
    if least < np.iinfo(dtype).min or greatest > np.iinfo(dtype).max:
        raise AuditError(
            f"{what} has integers from {least:,} to {greatest:,}, which {dtype.name} does not hold: "
            "subtract an offset or scale them before, and give float32"
        )


LOST = 1e-3  # of the spread of a dimension: what rounding to float32 may take
NO_SPREAD = 1e-12  # of the size of the numbers: a spread this small is rounding in float64


def _check_digits(what: str, a: np.ndarray) -> None:
    """Raises AuditError where float32 rounds what a dimension varies by between the rows."""
    if a.dtype.kind != "f" or a.dtype.itemsize <= 4 or not a.size:
        return
    flat_NxD = a.reshape(len(a), -1)
    kept_NxD = np.where(np.isfinite(flat_NxD), flat_NxD, 0.0)
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and its rounding too
        rounding_D = np.abs(kept_NxD - kept_NxD.astype(np.float32)).max(axis=0)
        spread_D, size_D = kept_NxD.std(axis=0), np.abs(kept_NxD).max(axis=0)
    lost_D = np.isinf(rounding_D) | (rounding_D > LOST * spread_D) & (spread_D > NO_SPREAD * size_D)
    if lost_D.any():
        first = np.flatnonzero(lost_D)[0]
        where = f"dimension {first}" if what == "x" else "it"
        raise AuditError(
            f"{what} is {a.dtype} and an audit is in float32, which rounds {where} by up to "
            f"{rounding_D[first]:.2g} where its standard deviation is {spread_D[first]:.2g}: subtract an "
            f"offset or scale it before; give {what}.astype(np.float32) if these digits do not matter"
        )
