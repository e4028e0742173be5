"""Is the density a number, with a gradient that is one, wherever fits and samplers take it?"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.audit.checked import Check
from vaelab.audit.given import AuditError, Given, theirs
from vaelab.audit.probes import COMPILED, FINITE, Lines, probed, some
from vaelab.measure.subject import Subject
from vaelab.runtime.chunks import map_datapoints
from vaelab.runtime.devices import take
from vaelab.types import Array, Params

DRAWS = 256  # of each distribution, at each datapoint that is probed
MORE = 512  # datapoints besides, with a draw of each


class Look(NamedTuple):
    """The datapoints and z at which a density is tried: from which distribution, each."""

    whence: str
    row_M: np.ndarray
    z_MxK: np.ndarray


def check_finite(given: Given, subject: Subject, inputs: Any, lines: Lines) -> None:
    """Tries value and gradient at hundreds of z of N(0, I), where fits start, and of the encoder's q.

    Raises AuditError where a value is NaN or infinite above, or a gradient at a finite value not finite. A
    density may be 0 at a z, and farther off than these distributions reach anything may overflow.
    """
    looks = _looks(given, subject, inputs)

    def both(params: Params, row: tuple[Any, Array]) -> tuple[Array, Array]:
        value, grad_K = jax.value_and_grad(given.density, argnums=2)(params, *row)
        return value, jnp.all(jnp.isfinite(grad_K))

    def mapped(params: Params, *rows: Any) -> tuple[np.ndarray, np.ndarray]:
        return map_datapoints(both, params, rows, chunk_size=subject.settings.memory)

    x = inputs.x_NxD
    row_M = np.concatenate([look.row_M for look in looks])
    z_MxK = np.concatenate([look.z_MxK for look in looks])
    value_M, graded_M = theirs(given.name, mapped, given.params, COMPILED)(take(x, row_M), z_MxK)
    start = 0
    for look in looks:
        stop = start + len(look.row_M)
        _check(given.name, look, value_M[start:stop], graded_M[start:stop])
        start = stop
    empty = int(np.sum(value_M == -np.inf))
    said = "finite, with a finite gradient in z"
    said += f"; -inf, a density of 0, at {empty:,} of {len(value_M):,}" if empty else ""
    whence = " and of ".join(look.whence for look in looks)
    count = len(inputs.index_N)
    at = f"{DRAWS} z of {whence} at {len(probed(count))} of {count:,} datapoints, one at {min(MORE, count):,}"
    lines.append(Check(given.name, at, said))


def _looks(given: Given, subject: Subject, inputs: Any) -> list[Look]:
    count, K = len(inputs.index_N), subject.model.latent_dim
    more = np.unique(np.linspace(0, count - 1, min(MORE, count)).astype(int))
    row_M = np.concatenate([np.repeat(probed(count), DRAWS), more])
    key_prior, key_encoder = jax.random.split(jax.random.fold_in(subject.keys.model, 1))
    looks = [Look("N(0, I)", row_M, np.asarray(jax.random.normal(key_prior, (len(row_M), K))))]
    if subject.amortized:
        (name,) = subject.amortized
        phi_MxP = subject.start(name, inputs)[row_M]
        eps_MxK = jax.random.normal(key_encoder, (len(row_M), K))
        z_MxK = jax.jit(jax.vmap(subject.families[name].reparameterize))(phi_MxP, eps_MxK)
        looks.append(Look("the encoder's q", row_M, np.asarray(z_MxK)))
    return looks


def _check(name: str, look: Look, value_M: np.ndarray, graded_M: np.ndarray) -> None:
    """Raises AuditError for the first z at which value or gradient is not what it must be."""
    wrong_M = np.isnan(value_M) | (value_M == np.inf)
    steep_M = np.isfinite(value_M) & ~graded_M
    for bad_M, what in ((wrong_M, f"{name} is %s"), (steep_M, f"the gradient of {name} in z is not finite")):
        if not bad_M.any():
            continue
        first = int(np.flatnonzero(bad_M)[0])
        what = what.replace("%s", str(value_M[first]))
        raise AuditError(
            f"{what} at {bad_M.sum():,} of {len(bad_M):,} draws of z from {look.whence}, as at datapoint "
            f"{look.row_M[first]} and z = {some(look.z_MxK[first])}: {FINITE}"
        )
