"""Local maxima of log p(x, z) in z for one datapoint: climbing to them, telling them apart, weighing them.

A fit that has converged knows the neighbourhood of one maximum. Here gradient ascent from many starts looks
for the others, and Laplace's method says what each is worth,

    log int_mode p(x, z) dz  ~  log p(x, m) + K/2 log 2 pi - 1/2 log|H|,     H = -Hessian of log p(x, z) at m.

(MacKay 2003, chapter 27.) What no start leads to is not seen: a search says how many starts it made.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.inference.climb import EPS, SHRINK, TINY, Climb, climb, length_of
from vaelab.linalg import eigh
from vaelab.types import Array, LogJoint


class Mode(NamedTuple):
    """A point with the curvature about it, and what Laplace's method makes of both.

    z_K, value: the point, and log p(x, z) there
    scale_KxK, inverse_KxK: S with S S' = H^-1, H averaged over about a standard deviation, the widest column
        first; and S^-1
    axis_K: standard deviations along each axis given the others, diag(H)^-1/2
    log_det: log|det S|
    newton_K: Newton's step H^-1 g
    decrement: 1/2 g' H^-1 g, what that step would still gain: 0 at a maximum, a kink's too
    peaked: whether H is positive definite, beyond rounding
    """

    z_K: Array
    value: Array
    scale_KxK: Array
    inverse_KxK: Array
    axis_K: Array
    log_det: Array
    newton_K: Array
    decrement: Array
    peaked: Array


REACH = 0.5  # of differences for H, in standard deviations along each axis given the others
FLAT = 1e-5  # eigenvalues below this part of the largest are rounding


def mode_at(log_joint: LogJoint, z_K: Array, axis_K: Array) -> Mode:
    """The curvature about z by central differences of gradients, 2 K + 1 evaluations.

    axis_K: standard deviations, of which REACH is the step along each axis; see `fitting_axes`. Differences
    average over the kinks of a relu decoder. Along an axis of negative curvature H is taken as steep as it
    is, upside down, so that Newton's step leads uphill from a saddle too.
    """
    K = z_K.size
    value, grad_K = jax.value_and_grad(log_joint)(z_K)
    # Not below what float32 can add to z.
    axis_K = jnp.maximum(axis_K, 32.0 * EPS * jnp.abs(z_K))

    def column(direction_K: Array) -> tuple[Array, Array]:
        step_K = REACH * axis_K * direction_K
        up_K, down_K = (jax.grad(log_joint)(z_K + sign * step_K) for sign in (1.0, -1.0))
        return (down_K - up_K) / (2.0 * REACH), 0.5 * direction_K @ (up_K + down_K)

    rows_KxK, around_K = jax.lax.map(column, jnp.eye(K), batch_size=10)
    # At the top of a kink the slope at z is that of one side, and the mean of both sides is 0; at the top of
    # what is smooth and skewed it is the other way round.
    at_top_K = jnp.where(jnp.abs(around_K) < jnp.abs(grad_K), around_K, grad_K)
    # In units of the axes, so that the smallest eigenvalue is told from rounding whatever they are.
    H_KxK = rows_KxK * axis_K[None, :]
    H_KxK = 0.5 * (H_KxK + H_KxK.T)
    finite = jnp.all(jnp.isfinite(H_KxK)) & jnp.isfinite(value) & jnp.all(jnp.isfinite(grad_K))
    H_KxK = jnp.where(finite, H_KxK, jnp.eye(K))
    value_K, vector_KxK = eigh(H_KxK)
    least = jnp.maximum(FLAT * jnp.max(jnp.abs(value_K)), TINY)
    root_K = jnp.sqrt(jnp.maximum(jnp.abs(value_K), least))
    scale_KxK = axis_K[:, None] * vector_KxK / root_K[None, :]
    slope_K, left_K = (scale_KxK.T @ jnp.where(finite, g_K, 0.0) for g_K in (grad_K, at_top_K))
    return Mode(
        z_K,
        jnp.where(finite, value, -jnp.inf),
        scale_KxK,
        root_K[:, None] * vector_KxK.T / axis_K[None, :],
        axis_K / jnp.sqrt(jnp.maximum(jnp.abs(jnp.diag(H_KxK)), least)),
        jnp.sum(jnp.log(axis_K)) - jnp.sum(jnp.log(root_K)),
        scale_KxK @ slope_K,
        0.5 * jnp.sum(left_K**2),
        finite & jnp.all(value_K > least),
    )


def polish(log_joint: LogJoint, z_K: Array, axis_K: Array, *, num_steps: int) -> Mode:
    """The mode that num_steps of Newton's steps lead to, each kept where log p(x, z) does not fall by it.

    Each takes its differences over the axes that the last one has shown.
    """
    start = mode_at(log_joint, z_K, fitting_axes(log_joint, z_K, axis_K))

    def step(carry: tuple[Mode, Array], _: None) -> tuple[tuple[Mode, Array], None]:
        best, part = carry
        # A quadratic model is good for a few standard deviations.
        length = length_of(best.inverse_KxK @ best.newton_K)
        move_K = part * jnp.minimum(1.0, 3.0 / jnp.maximum(length, TINY)) * best.newton_K
        new = mode_at(log_joint, best.z_K + move_K, best.axis_K)
        noise = 4.0 * EPS * jnp.abs(best.value)
        rose = jnp.isfinite(new.value) & (new.value >= best.value - noise)
        kept = jax.tree.map(lambda a, b: jnp.where(rose, a, b), new, best)
        return (kept, jnp.where(rose, 1.0, SHRINK * part)), None

    best = jax.lax.scan(step, (start, jnp.ones(())), None, length=num_steps)[0][0]
    return mode_at(log_joint, best.z_K, fitting_axes(log_joint, best.z_K, best.axis_K))


FITTINGS = 4


def fitting_axes(log_joint: LogJoint, z_K: Array, axis_K: Array) -> Array:
    """Lengths along the axes at which log p(x, z) falls by about half a nat, a Gaussian's standard deviation.

    From what an ascent has learned, which at a kink can be far too short: each length is multiplied by
    (1/2 / fall)^1/2, FITTINGS times, 2 K values each. A smooth maximum is met at once, and a kink, whose fall
    is as the length, by halving the logarithm of what is lacking.
    """
    value = log_joint(z_K)
    noise = 8.0 * EPS * jnp.abs(value)

    def fit(axis_K: Array, _: None) -> tuple[Array, None]:
        axis_K = jnp.maximum(axis_K, 32.0 * EPS * jnp.abs(z_K))

        def fall(direction_K: Array) -> Array:
            step_K = axis_K * direction_K
            return value - 0.5 * (log_joint(z_K + step_K) + log_joint(z_K - step_K))

        fall_K = jax.lax.map(fall, jnp.eye(z_K.size), batch_size=10)
        # Where it does not fall, or by rounding alone, further out; where it is 0 density, or none, nearer.
        fall_K = jnp.where(jnp.isfinite(fall_K), jnp.maximum(fall_K, noise), jnp.inf)
        return axis_K * jnp.clip(jnp.sqrt(0.5 / jnp.maximum(fall_K, TINY)), 0.1, 10.0), None

    return jax.lax.scan(fit, axis_K, None, length=FITTINGS)[0]


class Modes(NamedTuple):
    """The maxima of one datapoint that a search has told apart, M places for them, the heaviest first.

    z_MxK: where they are; what stands in places beyond the last one means nothing
    axis_MxK: standard deviations along each axis given the others
    log_weight_M: of each by Laplace's method, nats; -inf in a place without a mode
    log_bound_M: log_weight with the best diagonal Gaussian distribution in the place of the Gaussian one,
        log p(x, m) + K/2 log 2 pi - 1/2 sum_k log H_kk
    reached_F: the place of the mode nearest to where each of the first F starts led
    crowded: whether every place has a mode, and there were ends of ascents for more
    start_M: the number of the start whose ascent led there; a search makes it the place of its kind in KINDS
    """

    z_MxK: Array
    axis_MxK: Array
    log_weight_M: Array
    log_bound_M: Array
    reached_F: Array
    crowded: Array
    start_M: Array

    @classmethod
    def template(cls) -> "Modes":
        """The structure without its arrays."""
        return cls(0, 0, 0, 0, 0, 0, 0)


APART = 2.0  # standard deviations: two equal Gaussian distributions have one maximum together below it
DIP = 0.2  # nats, by which log p(x, z) falls between two modes
AT_TOP = 0.05  # nats that Newton's step would gain at most where an ascent has arrived
NEGLIGIBLE = 30.0  # nats below the highest end of an ascent


def tell_apart(log_joint: LogJoint, ends: Climb, *, num_modes: int, num_given: int, num_polish: int) -> Modes:
    """The modes among the ends of S ascents, of which the first num_given = F are asked for by name.

    Ends within a standard deviation of a higher one along every axis are taken for the same; up to num_modes
    of the others are climbed to their maxima by Newton's steps. Two maxima are two modes where

        ((a - b)' H (a - b))^1/2 > APART,    H at the higher,    and log p(x, z) dips by DIP between them,

    and where the lower one is a maximum indeed. The highest is kept in any case.
    """
    best = jnp.max(ends.value)
    z_MxK, axis_MxK, some_M, start_M, crowded = _highest(ends, best - NEGLIGIBLE, num_modes)
    modes = jax.vmap(lambda z_K, axis_K: polish(log_joint, z_K, axis_K, num_steps=num_polish))(
        z_MxK, axis_MxK
    )
    value_M = jnp.where(some_M, modes.value, -jnp.inf)
    stays_M = jax.vmap(partial(_stays, log_joint))(modes)
    order_M = jnp.argsort(-value_M)
    modes, value_M, stays_M, start_M = jax.tree.map(lambda a: a[order_M], (modes, value_M, stays_M, start_M))

    def compared(lower: int, kept_M: Array) -> Array:
        """Whether the mode in this place is another than each of the kept ones before it."""
        along_MxK = modes.z_K[lower][None, :] - modes.z_K
        apart_M = jnp.sqrt(jnp.sum(jnp.einsum("mij,mj->mi", modes.inverse_KxK, along_MxK) ** 2, axis=1))
        part_T = jnp.array([0.25, 0.5, 0.75])
        between_MxT = jax.vmap(
            lambda along_K: jax.vmap(lambda part: log_joint(modes.z_K[lower] - part * along_K))(part_T)
        )(along_MxK)
        lowest_M = jnp.min(jnp.where(jnp.isnan(between_MxT), -jnp.inf, between_MxT), axis=1)
        rounding = 16.0 * EPS * jnp.abs(value_M[lower])
        distinct_M = (apart_M > APART) & (lowest_M < value_M[lower] - DIP - rounding)
        return jnp.all(distinct_M | ~kept_M | (jnp.arange(num_modes) >= lower))

    def keep(lower: Array, kept_M: Array) -> Array:
        at_top = modes.peaked[lower] & (modes.decrement[lower] < AT_TOP) & stays_M[lower]
        return kept_M.at[lower].set(at_top & compared(lower, kept_M))

    first_M = (jnp.arange(num_modes) == 0) & jnp.isfinite(value_M)
    kept_M = jax.lax.fori_loop(1, num_modes, keep, first_M)
    half = 0.5 * z_MxK.shape[1] * math.log(2.0 * math.pi)
    weight_M = jnp.where(kept_M, value_M + half + modes.log_det, -jnp.inf)
    bound_M = jnp.where(kept_M, value_M + half + jnp.sum(jnp.log(modes.axis_K), axis=1), -jnp.inf)
    away_FxMxK = ends.z_K[:num_given, None, :] - modes.z_K[None]
    away_FxM = jnp.sum(jnp.einsum("mij,fmj->fmi", modes.inverse_KxK, away_FxMxK) ** 2, axis=2)
    order_M = jnp.argsort(-weight_M)
    away_FxM = jnp.where(kept_M[None, :] & ~jnp.isnan(away_FxM), away_FxM, jnp.inf)[:, order_M]
    return Modes(
        modes.z_K[order_M],
        modes.axis_K[order_M],
        weight_M[order_M],
        bound_M[order_M],
        jnp.argmin(away_FxM, axis=1),
        crowded & jnp.all(kept_M),
        start_M[order_M],
    )


ESCAPE_STEPS = 20
RISE = 1e-3  # nats


def _stays(log_joint: LogJoint, mode: Mode) -> Array:
    """Whether ascents from a standard deviation off, along the widest axis, end below the mode or at it.

    On a thin curved ridge the differences of `mode_at` leave the ridge, and its lowest point looks peaked:
    the ascents then end above it, or as high but away.
    """
    # In units of the mode, whose first step is then no leap to another one.
    start_2xK = jnp.zeros((2, mode.z_K.size)).at[:, 0].set(jnp.array([1.0, -1.0]))
    ends = jax.vmap(
        partial(climb, lambda u_K: log_joint(mode.z_K + mode.scale_KxK @ u_K), num_steps=ESCAPE_STEPS)
    )(start_2xK)
    rise_2, away_2 = ends.value - mode.value, jnp.sum(ends.z_K**2, axis=1)
    # A Gaussian distribution is 1/4 nat lower there.
    elsewhere_2 = (rise_2 > -AT_TOP) & (away_2 > 0.5)
    higher_2 = rise_2 > RISE + 64.0 * EPS * jnp.abs(mode.value)
    return jnp.isfinite(mode.value) & ~jnp.any(higher_2 | elsewhere_2)


def _highest(ends: Climb, least: Array, num_modes: int) -> tuple[Array, Array, Array, Array, Array]:
    """(z_MxK, axis_MxK, whether there is one_M, its place_M, whether some are over) of the highest apart."""

    def pick(open_S: Array, _: None) -> tuple[Array, tuple[Array, ...]]:
        at = jnp.argmax(jnp.where(open_S, ends.value, -jnp.inf))
        near_S = jnp.all(jnp.abs(ends.z_K - ends.z_K[at][None, :]) < ends.scale_K[at][None, :], axis=1)
        same_S = near_S | (jnp.arange(near_S.size) == at)
        return open_S & ~same_S, (ends.z_K[at], ends.scale_K[at], open_S[at], at)

    open_S = jnp.isfinite(ends.value) & (ends.value >= least)
    open_S, (z_MxK, axis_MxK, some_M, at_M) = jax.lax.scan(pick, open_S, None, length=num_modes)
    return z_MxK, axis_MxK, some_M, at_M, jnp.any(open_S)
