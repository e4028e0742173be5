"""The quasi-Newton loop in memory that is linear in K, for diagonal families of many dimensions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from vaelab.inference.curvature import with_control
from vaelab.inference.low_rank import RANK, LowRank, diagonal_of, learn, nothing, solve, times
from vaelab.inference.solver import Solver, shorten
from vaelab.objective.draws import standard_draws
from vaelab.types import Array, Key, LogJoint, PosteriorFamily

LEARN_EVERY = 10  # steps, whose pairs are taken in at once


class State(NamedTuple):
    """What `limited_memory` keeps of a datapoint.

    step: how many steps were taken
    curvature: that of the steps, in units of the standard deviations that q has at each
    eps_MxK, bent_MxK: the pairs since it last learned, as `learn` takes them
    """

    step: Array
    curvature: LowRank
    eps_MxK: Array
    bent_MxK: Array


def limited_memory(
    family: PosteriorFamily, schedule: optax.Schedule, *, num_samples: int, max_norm: float
) -> Solver:
    """`quasi_newton` with a curvature of RANK directions, learned every LEARN_EVERY steps from their draws.

    The gradient is that of `with_control`, its B the curvature of the steps before. For families with `axes`.
    """
    K, half = family.latent_dim, num_samples // 2
    pairs = LEARN_EVERY * half
    axes = family.gaussian.axes

    def init(phi_P: Array) -> State:
        none = jnp.zeros((pairs, K))
        return State(jnp.int32(0), nothing(K, min(RANK, pairs, K)), none, none)

    def gradient(log_joint: LogJoint, phi_P: Array, state: State, key: Key) -> tuple[Array, State]:
        curvature, sd_K = state.curvature, axes(phi_P)
        eps_SxK = standard_draws(key, num_samples, K, antithetic=True)
        diagonal_K = jax.lax.stop_gradient(diagonal_of(curvature) / sd_K**2)
        grad_P, (_, slope_MxK) = with_control(
            log_joint,
            family,
            phi_P,
            eps_SxK,
            # Offsets are sigma eps, and their products sigma^-1 A sigma^-1 sigma eps.
            lambda _: times(curvature, eps_SxK) / sd_K[None, :],
            lambda phi_P: jnp.sum(axes(phi_P) ** 2 * diagonal_K),
        )
        at = state.step % LEARN_EVERY * half
        eps_MxK = jax.lax.dynamic_update_slice(state.eps_MxK, eps_SxK[:half], (at, 0))
        bent_MxK = jax.lax.dynamic_update_slice(
            state.bent_MxK, slope_MxK * sd_K[None, :] - eps_SxK[:half], (at, 0)
        )
        return grad_P, state._replace(eps_MxK=eps_MxK, bent_MxK=bent_MxK)

    def update(phi_P: Array, grad_P: Array, state: State) -> tuple[Array, State]:
        sd_K = axes(phi_P)
        white_K = solve(state.curvature, sd_K * grad_P[:K])
        natural_S = family.gaussian.natural_gradient(phi_P, grad_P)[K:]
        square = white_K @ white_K + jnp.vdot(grad_P[K:], natural_S)
        direction_P = jnp.concatenate([sd_K * white_K, natural_S])
        moved_P = phi_P + schedule(state.step) * shorten(direction_P, square, max_norm)
        phi_P = jnp.where(jnp.all(jnp.isfinite(moved_P)), moved_P, phi_P)
        due = state.step % LEARN_EVERY == LEARN_EVERY - 1
        taken = state.eps_MxK, state.bent_MxK
        curvature = jax.lax.cond(due, learn, lambda kept, *_: kept, state.curvature, *taken)
        return phi_P, State(state.step + 1, curvature, *taken)

    return Solver(init, gradient, update, num_samples, at=lambda state, t: state._replace(step=jnp.int32(t)))
