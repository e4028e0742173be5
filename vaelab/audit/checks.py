"""The checks of what an audit is given, on a few datapoints and before anything is spent.

Each raises an AuditError, one line that names the fix, or writes into `lines` what it looked at.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.audit.checked import Check, NotChecked
from vaelab.audit.given import AuditError, Choices, Given, as_arrays, shapes, theirs
from vaelab.audit.normalised import DRAWS, log_constant
from vaelab.runtime.devices import map_datapoints, take
from vaelab.runtime.memory import Memory
from vaelab.types import Array, Key, Params, PosteriorFamily, did_you_mean

PROBES = 4  # datapoints on which the functions are tried
FLOATS = (jnp.float32, jnp.float64)

Lines = list[Check | NotChecked]


def check_density(
    given: Given, x: Any, z_NxK: np.ndarray, lines: Lines, *, chunk_size: int | Memory = 1000
) -> np.ndarray:
    """Tries the density at a few datapoints, each with its z; its values there. Raises AuditError.

    A single number of float32, finite with a finite gradient in z, the same when it is called again and under
    jit and vmap, and no probability above 1 of an x that is discrete. At every other datapoint, a number.
    """
    name, rows = given.name, _probed(len(z_NxK))
    values = np.array([_called(given, x, z_NxK, row) for row in rows])

    def both(params: Params, row: tuple[Any, Array]) -> tuple[Array, Array]:
        return jax.value_and_grad(given.density, argnums=2)(params, *row)

    def mapped(params: Params, *rows: Any) -> tuple[np.ndarray, np.ndarray]:
        return map_datapoints(both, params, rows, chunk_size=PROBES)

    compiled, grads = theirs(name, mapped, given.params, COMPILED)(*take((x, z_NxK), rows))
    bad_N = ~np.isfinite(grads).all(axis=1)
    if bad_N.any():
        line = f"the gradient of {name} in z is not finite at datapoint {rows[bad_N][0]}"
        raise AuditError(f"{line}: {_some(grads[bad_N][0])}")
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
        f"{given.name} is {value_N[row]} at {_first(bad_N)}, there at z = {_some(z_NxK[row])}"
        f"{' and an x with NaN in it' if of_x else ''}: it must be finite, or -inf where the density is 0"
    )


COMPILED = " under jax.jit, jax.vmap and jax.grad"


def _called(given: Given, x: Any, z_NxK: np.ndarray, row: int) -> float:
    """The density at one datapoint, called as it is. Raises AuditError."""
    name, density = given.name, theirs(given.name, given.density, given.params)
    x_D, z_K = _row((x, z_NxK), row)
    value, again = density(x_D, z_K), density(x_D, z_K)
    if jnp.shape(value) != ():
        raise AuditError(f"{name} returned {shapes(value)} for one datapoint: sum it to one number")
    if jnp.asarray(value).dtype not in FLOATS:
        raise AuditError(f"{name} returned {shapes(value)}: compute it in float32")
    if not np.isfinite(value):
        hint = "; where z has not all of R^K for its support, name it by support=" if value == -np.inf else ""
        raise AuditError(
            f"{name} is {value} at datapoint {row} and z = {_some(z_K)}: it must be finite{hint}"
        )
    if value != again:
        raise AuditError(
            f"{name} gave {value} and then {again} for the same x and z: it must be pure, without dropout, "
            "random numbers or state of its own"
        )
    return float(value)


def check_encoder(given: Given, x: Any, count: int, choices: Choices, lines: Lines) -> str | None:
    """Tries the encoder at a few datapoints; the name of its family in `choices`. Raises AuditError."""
    family, families = choices.family, choices.families
    if given.encode is None:
        lines.append(NotChecked("encode", "none was given, and there is no amortized bound"))
        return None
    if callable(given.encode):
        encode = theirs("encode", given.encode, given.params)
        results = [encode(_row(x, row)) for row in _probed(count)]
        again = [encode(_row(x, row)) for row in _probed(count)]
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
        results = [take(given.encode, row) for row in _probed(count)]
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
            raise AuditError(f"encode returned a phi that is not finite at {_first(bad_N)}")
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
            raise AuditError(f"encode returned a {what} that is not finite at {_first(bad_N)}")
    if scale.ndim == 2:
        bad_N = (scale <= 0.0).any(axis=1)
        if bad_N.any():
            raise AuditError(
                f"encode returned sigma <= 0 at {_first(bad_N)}: give standard deviations, "
                "as jnp.exp(0.5 * log_variance) where it is the logarithm of the variance"
            )
        return
    bad_N = np.linalg.matrix_rank(scale) < scale.shape[-1]
    if bad_N.any():
        raise AuditError(f"encode returned a singular S at {_first(bad_N)}: q has no density")


def check_sample(given: Given, x: Any, z_K: np.ndarray, key: Key, lines: Lines) -> None:
    """Tries the sampler, and by its draws whether the density is normalised. Raises AuditError."""
    if given.sample is None:
        why = (
            "no sample was given" if given.name == "log_likelihood" else "log_joint holds a prior of its own"
        )
        lines.append(NotChecked("normalisation", why))
        return
    z_K = jnp.asarray(z_K)
    drawn, wanted = theirs("sample", given.sample, given.params)(jax.random.fold_in(key, 0), z_K), _row(x, 0)
    if jax.tree.map(jnp.shape, drawn) != jax.tree.map(jnp.shape, wanted):
        raise AuditError(
            f"sample returned {shapes(drawn)} and a datapoint of x is {shapes(wanted)}: they must agree"
        )
    constant = log_constant(
        lambda key: given.sample(given.params, key, z_K),
        lambda x_D: given.density(given.params, x_D, z_K),
        key,
    )
    if constant.looks_wrong():
        raise AuditError(
            f"{given.name} looks unnormalised: by draws of sample exp({given.name}) has the integral "
            f"exp({constant.value:.1f} +- {constant.stderr:.1f}) over the {constant.dims} dimensions of x, "
            "not 1: add its constants; leave sample out if the dimensions of x depend on each other given z"
        )
    lines.append(Check("sample", "a draw at one z", f"{shapes(drawn)}, as a datapoint of x"))
    integral = f"exp({constant.value:.2f} +- {constant.stderr:.2f})"
    about = f"{DRAWS:,} draws of sample at one z"
    lines.append(Check("normalisation", about, f"exp({given.name}) has the integral {integral}"))


def check_decode(given: Given, x: Any, z_K: np.ndarray, lines: Lines) -> tuple[int, int] | None:
    """The shape of the images, which x must have the size of. Raises AuditError."""
    if given.decode is None:
        lines.append(NotChecked("decode", "none was given, and there are no pictures"))
        return None
    image = theirs("decode", given.decode, given.params)(jnp.asarray(z_K))
    size = [a.size // len(a) for a in jax.tree.leaves(x)]
    if jnp.ndim(image) != 2 or size != [image.size]:
        raise AuditError(
            f"decode returned {shapes(image)} and a datapoint of x is {shapes(_row(x, 0))}: for pictures it "
            "must be one image, [height, width], of as many numbers as x"
        )
    lines.append(Check("decode", "the image of one z", shapes(image)))
    return image.shape


def _probed(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(PROBES, count)).astype(int))


def _row(tree: Any, row: int) -> Any:
    return jax.tree.map(jnp.asarray, take(tree, row))


def _first(bad_N: np.ndarray) -> str:
    return f"{np.sum(bad_N):,} of {len(bad_N):,} datapoints, index {np.flatnonzero(bad_N)[0]} first"


def _some(array: np.ndarray) -> str:
    return np.array2string(np.asarray(array), precision=3, threshold=6, edgeitems=2)
