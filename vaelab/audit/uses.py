"""Does the density depend on x, and on z? One that closes over a datapoint, or is seeded, may not."""

from typing import Any

import jax
import jax.extend as jex
import numpy as np

from vaelab.audit.checked import Check
from vaelab.audit.given import Given
from vaelab.audit.probes import Lines, datapoint
from vaelab.runtime.chunks import map_datapoints
from vaelab.runtime.devices import take
from vaelab.types import Array, Params

ROWS = 64  # datapoints at which the density is compared
LATENTS = 4  # at each of these z, the same for all datapoints


def check_uses(given: Given, x: Any, z_NxK: np.ndarray, lines: Lines) -> list[str]:
    """Notes where the density is the same at datapoints that differ, or at every z; else a line."""
    name, count = given.name, len(z_NxK)
    of_x, of_z = _read(given, datapoint(x, 0), z_NxK[0])
    notes = []
    rows = np.unique(np.linspace(0, count - 1, min(ROWS, count)).astype(int))
    z_LxK = z_NxK[np.linspace(0, count - 1, LATENTS).astype(int)]
    differ = len(rows) > 1 and any(np.any(a[rows] != a[rows[:1]]) for a in jax.tree.leaves(x))
    value_NxL = _values(given, take(x, rows), z_LxK)
    if differ and (not of_x or np.array_equal(value_NxL, np.tile(value_NxL[:1], (len(rows), 1)))):
        why = "does it close over one datapoint?" if not of_x else "x changes nothing in it"
        notes.append(f"{name} is the same at every one of {len(rows)} datapoints, though x differs: {why}")
    if not of_z:
        notes.append(
            f"{name} does not depend on z: is the site that is substituted one that the model draws, and not "
            "one of a reparametrised or seeded trace?"
        )
    if not notes and differ:
        at = f"{len(rows)} of {count:,} datapoints, each at the same {LATENTS} z"
        lines.append(Check(name, at, "varies with x, and takes z"))
    lines += [Check(name, "x and z", note) for note in notes]
    return notes


def _values(given: Given, x: Any, z_LxK: np.ndarray) -> np.ndarray:
    def density(shared: tuple[Params, Array], row: tuple[Any]) -> Array:
        params, z_LxK = shared
        return jax.vmap(lambda z_K: given.density(params, row[0], z_K))(z_LxK)

    return map_datapoints(density, (given.params, z_LxK), (x,), chunk_size=ROWS)


def _read(given: Given, x_D: Any, z_K: Array) -> tuple[bool, bool]:
    """Whether the traced density takes (anything of x, z) on the way to its value."""
    traced = jax.make_jaxpr(lambda x_D, z_K: given.density(given.params, x_D, z_K))(x_D, z_K)
    *of_x, of_z = _used(traced.jaxpr, [True])
    return any(of_x), of_z


def _used(jaxpr: jex.core.Jaxpr, wanted: list[bool]) -> list[bool]:
    """Which inputs of a traced function its wanted outputs depend on; of a loop all are taken to count."""
    live = {v for v, want in zip(jaxpr.outvars, wanted, strict=True) if want and isinstance(v, jex.core.Var)}
    for equation in reversed(jaxpr.eqns):
        out = [v in live for v in equation.outvars]
        if not any(out):
            continue
        inside = [equation.params[name] for name in ("jaxpr", "call_jaxpr") if name in equation.params]
        inner = getattr(inside[0], "jaxpr", inside[0]) if inside else None
        used = [True] * len(equation.invars)
        if (
            inner is not None
            and equation.primitive.name not in ("scan", "while", "cond")
            and (len(inner.invars), len(inner.outvars)) == (len(equation.invars), len(equation.outvars))
        ):
            used = _used(inner, out)
        live |= {
            v for v, use in zip(equation.invars, used, strict=True) if use and isinstance(v, jex.core.Var)
        }
    return [v in live for v in jaxpr.invars]
