"""How the inner loop moves: solvers for the variational parameters of one datapoint."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vaelab.inference.curvature import (
    Curvature,
    controlled_gradient,
    posterior_curvature,
    refresh,
    variances,
)
from vaelab.objective.draws import standard_draws
from vaelab.types import Array, Key, LogJoint, Objective, PosteriorFamily

State = Any  # a pytree of arrays


class Solver(NamedTuple):
    """Stochastic ascent of L[q_phi] in phi, for one datapoint.

    init(phi_P) -> state
    gradient(log_joint, phi_P, state, key) -> (grad_P, state)    an unbiased gradient; its samples may
                                                                 teach the state something
    update(phi_P, grad_P, state) -> (phi_P, state)
    num_samples                                                  samples behind each gradient
    step(log_joint, phi_P, state, key) -> (phi_P, state)         gradient and update in one, where that takes
                                                                 less than the gradient in phi does; or None
    at(state, t) -> state                                        the state with t, the number of the step and
                                                                 the same for all datapoints, as its own: what
                                                                 hangs on it is then not computed for naught
                                                                 under vmap; or None
    """

    init: Callable[[Array], State]
    gradient: Callable[[LogJoint, Array, State, Key], tuple[Array, State]]
    update: Callable[[Array, Array, State], tuple[Array, State]]
    num_samples: int
    step: Callable[[LogJoint, Array, State, Key], tuple[Array, State]] | None = None
    at: Callable[[State, Array], State] | None = None


def move(solver: Solver, log_joint: LogJoint, phi_P: Array, state: State, key: Key) -> tuple[Array, State]:
    """(phi_P, state) after a step, by the solver's `step` where it has one."""
    if solver.step is not None:
        return solver.step(log_joint, phi_P, state, key)
    grad_P, state = solver.gradient(log_joint, phi_P, state, key)
    return solver.update(phi_P, grad_P, state)


def stochastic_gradient(
    family: PosteriorFamily,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    num_samples: int,
    holds_density: bool = False,
) -> Solver:
    """Ascends an objective's gradient by any optax transformation; num_samples as the objective has them.

    holds_density: whether the objective is one that holds phi fixed in log q, `stick_the_landing`. It is then
    told which phi that is, so that the steps can be differentiated.
    """

    def gradient(log_joint: LogJoint, phi_P: Array, state: State, key: Key) -> tuple[Array, State]:
        held = {"density_phi_P": phi_P} if holds_density else {}
        return jax.grad(partial(objective, **held), argnums=2)(log_joint, family, phi_P, key), state

    def update(phi_P: Array, grad_P: Array, state: State) -> tuple[Array, State]:
        updates_P, state = optimizer.update(-grad_P, state, phi_P)
        return optax.apply_updates(phi_P, updates_P), state

    return Solver(optimizer.init, gradient, update, num_samples)


def natural_gradient(family: PosteriorFamily, *, max_norm: float) -> optax.GradientTransformation:
    """Turns the gradient g in phi into F^+ g, F the Fisher information of q at phi (Amari 1998).

    F^+ g is shortened to a length sqrt(g' F^+ g) of max_norm. That length is sqrt(2 KL) to second order, so
    KL between q before and after a step of rate r is at most about (r max_norm)^2 / 2 nats: from a
    start far off, whose gradients are huge, the loop walks instead of leaping. For Gaussian families only.
    """

    def update(updates_P: Array, state: optax.EmptyState, phi_P: Array) -> tuple[Array, optax.EmptyState]:
        direction_P = family.gaussian.natural_gradient(phi_P, updates_P)
        return shorten(direction_P, jnp.vdot(updates_P, direction_P), max_norm), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


def shorten(direction_P: Array, square: Array, max_norm: float) -> Array:
    """The direction d, where d' F d = square is above max_norm^2 at the length sqrt(d' F d) of max_norm."""
    # 1 below max_norm, and there with the derivative 0, not that of a root at 0.
    return direction_P * (max_norm * jax.lax.rsqrt(jnp.maximum(square, max_norm**2)))


def natural_path_step(
    family: PosteriorFamily,
    rate: optax.GradientTransformation,
    *,
    num_samples: int,
    antithetic: bool,
    max_norm: float,
) -> Callable[[LogJoint, Array, State, Key], tuple[Array, State]]:
    """The `step` of stick-the-landing by optax.chain(natural_gradient, rate), by a family's `natural_path`.

    With the samples and, but for rounding, the result of gradient and update: S is neither inverted nor
    divided by, as S' grad log q(z) = -eps. (Gradient: Roeder, Wu & Duvenaud 2017, eq. 8.)
    """

    def step(log_joint: LogJoint, phi_P: Array, state: State, key: Key) -> tuple[Array, State]:
        eps_SxK = standard_draws(key, num_samples, family.latent_dim, antithetic=antithetic)
        z_SxK = jax.vmap(family.reparameterize, (None, 0))(phi_P, eps_SxK)
        grad_SxK = jax.vmap(jax.grad(log_joint))(z_SxK)
        direction_P, square = family.gaussian.natural_path(phi_P, eps_SxK, grad_SxK)
        first, kept = state
        updates_P, kept = rate.update(-shorten(direction_P, square, max_norm), kept, phi_P)
        return optax.apply_updates(phi_P, updates_P), (first, kept)

    return step


REFRESH_EVERY = 4  # steps; two products of K x K matrices


LEAST_PART = 1e-12  # of q's precision along an axis, that a curvature may be; or its inverse


class QuasiNewtonState(NamedTuple):
    """What `quasi_newton` keeps of a datapoint.

    step: how many steps were taken
    curvature: that of the step that a gradient is for
    learned: with the samples of that gradient too, for the next step
    """

    step: Array
    curvature: Curvature
    learned: Curvature


def quasi_newton(
    family: PosteriorFamily, schedule: optax.Schedule, *, num_samples: int, max_norm: float
) -> Solver:
    """Lam^-1 g for the mean, F^+ g for the scale, with Lam learned from the draws of the gradients.

    The natural gradient of a diagonal q leaves the posterior's correlations out and is slow along them; here
    the antithetic draws are the pairs of points of a BFGS update, and the curvature that they build up serves
    twice: for Newton's step of the mean, and as the control variate of `controlled_gradient`. It starts at
    (S S')^-1, and a step does not take what its samples have taught: Lam^-1 g of the same samples is not 0 in
    the mean where g is. A step is shortened as that of `natural_gradient`, the mean's part of its length
    being taken in standard deviations of q, dimension by dimension: where the posterior is far from Gaussian
    a curvature learned elsewhere can be much too small, and Lam^-1 g leads out of all that q has seen. For
    Gaussian families.
    """
    K = family.latent_dim

    def init(phi_P: Array) -> QuasiNewtonState:
        curvature = posterior_curvature(family, phi_P)
        return QuasiNewtonState(jnp.int32(0), curvature, curvature)

    def gradient(
        log_joint: LogJoint, phi_P: Array, state: QuasiNewtonState, key: Key
    ) -> tuple[Array, QuasiNewtonState]:
        grad_P, learned = controlled_gradient(
            log_joint, family, phi_P, key, state.curvature, num_samples=num_samples
        )
        due = state.step % REFRESH_EVERY == REFRESH_EVERY - 1
        return grad_P, state._replace(learned=jax.lax.cond(due, refresh, lambda kept: kept, learned))

    def update(phi_P: Array, grad_P: Array, state: QuasiNewtonState) -> tuple[Array, QuasiNewtonState]:
        variance_K = variances(family, phi_P)
        newton_K = state.curvature.inverse_KxK @ grad_P[:K]
        natural_S = family.gaussian.natural_gradient(phi_P, grad_P)[K:]
        square = jnp.sum(newton_K**2 / variance_K) + jnp.vdot(grad_P[K:], natural_S)
        direction_P = jnp.concatenate([newton_K, natural_S])
        moved_P = phi_P + schedule(state.step) * shorten(direction_P, square, max_norm)
        sound = jnp.all(jnp.isfinite(moved_P))
        # A matrix out of all proportion to q is begun anew, at q itself along each axis.
        part_K = jnp.diag(state.learned.matrix_KxK) * variance_K
        kept = sound & jnp.all((part_K > LEAST_PART) & (part_K < 1.0 / LEAST_PART))
        plain = Curvature(jnp.diag(1.0 / variance_K), jnp.diag(variance_K))
        learned = jax.tree.map(partial(jnp.where, kept), state.learned, plain)
        return jnp.where(sound, moved_P, phi_P), QuasiNewtonState(state.step + 1, learned, learned)

    return Solver(init, gradient, update, num_samples)


SolverOf = Callable[[PosteriorFamily], Solver]
"""A solver for each family that it is asked for."""
