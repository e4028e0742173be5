"""Ascents of log p(x, z) in z for one datapoint: quasi-Newton steps, robust to scale and distance."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.types import Array, LogJoint

EPS = 1.2e-7  # of float32
TINY = 1e-30
GROW, SHRINK = 3.0, 0.3  # of the step: after one that rose, after one that fell
WORTH = 1e-6  # nats that a step must promise to be made longer for
STEEPEST = 1e-4  # of the rise that the gradient promises, what a step must keep (Nocedal & Wright 2006, 3.4)


class Climb(NamedTuple):
    """Where an ascent ended: z, log p(x, z) there, and an estimate of its inverse curvature.

    value: -inf where the start had no finite log p(x, z) or gradient
    scale_K: standard deviations of a Gaussian distribution of that curvature, as the ascent has learned it
    """

    z_K: Array
    value: Array
    scale_K: Array


class _Ascent(NamedTuple):
    z_K: Array
    value: Array
    grad_K: Array
    inverse_KxK: Array  # of the curvature
    step: Array  # part of the quasi-Newton step to try next
    learned: Array  # whether inverse_KxK has seen any curvature


def climb(log_joint: LogJoint, z_K: Array, *, num_steps: int) -> Climb:
    """Ascends log p(x, z) from z by num_steps quasi-Newton steps, an evaluation with its gradient each.

    BFGS in the inverse (Nocedal & Wright 2006, eq. 6.17) where the step shows a positive curvature, whether
    it rose or not: a step that fell far down a thin ridge teaches how thin. A step that rose without showing
    any is followed by a longer one, so that 10^4 standard deviations are a dozen steps. No value falls, and
    nothing that is not finite is stepped to.
    """
    evaluate = jax.value_and_grad(log_joint)
    value, grad_K = evaluate(z_K)
    start = _Ascent(
        z_K,
        jnp.where(jnp.isfinite(value), value, -jnp.inf),
        jnp.where(jnp.isfinite(grad_K), grad_K, 0.0),
        jnp.eye(z_K.size) / jnp.maximum(length_of(grad_K), 1.0),
        jnp.ones(()),
        jnp.zeros((), bool),
    )

    def step(state: _Ascent, _: None) -> tuple[_Ascent, None]:
        direction_K = state.inverse_KxK @ state.grad_K
        promised = state.grad_K @ direction_K
        # Else rounding has had the better of the matrix: begin it again.
        length = length_of(state.grad_K)
        sound = jnp.isfinite(promised) & ((promised > 0.0) | (length == 0.0))
        plain = 1.0 / jnp.maximum(length, TINY)
        inverse_KxK = jnp.where(sound, state.inverse_KxK, plain * jnp.eye(z_K.size))
        move_K = state.step * jnp.where(sound, direction_K, plain * state.grad_K)
        value, grad_K = evaluate(state.z_K + move_K)
        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(grad_K))
        noise = 4.0 * EPS * jnp.abs(state.value)
        rose = finite & (value >= state.value + STEEPEST * (state.grad_K @ move_K) - noise)
        inverse_KxK, bent = _secant(inverse_KxK, move_K, state.grad_K - grad_K, finite, state.learned & sound)
        part = jnp.where(rose, jnp.minimum(GROW * state.step, 1.0), SHRINK * state.step)
        # A slope as steep after the step as before goes on, whether rounding lets the rise be seen or not.
        even = (length_of(grad_K - state.grad_K) <= 4.0 * EPS * length) & (promised > WORTH)
        longer = jnp.where(rose & ~bent & ((value > state.value + noise) | even), GROW, 1.0)
        # A secant has already taken in how short the step must be.
        part = jnp.where(~rose & bent, jnp.maximum(part, SHRINK), part)
        return (
            _Ascent(
                jnp.where(rose, state.z_K + move_K, state.z_K),
                jnp.where(rose, value, state.value),
                jnp.where(rose, grad_K, state.grad_K),
                longer * inverse_KxK,
                part,
                (state.learned & sound) | bent,
            ),
            None,
        )

    end, _ = jax.lax.scan(step, start, None, length=num_steps)
    return Climb(end.z_K, end.value, jnp.sqrt(jnp.maximum(jnp.diag(end.inverse_KxK), TINY)))


def length_of(vector_K: Array) -> Array:
    """|v|, of a vector whose squares may overflow."""
    size = jnp.max(jnp.abs(vector_K))
    return size * jnp.sqrt(jnp.sum((vector_K / jnp.maximum(size, TINY)) ** 2))


def _secant(
    inverse_KxK: Array, move_K: Array, fall_K: Array, finite: Array, learned: Array
) -> tuple[Array, Array]:
    """(the inverse curvature after a BFGS update, whether there was one): inverse @ fall = move then.

    fall_K: what the gradient fell by on the move. The first update begins at the curvature that it shows.
    """
    bend = move_K @ fall_K
    bent = finite & (bend > 1e-7 * length_of(move_K) * length_of(fall_K)) & (bend > TINY)
    safe = jnp.where(bent, bend, 1.0)
    first = jnp.eye(move_K.size) * safe / jnp.maximum(fall_K @ fall_K, TINY)
    base_KxK = jnp.where(learned, inverse_KxK, first)
    across_K = base_KxK @ fall_K
    gain = (safe + fall_K @ across_K) / safe
    cross_KxK = jnp.outer(across_K, move_K)
    updated_KxK = base_KxK + (gain * jnp.outer(move_K, move_K) - cross_KxK - cross_KxK.T) / safe
    bent = bent & jnp.all(jnp.isfinite(updated_KxK)) & jnp.all(jnp.diag(updated_KxK) > 0.0)
    return jnp.where(bent, updated_KxK, inverse_KxK), bent
