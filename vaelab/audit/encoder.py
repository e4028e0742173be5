"""The checks of an encoder, or of what it gave, and phi of every datapoint.

Each raises an AuditError, one line that names the fix, or writes into `lines` what it looked at.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.audit.arrays import as_arrays
from vaelab.audit.checked import Check, NotChecked
from vaelab.audit.given import AuditError, Choices, Given, shapes, theirs
from vaelab.audit.probes import FLOATS, Lines, check_not_single, datapoint, first_of, probed
from vaelab.errors import did_you_mean
from vaelab.runtime.chunks import map_datapoints
from vaelab.runtime.devices import take
from vaelab.types import Params, PosteriorFamily


def check_encoder(given: Given, x: Any, count: int, choices: Choices, lines: Lines) -> str | None:
    """Tries the encoder at a few datapoints; the name of its family in `choices`. Raises AuditError."""
    family, families = choices.family, choices.families
    if given.encode is None:
        lines.append(NotChecked("encode", "none was given, and there is no amortized bound"))
        return None
    if callable(given.encode):
        encode = theirs("encode", given.encode, given.params)
        try:
            results = [encode(datapoint(x, row)) for row in probed(count)]
        except AuditError:
            check_not_single(x, lambda x: jnp.ndim(jax.tree.leaves(given.encode(given.params, x))[0]) == 1)
            raise
        again = [encode(datapoint(x, row)) for row in probed(count)]
        same = [
            np.array_equal(a, b, equal_nan=True)
            for a, b in zip(*map(jax.tree.leaves, (results, again)), strict=True)
        ]
        if not all(same):
            raise AuditError(
                "encode gave two results for the same x: it must be pure, without dropout, random numbers "
                "or state of its own; give the parameters of the distribution, not a draw of it"
            )
    else:
        _, rows = as_arrays(given.encode, "encode")
        if rows != count:
            raise AuditError(f"encode has {rows:,} rows and x has {count:,}: give one for each datapoint")
        results = [take(given.encode, row) for row in probed(count)]
    for encoded in results:
        if family is not None and isinstance(encoded, tuple | list):
            raise AuditError(f"family={family!r} is for an encode that returns phi, not {shapes(encoded)}")
        name = family or _family_of(encoded, given.latent_dim)
        if any(jnp.asarray(a).dtype not in FLOATS for a in jax.tree.leaves(encoded)):
            raise AuditError(f"encode returned {shapes(encoded)}: compute it in float32")
    if name == "full" and family is None and "full" not in families and "cholesky" in families:
        name = "cholesky"
    if name not in families:
        hint = (did_you_mean(name, families) if family else "") or f"have it in families={families}"
        raise AuditError(f"what encode returns is of the family {name!r}: {hint}")
    if callable(given.encode):
        lines.append(Check("encode", f"{len(results)} of {count:,} datapoints", "the same twice"))
    return name


def _family_of(encoded: Any, latent_dim: int) -> str:
    """The name of the family that (mu, sigma) or (mu, S) is a member of. Raises AuditError."""
    K = latent_dim
    wanted = f"it must be (mu, sigma), both of shape ({K},), or (mu, S), S of shape ({K}, {K})"
    if not isinstance(encoded, tuple | list) or len(encoded) != 2:
        raise AuditError(f"encode returned {shapes(encoded)}; {wanted}, or phi with family=...")
    mu_shape, scale_shape = map(jnp.shape, encoded)
    if mu_shape != (K,) or scale_shape not in ((K,), (K, K)):
        raise AuditError(f"encode returned {shapes(encoded)} and latent_dim is {K}; {wanted}")
    return "diagonal" if scale_shape == (K,) else "full"


def encoded_phi(given: Given, family: PosteriorFamily, x: Any, lines: Lines, whence: str = "") -> np.ndarray:
    """phi_NxP in the encoder's family. Raises AuditError where one is not a distribution with a density.

    whence: where the datapoints are from, for the line that tells of them.
    """
    encoded, count = given.encode, len(jax.tree.leaves(x)[0])
    at = f"all {count:,} datapoints{whence}"
    if callable(encoded):

        def mapped(params: Params, x: Any) -> Any:
            return map_datapoints(given.encode, params, x, chunk_size=1000)

        encoded = theirs("encode", mapped, given.params, " under jax.jit and jax.vmap")(x)
    if not isinstance(encoded, tuple | list):
        phi_NxP = np.asarray(encoded, np.float32)
        if phi_NxP.ndim != 2 or phi_NxP.shape[1] != family.param_size:
            raise AuditError(
                f"encode returned {shapes(take(encoded, 0))}; with family={family.name!r} it must be phi, "
                f"one vector of {family.param_size} numbers"
            )
        bad_N = ~np.isfinite(phi_NxP).all(axis=1)
        if bad_N.any():
            raise AuditError(f"encode returned a phi that is not finite at {first_of(bad_N)}")
        lines.append(Check("encode", at, f"phi of the family {family.name}, finite"))
        return phi_NxP
    mu_NxK, scale = (np.asarray(a, np.float32) for a in encoded)
    _check_gaussians(mu_NxK, scale)
    said = "sigma > 0" if scale.ndim == 2 else "S invertible"
    lines.append(Check("encode", at, f"finite, {said}; the family {family.name}"))
    dense = scale if scale.ndim == 3 else scale[:, :, None] * np.eye(scale.shape[1], dtype=np.float32)
    return np.asarray(jax.jit(jax.vmap(family.gaussian.project))(mu_NxK, dense))


def _check_gaussians(mu_NxK: np.ndarray, scale: np.ndarray) -> None:
    """Looks at every datapoint: finite, and sigma > 0 or S invertible. Raises AuditError."""
    for what, array in (("mu", mu_NxK), ("sigma" if scale.ndim == 2 else "S", scale)):
        bad_N = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if bad_N.any():
            raise AuditError(f"encode returned a {what} that is not finite at {first_of(bad_N)}")
    if scale.ndim == 2:
        bad_N = (scale <= 0.0).any(axis=1)
        if bad_N.any():
            raise AuditError(
                f"encode returned sigma <= 0 at {first_of(bad_N)}: give standard deviations, "
                "as jnp.exp(0.5 * log_variance) where it is the logarithm of the variance"
            )
        return
    bad_N = np.linalg.matrix_rank(scale) < scale.shape[-1]
    if bad_N.any():
        raise AuditError(f"encode returned a singular S at {first_of(bad_N)}: q has no density")
