"""The inner loop: the best member of a family for one datapoint.

phi* = argmax_phi L[q_phi] is reached by stochastic gradient ascent from a given start, with the model
held fixed. For the diagonal family this is traditional mean-field variational inference.

How far it still is from phi* is certified for each datapoint, in one of the ways of `certificate`.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.inference import certificate
from vaelab.inference.curvature import MOST_DENSE, difference_evaluations, expected_curvature
from vaelab.inference.low_rank import SKETCH_PAIRS
from vaelab.inference.solver import Solver, State, move
from vaelab.objective.draws import Estimate
from vaelab.types import Array, Key, LogJoint, PosteriorFamily


class Loop(NamedTuple):
    """num_steps of a solver, in the coordinates of a family."""

    family: PosteriorFamily
    solver: Solver
    num_steps: int


def ascend(
    loop: Loop, log_joint: LogJoint, phi_P: Array, state: State, key: Key, *, remat: bool = False
) -> tuple[Array, State]:
    """(phi_P, solver state) after the loop's steps from given ones, for one datapoint.

    remat: where the steps are differentiated, each is computed again on the way back, and what is kept of it
    is phi and the state alone.
    """

    def step(carry: tuple[Array, State], t: Array) -> tuple[tuple[Array, State], None]:
        # What is trained by these steps goes on as ever, bit for bit: without a solver's own `step`.
        plain = loop.solver._replace(step=None)
        return move(plain, log_joint, *carry, jax.random.fold_in(key, t)), None

    step = jax.checkpoint(step) if remat else step
    return jax.lax.scan(step, (phi_P, state), jnp.arange(loop.num_steps))[0]


class Inference(NamedTuple):
    """The outcome of `infer` for one datapoint.

    phi_P: the last iterate.
    excess: bound or estimate of L[q*] - L[q_phi] in nats, with its standard error; see `certificate`.
    converged: the excess plus two standard errors is within the tolerance.
    """

    phi_P: Array
    excess: Estimate
    converged: Array


def infer(
    solver: Solver,
    log_joint: LogJoint,
    family: PosteriorFamily,
    phi_P: Array,
    key: Key,
    *,
    num_steps: int,
    certificate_groups: int,
    tolerance: float,
    average_last: int = 0,
    concavity_KxK: Array | None = None,
) -> Inference:
    """Maximises L[q_phi] over phi for one datapoint, from phi_P, in num_steps steps of the solver.

    The result is the mean of the average_last last iterates (Polyak & Juditsky 1992), or the last one with 0.
    Samples are fresh at each step and again for the certificate, so that nothing is optimised and
    reported on the same samples. A step to what is not finite is left out. With C = concavity_KxK, -Hessian
    of log p(x, z) in z is at least C wherever z is, and the excess of a family that has a `dual_gradient` is
    bounded. A start or an excess that is not finite gives `converged` False.
    """
    key_steps, key_certificate = jax.random.split(key)

    num_averaged = max(average_last, 1)

    def step(carry, t):
        phi_P, state, sum_P, half_P = carry
        state = state if solver.at is None else solver.at(state, t)
        moved = move(solver, log_joint, phi_P, state, jax.random.fold_in(key_steps, t))
        # A step out of all numbers is not taken; the next has other draws.
        sound = jnp.all(jnp.isfinite(moved[0]))
        phi_P, state = jax.tree.map(partial(jnp.where, sound), moved, (phi_P, state))
        sum_P += jnp.where(t >= num_steps - num_averaged, phi_P, 0.0)
        return (phi_P, state, sum_P, jnp.where(t < num_steps // 2, phi_P, half_P)), None

    start = phi_P, solver.init(phi_P), jnp.zeros_like(phi_P), phi_P
    (_, state, sum_P, half_P), _ = jax.lax.scan(step, start, jnp.arange(num_steps))
    phi_P = sum_P / num_averaged
    certify = partial(_excess, solver, log_joint, family, num_groups=certificate_groups)
    excess = certify(half_P, phi_P, state, key_certificate, concavity_KxK=concavity_KxK)
    finite = jnp.isfinite(excess.value) & jnp.isfinite(excess.stderr) & jnp.all(jnp.isfinite(phi_P))
    return Inference(phi_P, excess, finite & (excess.value + 2.0 * excess.stderr <= tolerance))


def _excess(
    solver: Solver,
    log_joint: LogJoint,
    family: PosteriorFamily,
    half_P: Array,
    phi_P: Array,
    state: State,
    key: Key,
    *,
    num_groups: int,
    concavity_KxK: Array | None,
) -> Estimate:
    """How far phi may be from the best of its family, by the certificate of its kind; half_P: half way."""
    kind = certificate.kind(family, log_concave=concavity_KxK is not None)
    if kind == "progress":
        draws = {"num_samples": PROGRESS_DRAWS, "num_gradients": SHIFT_DRAWS}
        return certificate.progress(log_joint, family, half_P, phi_P, key, num_groups=num_groups, **draws)
    grads_GxP = jax.lax.map(
        lambda g: solver.gradient(log_joint, phi_P, state, jax.random.fold_in(key, g))[0],
        jnp.arange(num_groups),
    )
    if kind == "bound":
        return certificate.bound_excess(family, phi_P, grads_GxP, concavity_KxK)
    key = jax.random.fold_in(key, num_groups)
    if family.latent_dim > MOST_DENSE:
        return certificate.sketched_excess(log_joint, family, phi_P, key, grads_GxP)
    curvature_KxK = expected_curvature(log_joint, family, phi_P, key)
    return certificate.estimate_excess(family, phi_P, grads_GxP, curvature_KxK)


PROGRESS_DRAWS, SHIFT_DRAWS = 100, 10  # in each group


def evaluations(
    solver: Solver,
    family: PosteriorFamily,
    *,
    num_steps: int,
    certificate_groups: int,
    log_concave: bool = False,
) -> int:
    """Gradient evaluations per datapoint of `infer`: gradients of log p(x, z) in z.

    Values of log p(x, z), which the certificate of kind progress takes for both bounds, count like gradients.
    """
    kind = certificate.kind(family, log_concave=log_concave)
    steps, differences = num_steps * solver.num_samples, difference_evaluations(family.latent_dim)
    if family.latent_dim > MOST_DENSE:
        differences = 2 * SKETCH_PAIRS
    if kind == "progress":
        return steps + certificate_groups * (2 * PROGRESS_DRAWS + SHIFT_DRAWS) + differences
    return steps + certificate_groups * solver.num_samples + (differences if kind == "estimate" else 0)
