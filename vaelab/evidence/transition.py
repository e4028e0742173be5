"""The moves between temperatures: Hamiltonian Monte Carlo on the path from q to the posterior.

With z = T(eps) the family's sample, eps ~ N(0, I), and the weight w(eps) = p(x, z) / q(z), the geometric
path q^(1-b) p(x, z)^b is, in the coordinates eps,

    f_b(eps) = N(eps; 0, I) w(eps)^b,        int f_0 = 1,  int f_1 = p(x).                               (1)

One form serves every family, flows too, and the prior, which is the member family.init(). Where q is near
the posterior, f_b is near N(0, I) for every b, so that its scales need no mass matrix.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.model.prior import standard_normal_log_prob
from vaelab.types import Array, Key

LogWeight = Callable[[Array], Array]
"""eps_K -> log w(eps), as `objective.log_weight` makes it."""


class Point(NamedTuple):
    """A state of a chain: eps, log w there, and its gradient; valid at every temperature."""

    eps_K: Array
    log_w: Array
    grad_K: Array


class Move(NamedTuple):
    """The outcome of one move.

    acceptance: the probability with which it was accepted
    accepted: whether it was
    """

    acceptance: Array
    accepted: Array


def at(log_w: LogWeight, eps_K: Array) -> Point:
    """The state at eps: one evaluation."""
    return Point(eps_K, *jax.value_and_grad(log_w)(eps_K))


def longest_step(num_leapfrogs: int) -> float:
    """pi / (2 L): L steps of it are a quarter turn in N(0, I), which makes an independent sample.

    Larger steps come back round. With a log-concave likelihood and q = prior no f_b is wider than N(0, I).
    """
    return math.pi / (2.0 * num_leapfrogs)


JITTER = 0.3


def hmc_step(
    key: Key, state: NamedTuple, log_density: LogWeight, step_size: Array, *, num_leapfrogs: int
) -> tuple[NamedTuple, NamedTuple]:
    """BlackJAX's HMC, (state, info), with the step size multiplied by a fresh U(0.7, 1.3).

    One length of trajectory for all moves may be half a turn of some direction, and |eps| along it would
    never change; lengths drawn apart from the state leave the same distribution invariant, and the move
    reversible (Neal 2011, section 5.4.2.2).
    """
    from blackjax.mcmc import hmc  # half a second that only annealing needs

    key_length, key_move = jax.random.split(key)
    step_size = step_size * jax.random.uniform(key_length, minval=1.0 - JITTER, maxval=1.0 + JITTER)
    ones_K = jnp.ones_like(state.position)
    return hmc.build_kernel()(key_move, state, log_density, step_size, ones_K, num_leapfrogs)


def move(
    log_w: LogWeight, point: Point, beta: Array, step_size: Array, key: Key, *, num_leapfrogs: int
) -> tuple[Point, Move]:
    """One HMC transition that leaves f_beta of (1) invariant, beta > 0, in num_leapfrogs evaluations.

    A proposal with a log weight that is not a number, or -inf, is rejected. (Neal 2011, section 5.3.2.)
    """
    from blackjax.mcmc.hmc import HMCState

    def log_density(eps_K: Array) -> Array:
        return standard_normal_log_prob(eps_K) + beta * log_w(eps_K)

    start = HMCState(
        point.eps_K,
        standard_normal_log_prob(point.eps_K) + beta * point.log_w,
        beta * point.grad_K - point.eps_K,
    )
    end, info = hmc_step(key, start, log_density, step_size, num_leapfrogs=num_leapfrogs)
    # What the kernel evaluated at its end is taken apart, not evaluated again. The rounding of log w that
    # this divides by beta is multiplied by a step in temperature, not above beta, where it is used.
    moved = Point(
        end.position,
        (end.logdensity - standard_normal_log_prob(end.position)) / beta,
        (end.logdensity_grad + end.position) / beta,
    )
    point = jax.tree.map(lambda new, old: jnp.where(info.is_accepted, new, old), moved, point)
    return point, Move(info.acceptance_rate, info.is_accepted)
