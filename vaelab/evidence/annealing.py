"""log p(x) by annealed importance sampling, for one datapoint: a stochastic lower bound (Neal 2001)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.evidence.transition import LogWeight, Move, Point, at, longest_step, move
from vaelab.evidence.weights import Evidence, from_log_weights
from vaelab.objective.draws import log_weight
from vaelab.types import Array, Key, LogJoint, PosteriorFamily


class Pilot(NamedTuple):
    """What a short run of chains has seen along the path, at J + 1 temperatures from 0 to 1.

    beta_J: the temperatures
    step_size_J: of HMC, for the acceptance that was asked for
    deviation_J: standard deviation of log w over the chains, nats
    """

    beta_J: Array
    step_size_J: Array
    deviation_J: Array


Schedule = Callable[[Pilot, int], Array]
"""(pilot, T) -> beta_T1: 0 = b_0 < b_1 < ... < b_T = 1."""


def linear(pilot: Pilot, num_temperatures: int) -> Array:
    """b_t = t / T."""
    return jnp.linspace(0.0, 1.0, num_temperatures + 1)


def sigmoid(pilot: Pilot, num_temperatures: int) -> Array:
    """b_t of the logistic function between -4 and 4, scaled to [0, 1] (Grosse et al. 2015, section 5.1)."""
    s_T1 = jax.nn.sigmoid(jnp.linspace(-4.0, 4.0, num_temperatures + 1))
    return (s_T1 - s_T1[0]) / (s_T1[-1] - s_T1[0])


def equal_length(pilot: Pilot, num_temperatures: int) -> Array:
    """Equal increments of the path's length int sd_b(log w) db, as the pilot has seen it.

    With perfect mixing the increment of step t has the variance (b_t - b_{t-1})^2 Var_b(log w), so that their
    sum is least where all are equal (Gelman & Meng 1998, section 4.3). A tenth of the length is that of
    b itself: no gap between temperatures is beyond 10 / T.
    """
    db_J = jnp.diff(pilot.beta_J)
    part_J = 0.5 * (pilot.deviation_J[1:] + pilot.deviation_J[:-1]) * db_J
    part_J = jnp.where(jnp.sum(part_J) > 0.0, part_J / jnp.sum(part_J), db_J)
    length_J = jnp.concatenate([jnp.zeros(1), jnp.cumsum(0.9 * part_J + 0.1 * db_J)])
    return jnp.interp(jnp.linspace(0.0, 1.0, num_temperatures + 1), length_J / length_J[-1], pilot.beta_J)


SCHEDULES: dict[str, Schedule] = {"linear": linear, "sigmoid": sigmoid, "equal_length": equal_length}


class Annealing(NamedTuple):
    """How to anneal: T temperatures, the chains and the leapfrog steps of their HMC; and the pilot for it."""

    num_temperatures: int = 400
    num_chains: int = 32
    num_leapfrogs: int = 2
    schedule: Schedule = equal_length
    target_acceptance: float = 0.8
    pilot_temperatures: int = 40
    pilot_chains: int = 16


class Path(NamedTuple):
    """0 = b_0 < ... < b_T = 1 and the step size of HMC at each, fixed before the run that they serve."""

    beta_T1: Array
    step_size_T1: Array


class Annealed(NamedTuple):
    """The outcome of `annealed_importance_sampling` for one datapoint.

    evidence: a stochastic lower bound; its weights are those of whole chains
    acceptance: mean over moves and chains
    stuck: share of the chains that never accepted a move; 1 says that nothing was annealed
    """

    evidence: Evidence
    acceptance: Array
    stuck: Array


PILOT_MOVES = 2  # at each temperature: one to follow it, one to settle
PILOT_POWER = 3  # b_j = (j / J)^3: from the prior, most happens near 0


def fly(log_w: LogWeight, key: Key, *, latent_dim: int, settings: Annealing) -> Pilot:
    """A pilot along the path: a step size for the wanted acceptance, and the spread of log w.

    log step moves by (acceptance - wanted) after each move, acceptance the mean over the chains; steps stay
    below `longest_step`. Chains that follow their own step sizes are no unbiased estimator: nothing of a
    pilot but this record is used, and the run that it serves has other random numbers.
    """
    longest = jnp.log(longest_step(settings.num_leapfrogs))
    beta_J = jnp.linspace(0.0, 1.0, settings.pilot_temperatures + 1) ** PILOT_POWER
    key_start, key_moves = jax.random.split(key)
    eps_CxK = jax.random.normal(key_start, (settings.pilot_chains, latent_dim))

    def temperature(carry, row):
        beta, key = row

        def once(carry, t):
            points, log_step = carry
            points, moves = move_all(
                log_w,
                points,
                beta,
                jnp.exp(log_step),
                jax.random.fold_in(key, t),
                num_leapfrogs=settings.num_leapfrogs,
            )
            change = jnp.mean(moves.acceptance) - settings.target_acceptance
            return (points, jnp.minimum(log_step + change, longest)), None

        carry, _ = jax.lax.scan(once, carry, jnp.arange(PILOT_MOVES))
        points, log_step = carry
        return carry, (jnp.exp(log_step), jnp.std(points.log_w))

    start = jax.vmap(lambda eps_K: at(log_w, eps_K))(eps_CxK)
    keys_J = jax.random.split(key_moves, settings.pilot_temperatures)
    _, (step_J, deviation_J) = jax.lax.scan(temperature, (start, longest), (beta_J[1:], keys_J))
    deviation_J = jnp.concatenate([jnp.std(start.log_w)[None], deviation_J])
    return Pilot(
        beta_J,
        jnp.concatenate([step_J[:1], step_J]),
        jnp.where(jnp.isfinite(deviation_J), deviation_J, 0.0),
    )


def move_all(
    log_w: LogWeight, points: Point, beta: Array, step_size: Array, key: Key, *, num_leapfrogs: int
) -> tuple[Point, Move]:
    """`move` of every chain, each with its own key."""
    keys_C = jax.random.split(key, points.log_w.size)

    def one(point, key):
        return move(log_w, point, beta, step_size, key, num_leapfrogs=num_leapfrogs)

    return jax.vmap(one)(points, keys_C)


def lay_path(pilot: Pilot, settings: Annealing) -> Path:
    """The path that the schedule makes of a pilot, with step sizes interpolated between its temperatures."""
    beta_T1 = settings.schedule(pilot, settings.num_temperatures)
    return Path(beta_T1, jnp.exp(jnp.interp(beta_T1, pilot.beta_J, jnp.log(pilot.step_size_J))))


def forward(
    log_w: LogWeight, path: Path, eps_CxK: Array, key: Key, *, num_leapfrogs: int
) -> tuple[Array, Array, Array]:
    """(log W_C, acceptance_C, whether ever accepted_C) of chains from eps ~ N(0, I).

    log W = sum_{t=1..T} (b_t - b_{t-1}) log w(eps_{t-1}), eps_t moved from eps_{t-1} at b_t: E[W] = p(x)
    (Neal 2001, eqs. 3 to 11, for unnormalised f_b). No move is made at b_T, as no weight would see it.
    """
    return _along(
        log_w,
        eps_CxK,
        path.step_size_T1[1:-1],
        path.beta_T1[1:-1],
        jnp.diff(path.beta_T1),
        key,
        num_leapfrogs=num_leapfrogs,
    )


def backward(
    log_w: LogWeight, path: Path, eps_CxK: Array, key: Key, *, num_leapfrogs: int
) -> tuple[Array, Array, Array]:
    """`forward` in reverse, from eps of the posterior: (log W_C, ...) with E[1 / W] = 1 / p(x).

    The same moves from b_{T-1} down to b_1, each the reverse of itself, as HMC is reversible; so -log W is
    a stochastic lower bound on -log p(x), and log W an upper one on log p(x) (Grosse et al. 2015, section 4).
    """
    return _along(
        log_w,
        eps_CxK,
        path.step_size_T1[-2:0:-1],
        path.beta_T1[-2:0:-1],
        jnp.diff(path.beta_T1)[::-1],
        key,
        num_leapfrogs=num_leapfrogs,
    )


def _along(
    log_w: LogWeight,
    eps_CxK: Array,
    step_size_M: Array,
    beta_M: Array,
    change_T: Array,
    key: Key,
    *,
    num_leapfrogs: int,
) -> tuple[Array, Array, Array]:
    """Sum of change_t log w before, between and after the moves at beta_M, M = T - 1."""

    def step(carry, row):
        points, log_W_C, acceptance_C, accepted_C = carry
        t, beta, step_size, change = row
        points, moves = move_all(
            log_w, points, beta, step_size, jax.random.fold_in(key, t), num_leapfrogs=num_leapfrogs
        )
        log_W_C += change * points.log_w
        return (points, log_W_C, acceptance_C + moves.acceptance, accepted_C | moves.accepted), None

    points = jax.vmap(lambda eps_K: at(log_w, eps_K))(eps_CxK)
    zero_C = jnp.zeros(eps_CxK.shape[0])
    rows = (jnp.arange(beta_M.size), beta_M, step_size_M, change_T[1:])
    start = (points, change_T[0] * points.log_w, zero_C, zero_C > 0)
    (_, log_W_C, acceptance_C, accepted_C), _ = jax.lax.scan(step, start, rows)
    return log_W_C, acceptance_C / max(beta_M.size, 1), accepted_C


def annealed_importance_sampling(
    log_joint: LogJoint, family: PosteriorFamily, phi_P: Array, key: Key, *, settings: Annealing
) -> Annealed:
    """log 1/C sum_c W_c over chains annealed from q_phi to the posterior; from the prior with family.init().

    E[exp(estimate)] = p(x), with what the pilot chose fixed before the chains begin, so the estimate is a
    stochastic lower bound on log p(x), in expectation below it by about Var[W] / (2 C p(x)^2).
    With perfect mixing log W has the mean log p(x) - J / (2 T) and the variance J / T, where J is KL(q ||
    posterior) + KL(posterior || q) on a linear schedule, less on the best (Grosse et al. 2013, section 3).
    stderr: delta method over the chains. A chain whose first log weight is -inf has weight zero.
    """
    log_w = log_weight(log_joint, family, phi_P, phi_P)
    key_pilot, key_start, key_moves = jax.random.split(key, 3)
    pilot = fly(log_w, key_pilot, latent_dim=family.latent_dim, settings=settings)
    eps_CxK = jax.random.normal(key_start, (settings.num_chains, family.latent_dim))
    log_W_C, acceptance_C, accepted_C = forward(
        log_w, lay_path(pilot, settings), eps_CxK, key_moves, num_leapfrogs=settings.num_leapfrogs
    )
    return Annealed(from_log_weights(log_W_C), jnp.mean(acceptance_C), jnp.mean(~accepted_C))


def evaluations(settings: Annealing) -> int:
    """Gradient evaluations per datapoint of AIS; the few values without a gradient count like gradients."""
    return pilot_evaluations(settings) + chain_evaluations(settings)


def pilot_evaluations(settings: Annealing) -> int:
    """Gradient evaluations per datapoint of the pilot."""
    moves = settings.pilot_temperatures * PILOT_MOVES
    return settings.pilot_chains * (1 + moves * settings.num_leapfrogs)


def chain_evaluations(settings: Annealing) -> int:
    """Gradient evaluations per datapoint of the chains alone, once along the path."""
    return settings.num_chains * (1 + (settings.num_temperatures - 1) * settings.num_leapfrogs)
