"""The checks of a sampler, and by its draws whether the density is normalised; and simulated datapoints.

A sampler of `given_model` is draw(params, key, z_K, x_D) -> (x, z): of a log_joint it draws the z too.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.audit.checked import Check, NotChecked
from vaelab.audit.given import AuditError, Given, shapes, theirs
from vaelab.audit.normalised import DRAWS, FITTED, LogConstant, log_constant
from vaelab.audit.probes import Lines, datapoint
from vaelab.data.sources import FIRST_SIMULATED
from vaelab.measure.subject import Inputs, Measured
from vaelab.runtime.devices import take
from vaelab.types import Array, Key

TRIED = 2  # z at which the normalisation is tried


def check_sample(given: Given, x: Any, z_NxK: np.ndarray, key: Key, lines: Lines) -> None:
    """Tries the sampler, and by its draws whether the density is normalised. Raises AuditError."""
    if given.draw is None:
        why = (
            "no sample was given" if given.name == "log_likelihood" else "log_joint holds a prior of its own"
        )
        lines.append(NotChecked("normalisation", why))
        return
    drawn = _tried(given, x, jnp.asarray(z_NxK[0]), jax.random.fold_in(key, 0))
    lines.append(Check("sample", "a draw at one z", f"{shapes(drawn)}, as a datapoint of x"))
    rows = np.unique(np.linspace(0, len(z_NxK) - 1, TRIED).astype(int))
    if given.name == "log_joint":
        rows = rows[:1]  # z is drawn, at whatever z is given
    constants = [
        _normalised(given, datapoint(x, row), jnp.asarray(z_NxK[row]), jax.random.fold_in(key, row))
        for row in rows
    ]
    doubtful = [constant for constant in constants if constant.beyond()]
    if doubtful or (given.name == "log_joint" and any(constant.dependent for constant in constants)):
        what = "x and z" if given.name == "log_joint" else "x given z"
        lines.append(
            NotChecked(
                "normalisation", f"dimensions of {what} depend on each other; not below 1 by constants"
            )
        )
        return
    integral = f"exp({constants[0].value:.2f} +- {constants[0].stderr:.2f})"
    at = "draws of x and z by sample" if given.name == "log_joint" else f"draws of sample at {len(rows)} z"
    lines.append(
        Check("normalisation", f"{FITTED + DRAWS:,} {at}", f"exp({given.name}) has the integral {integral}")
    )


def _tried(given: Given, x: Any, z_K: Array, key: Key) -> Any:
    """A draw of x, of the shape of a datapoint. Raises AuditError."""
    wanted = datapoint(x, 0)
    result = theirs("sample", given.sample, given.params)(key, z_K, wanted)
    if given.name == "log_joint":
        pair = isinstance(result, tuple | list) and len(result) == 2
        if not pair or jnp.shape(result[1]) != z_K.shape:
            raise AuditError(
                f"sample returned {shapes(result)}; with log_joint it is (key) -> (x, z), or (key, x) -> "
                f"(x, z), a draw of both, z of shape {z_K.shape}"
            )
        result = result[0]
    if jax.tree.structure(result) != jax.tree.structure(wanted) or (
        jax.tree.map(jnp.shape, result) != jax.tree.map(jnp.shape, wanted)
    ):
        if jax.tree.map(jnp.shape, result) == jax.tree.map(jnp.shape, x):
            raise AuditError(
                f"x is {shapes(x)}, and sample returned a datapoint of that shape: x must have one row a "
                "datapoint; of a single one give x[None]"
            )
        raise AuditError(
            f"sample returned {shapes(result)} and a datapoint of x is {shapes(wanted)}: they must agree"
        )
    return result


def _normalised(given: Given, x_D: Any, z_K: Array, key: Key) -> LogConstant:
    """What draws say of the density's integral. Raises AuditError where it is not 1, or not there."""
    name = given.name

    def sampled(key: Key) -> Any:
        drawn, at_K = given.draw(given.params, key, z_K, x_D)
        return (drawn, at_K) if name == "log_joint" else (drawn, ())

    def density(drawn: tuple[Any, Any]) -> Array:
        at_K = drawn[1] if name == "log_joint" else z_K
        return given.density(given.params, drawn[0], at_K)

    constant = log_constant(sampled, density, key)
    if constant.misplaced():
        what = "NaN" if constant.no_number > constant.impossible else "-inf, a density of 0,"
        raise AuditError(
            f"{name} is {what} at {max(constant.no_number, constant.impossible):,} of {DRAWS:,} draws of "
            "sample: the two must be of the same distribution"
        )
    if constant.looks_wrong() and not constant.dims:
        raise AuditError(
            f"sample gives one and the same x with {FITTED + DRAWS:,} keys at one z, and exp({name}) is not "
            f"1 there but exp({constant.value:.1f}): it must draw from its key, and vary in float32"
        )
    if constant.looks_wrong():
        too_small = constant.too_small()
        value, stderr = (constant.value, constant.stderr)
        if too_small and value > -(5.0 * stderr):
            value, stderr = constant.upper, constant.upper_stderr
        raise AuditError(
            f"{name} looks unnormalised: by draws of sample exp({name}) has the integral exp({value:.1f} +- "
            f"{stderr:.1f}) over the {constant.dims} dimensions of x, not 1: add its constants"
            + ("" if too_small else "; leave sample out if the dimensions of x depend on each other given z")
        )
    return constant


def simulated(given: Given, x: Any, key: Key, *, num_points: int) -> Measured:
    """Datapoints of the model itself, each with the z that it was drawn from.

    Covariates are those of the datapoints of x, in turn.
    """

    def one(index: Array, x_D: Any) -> tuple[Any, Array]:
        key_z, key_x = jax.random.split(jax.random.fold_in(key, index))
        return given.draw(given.params, key_x, jax.random.normal(key_z, (given.latent_dim,)), x_D)

    index_N = FIRST_SIMULATED + np.arange(num_points, dtype=np.int32)
    rows = np.arange(num_points) % len(jax.tree.leaves(x)[0])
    with jax.default_matmul_precision("highest"):
        x_NxD, z_NxK = jax.device_get(jax.jit(jax.vmap(one))(index_N, take(x, rows)))
    return Measured(Inputs(x_NxD, index_N), np.asarray(z_NxK, np.float32))
