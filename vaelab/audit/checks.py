"""The checks of a density and of what draws it, on a few datapoints and before anything is spent.

Each raises an AuditError, one line that names the fix, or writes into `lines` what it looked at.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.audit.checked import Check, NotChecked
from vaelab.audit.given import AuditError, Given, shapes, theirs
from vaelab.audit.probes import (
    COMPILED,
    FINITE,
    FLOATS,
    PROBES,
    Lines,
    check_not_single,
    datapoint,
    first_of,
    probed,
    some,
)
from vaelab.measure.pictures import drawable
from vaelab.runtime.chunks import map_datapoints
from vaelab.runtime.devices import take
from vaelab.runtime.memory import Memory
from vaelab.types import Array, Params


def check_density(
    given: Given, x: Any, z_NxK: np.ndarray, lines: Lines, *, chunk_size: int | Memory = 1000
) -> np.ndarray:
    """Tries the density at a few datapoints, each with its z; its values there. Raises AuditError.

    A single number of float32, finite with a finite gradient in z, the same when it is called again and under
    jit and vmap, and no probability above 1 of an x that is discrete. At every other datapoint, a number.
    """
    name, rows = given.name, probed(len(z_NxK))
    values = np.array([_called(given, x, z_NxK, row) for row in rows])

    def both(params: Params, row: tuple[Any, Array]) -> tuple[Array, Array]:
        return jax.value_and_grad(given.density, argnums=2)(params, *row)

    def mapped(params: Params, *rows: Any) -> tuple[np.ndarray, np.ndarray]:
        return map_datapoints(both, params, rows, chunk_size=PROBES)

    compiled, grads = theirs(name, mapped, given.params, COMPILED)(*take((x, z_NxK), rows))
    bad_N = ~np.isfinite(grads).all(axis=1)
    if bad_N.any():
        line = f"the gradient of {name} in z is not finite at datapoint {rows[bad_N][0]}"
        raise AuditError(f"{line}: {some(grads[bad_N][0])}")
    if not np.allclose(compiled, values, rtol=1e-3, atol=1e-3):
        worst = int(np.argmax(np.abs(compiled - values)))
        raise AuditError(
            f"{name} gave {values[worst]:.6g}, and {compiled[worst]:.6g}{COMPILED}: it must be pure JAX, "
            "of one datapoint"
        )
    discrete = all(np.array_equal(a, np.round(a)) for a in jax.tree.leaves(take(x, rows)))
    if discrete and name == "log_likelihood" and values.max() > 1e-3:
        raise AuditError(
            f"{name} is {values.max():.4g} at an x of whole numbers, a probability above 1: normalise it; if "
            "it is a density all the same, give log_joint with the prior in it"
        )
    whence = "N(0, I)" if given.encode is None else "the encoder's q"
    at = f"{len(rows)} of {len(z_NxK):,} datapoints, each at a draw of {whence}"
    lines.append(Check(name, at, "finite, with a finite gradient in z; the same twice, and compiled"))
    _check_every_row(given, x, z_NxK, chunk_size)
    lines.append(Check(name, f"all {len(z_NxK):,} datapoints, likewise", "never NaN or infinite above"))
    return compiled


def _check_every_row(given: Given, x: Any, z_NxK: np.ndarray, chunk_size: int | Memory) -> None:
    """Raises AuditError where the density is not a number. It may be 0 at a z, and its logarithm -inf."""

    def density(params: Params, row: tuple[Any, Array]) -> Array:
        return given.density(params, *row)

    def mapped(params: Params, *rows: Any) -> np.ndarray:
        return map_datapoints(density, params, rows, chunk_size=chunk_size)

    value_N = theirs(given.name, mapped, given.params, COMPILED)(x, z_NxK)
    bad_N = np.isnan(value_N) | (value_N == np.inf)
    if not bad_N.any():
        return
    row = np.flatnonzero(bad_N)[0]
    of_x = any(np.isnan(a[row]).any() for a in jax.tree.leaves(x) if a.dtype.kind == "f")
    raise AuditError(
        f"{given.name} is {value_N[row]} at {first_of(bad_N)}, there at z = {some(z_NxK[row])}"
        f"{' and an x with NaN in it' if of_x else ''}: {FINITE}"
    )


def _called(given: Given, x: Any, z_NxK: np.ndarray, row: int) -> float:
    """The density at one datapoint, called as it is. Raises AuditError."""
    name, density = given.name, theirs(given.name, given.density, given.params)
    x_D, z_K = datapoint((x, z_NxK), row)
    try:
        value = density(x_D, z_K)
    except AuditError:
        _check_single(given, x, z_K)
        raise
    if jnp.shape(value) != ():
        _check_single(given, x, z_K)
        raise AuditError(f"{name} returned {shapes(value)} for one datapoint: sum it to one number")
    _check_stretched(given, x, z_K)
    if jnp.asarray(value).dtype not in FLOATS:
        raise AuditError(f"{name} returned {shapes(value)}: compute it in float32")
    if not np.isfinite(value):
        hint = "; where z has not all of R^K for its support, name it by support=" if value == -np.inf else ""
        raise AuditError(f"{name} is {value} at datapoint {row} and z = {some(z_K)}: {FINITE}{hint}")
    again = density(x_D, z_K)
    if value != again:
        raise AuditError(
            f"{name} gave {value} and then {again} for the same x and z: it must be pure, without dropout, "
            "random numbers or state of its own"
        )
    return float(value)


def _check_single(given: Given, x: Any, z_K: Array) -> None:
    check_not_single(x, lambda x: jnp.shape(given.density(given.params, x, z_K)) == ())


def _check_stretched(given: Given, x: Any, z_K: Array) -> None:
    """Raises AuditError where a row is one number that is stretched to the length of x, a single datapoint.

    A density of one number takes two of them as well as N; one of N dimensions does not take two.
    """
    leaves = jax.tree.leaves(x)
    if len(leaves) > 1 or leaves[0].ndim > 1 or len(leaves[0]) < 3:
        return
    try:
        given.density(given.params, jax.tree.map(lambda a: jnp.asarray(a[:2]), x), z_K)
    except Exception:
        _check_single(given, x, z_K)


def check_decode(given: Given, x: Any, z_K: np.ndarray, lines: Lines) -> tuple[int, ...] | None:
    """The shape of the images, which x must have the size of. Raises AuditError."""
    if given.decode is None:
        lines.append(NotChecked("decode", "none was given, and there are no pictures"))
        return None
    image = theirs("decode", given.decode, given.params)(jnp.asarray(z_K))
    size = [a.size // len(a) for a in jax.tree.leaves(x)]
    if not drawable(jnp.shape(image)) or size != [image.size]:
        raise AuditError(
            f"decode returned {shapes(image)} and a datapoint of x is {shapes(datapoint(x, 0))}: for "
            "pictures it must be one image, [height, width] or [height, width, 3], of as many numbers as x"
        )
    lines.append(Check("decode", "the image of one z", shapes(image)))
    return image.shape
