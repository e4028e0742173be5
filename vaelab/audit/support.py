"""Latent variables whose support is not R^K: an audit in unconstrained coordinates, z = T(u).

With p(x, z) a density in z, that of u is

    log p(x, u) = log p(x, z = T(u)) + log |det dT/du|,

and log p(x) stays what it is. A q is a distribution of u, so that the best one depends on T: exp for numbers
above an end, sigmoid between two, and softmax(u, 0) for a simplex, whose Gaussians are the logistic normals
(Aitchison & Shen 1980). z stays inside its support where float32 would round it to an edge, and beyond
exp(u) = 1e38 the density of u falls off as exp(-u).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.audit.given import AuditError, Given, theirs
from vaelab.errors import did_you_mean
from vaelab.types import Array

INTERVALS = {
    "real": (-math.inf, math.inf),
    "positive": (0.0, math.inf),
    "unit_interval": (0.0, 1.0),
}
SIMPLEX = "simplex"
NAMES = (*INTERVALS, SIMPLEX)
FORMS = (
    f"give {', '.join(map(repr, NAMES))} or an interval (low, high) of every number of z; a list of "
    "(support, size) for the parts of a vector; or a dict of (support, shape) where z is one"
)
TINY = float(np.finfo(np.float32).tiny)
LARGEST = math.log(1e38)  # of u in exp(u)


class Transform(NamedTuple):
    """T from u_K in R^K to z, a vector or a dict of arrays; `size` is K.

    forward(u_K) -> (z, log |det dT/du|), nats; inverse(z) -> u_K
    """

    size: int
    forward: Callable[[Array], tuple[Any, Array]]
    inverse: Callable[[Any], Array]


def on_support(given: Given, support: Any) -> Given:
    """The same model with u_K in the place of z: its functions are handed z = T(u). Raises AuditError.

    A log_joint gets the log-determinant. A log_likelihood is a density of x alone, and N(0, I) is then the
    prior of u. What encode returns is of u as it is.
    """
    if support is None:
        return given
    transform = transform_of(support, given.latent_dim)
    with_jacobian = given.name == "log_joint"

    def density(params: Any, x: Any, u_K: Array) -> Array:
        z, log_det = transform.forward(u_K)
        value = theirs(given.name, given.density, params)(x, z)
        # What is not one number stays as it is, for the check of it to tell.
        return value + log_det if with_jacobian and jnp.shape(value) == () else value

    def sample(params: Any, key: Any, u_K: Array, x: Any) -> Any:
        drawn = theirs("sample", given.sample, params)(key, transform.forward(u_K)[0], x)
        # What is no pair of (x, z) stays as it is, for the check of it to tell.
        if not with_jacobian or not (isinstance(drawn, tuple | list) and len(drawn) == 2):
            return drawn
        return drawn[0], transform.inverse(drawn[1])

    def decode(params: Any, u_K: Array) -> Array:
        return theirs("decode", given.decode, params)(transform.forward(u_K)[0])

    return given._replace(
        density=density,
        sample=given.sample and sample,
        decode=given.decode and decode,
    )


def transform_of(support: Any, latent_dim: int) -> Transform:
    """T for what `support` says of z; latent_dim is K, the size of u. Raises AuditError."""
    if isinstance(support, Mapping):
        transform = _tree(support)
    elif _is_one(support):
        simplex = support == SIMPLEX
        transform = _block(support, (latent_dim + 1 if simplex else latent_dim,))
    elif _is_sized(support):
        transform = _sized(support)
    elif isinstance(support, Sequence) and support and all(map(_is_sized, support)):
        transform = _joined([_sized(part) for part in support])
    else:
        raise AuditError(f"support={support!r} is none: {_hint(support)}{FORMS}")
    if transform.size != latent_dim:
        why = " (a simplex of n numbers has n - 1)" if SIMPLEX in str(support) else ""
        raise AuditError(
            f"latent_dim={latent_dim} and support={support!r} has {transform.size} unconstrained "
            f"coordinates{why}: latent_dim must be that"
        )
    return transform


def _hint(support: Any) -> str:
    near = did_you_mean(support, NAMES) if isinstance(support, str) else ""
    return f"{near} " if near else ""


def _is_interval(support: Any) -> bool:
    return (
        isinstance(support, Sequence)
        and not isinstance(support, str)
        and len(support) == 2
        and all(isinstance(end, int | float | np.number) and not isinstance(end, bool) for end in support)
    )


def _is_one(support: Any) -> bool:
    return (isinstance(support, str) and support in NAMES) or _is_interval(support)


def _is_sized(part: Any) -> bool:
    """Whether it is (support, size) or (support, shape)."""
    if not (isinstance(part, Sequence) and len(part) == 2 and _is_one(part[0])):
        return False
    sizes = part[1] if isinstance(part[1], Sequence) and not isinstance(part[1], str) else (part[1],)
    return all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0 for n in sizes)


def _sized(part: tuple[Any, Any]) -> Transform:
    support, shape = part
    return _block(support, tuple(shape) if isinstance(shape, Sequence) else (int(shape),))


def _tree(supports: Mapping[str, Any]) -> Transform:
    """T to a dict, whose coordinates are in the order of its sorted names, as `ravel_pytree` has them."""
    names = sorted(supports)
    parts = []
    for name in names:
        support = supports[name]
        if isinstance(support, Mapping):
            parts.append(_tree(support))
        elif _is_sized(support):
            parts.append(_sized(support))
        elif _is_one(support) and support != SIMPLEX:
            parts.append(_block(support, ()))
        else:
            size = " needs its size, as ('simplex', 3)" if support == SIMPLEX else " is none"
            raise AuditError(f"support[{name!r}]={support!r}{size}: {_hint(support)}{FORMS}")
    if not parts:
        raise AuditError(f"support={supports!r} is empty: {FORMS}")

    def forward(u_K: Array) -> tuple[Any, Array]:
        values, log_dets = zip(*_each(parts, u_K), strict=True)
        return dict(zip(names, values, strict=True)), sum(log_dets)

    def inverse(z: Any) -> Array:
        return jnp.concatenate([part.inverse(z[name]) for name, part in zip(names, parts, strict=True)])

    return Transform(sum(part.size for part in parts), forward, inverse)


def _joined(parts: list[Transform]) -> Transform:
    """T to one vector of parts."""
    sizes = [len(jax.eval_shape(part.forward, jnp.zeros(part.size))[0]) for part in parts]
    ends = np.cumsum(sizes)[:-1]

    def forward(u_K: Array) -> tuple[Array, Array]:
        values, log_dets = zip(*_each(parts, u_K), strict=True)
        return jnp.concatenate(values), sum(log_dets)

    def inverse(z: Array) -> Array:
        pieces = jnp.split(z, ends)
        return jnp.concatenate([part.inverse(piece) for part, piece in zip(parts, pieces, strict=True)])

    return Transform(sum(part.size for part in parts), forward, inverse)


def _each(parts: list[Transform], u_K: Array) -> list[tuple[Any, Array]]:
    pieces = jnp.split(u_K, np.cumsum([part.size for part in parts])[:-1])
    return [part.forward(piece) for part, piece in zip(parts, pieces, strict=True)]


def _block(support: Any, shape: tuple[int, ...]) -> Transform:
    """T to an array of this shape, every number of it, or every row of the last axis, of one support."""
    if support == SIMPLEX:
        return _simplex(shape)
    low, high = map(float, INTERVALS[support] if isinstance(support, str) else support)
    least, greatest = _inside(low, high)
    bijector, half_line = _bijector(low, high), math.isinf(low) != math.isinf(high)

    def forward(u_K: Array) -> tuple[Array, Array]:
        held_K = jnp.minimum(u_K, LARGEST) if half_line else u_K
        z_K, log_det_K = bijector.forward_and_log_det(held_K)
        log_det = jnp.sum(log_det_K - (u_K - held_K) if half_line else log_det_K)
        return jnp.clip(z_K, least, greatest).reshape(shape), log_det

    def inverse(z: Array) -> Array:
        return bijector.inverse(jnp.clip(jnp.ravel(z), least, greatest))

    return Transform(math.prod(shape), forward, inverse)


def _inside(low: float, high: float) -> tuple[float, float]:
    """The least and the greatest number of float32 between low and high. Raises AuditError."""
    with np.errstate(over="ignore"):
        of_float32 = np.float32(low), np.float32(high)
    beyond = [
        end for end, held in zip((low, high), of_float32, strict=True) if np.isinf(held) != np.isinf(end)
    ]
    least, greatest = (
        float(end if np.isinf(end) else np.nextafter(end, other))
        for end, other in zip(of_float32, of_float32[::-1], strict=True)
    )
    least = TINY if 0.0 <= least < TINY else least  # below are numbers that a device takes for 0
    greatest = -TINY if -TINY < greatest <= 0.0 else greatest
    if beyond or not least < greatest:
        raise AuditError(
            f"support={(low, high)} has no numbers of float32 in it: give (low, high) with low < high"
        )
    return least, greatest


def _bijector(low: float, high: float) -> Any:
    """T of one number: exp, sigmoid or nothing, scaled and shifted; its gradient is finite at every u."""
    import distrax

    if math.isinf(low) and math.isinf(high):
        return distrax.ScalarAffine(0.0, 1.0)
    if math.isinf(low) or math.isinf(high):
        end, sign = (high, -1.0) if math.isinf(low) else (low, 1.0)
        maps = (
            lambda u: end + sign * jnp.exp(u),
            lambda z: jnp.log(sign * (z - end)),
            lambda u: u,
        )
    else:  # distrax.Sigmoid has a gradient of NaN beyond |u| = 88, and, scaled, an infinite inverse inside
        maps = (
            lambda u: low + (high - low) * jax.nn.sigmoid(u),
            lambda z: jnp.log(z - low) - jnp.log(high - z),
            lambda u: math.log(high - low) + jax.nn.log_sigmoid(u) + jax.nn.log_sigmoid(-u),
        )
    forward, inverse, log_det = maps
    return distrax.Lambda(
        forward=forward,
        inverse=inverse,
        forward_log_det_jacobian=log_det,
        inverse_log_det_jacobian=lambda z: -log_det(inverse(z)),
        event_ndims_in=0,
        is_constant_jacobian=False,
    )


def _simplex(shape: tuple[int, ...]) -> Transform:
    """T to probabilities along the last axis: softmax(u_1, ..., u_n-1, 0), log |det dT/du| = sum log z_i.

    The determinant is that of the first n - 1 of them, of which a Dirichlet is a density. SoftmaxCentered of
    TFP has that of the surface, log(n) / 2 more.
    """
    import distrax

    *rows, n = shape
    if n < 2:
        raise AuditError(f"support=({SIMPLEX!r}, {n}) is the number 1: a simplex has two numbers or more")

    def log_z(u: Array) -> Array:
        return jax.nn.log_softmax(jnp.concatenate([u, jnp.zeros((*u.shape[:-1], 1))], axis=-1))

    def inverse_of(z: Array) -> Array:
        return jnp.log(z[..., :-1]) - jnp.log(z[..., -1:])

    bijector = distrax.Lambda(
        forward=lambda u: jnp.exp(log_z(u)),
        inverse=inverse_of,
        forward_log_det_jacobian=lambda u: jnp.sum(log_z(u), axis=-1),
        inverse_log_det_jacobian=lambda z: -jnp.sum(jnp.log(z), axis=-1),
        event_ndims_in=1,
        is_constant_jacobian=False,
    )
    inside = partial(jnp.clip, min=TINY, max=_inside(0.0, 1.0)[1])

    def forward(u_K: Array) -> tuple[Array, Array]:
        z, log_det = bijector.forward_and_log_det(u_K.reshape(*rows, n - 1))
        return inside(z), jnp.sum(log_det)

    def inverse(z: Array) -> Array:
        return jnp.ravel(bijector.inverse(inside(z)))

    return Transform(math.prod(rows) * (n - 1), forward, inverse)
