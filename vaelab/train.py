"""Training: one step, a compiled chunk of steps, and the host loop around it."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vaelab.data import batch_indices, observe
from vaelab.model import bind
from vaelab.objective import estimate_elbo
from vaelab.parallel import map_datapoints
from vaelab.regime import Batch, Regime
from vaelab.types import Array, Key, LatentModel, Objective, Params, PosteriorFamily


class System(NamedTuple):
    """What is trained and how; fixed during a run.

    family: the laws that are learned; regime: how phi is, in coordinates of its own.
    observe(key, pixels_D) -> x_D: the observation made of one stored example.
    learn_model: whether theta is trained with psi, or held fixed.
    kl_weight(step) -> []: where given, the `beta` that the objective takes at each step.
    """

    model: LatentModel
    family: PosteriorFamily
    regime: Regime
    objective: Objective
    optimizer: optax.GradientTransformation
    observe: Callable[[Key, Array], Array]
    learn_model: bool = True
    kl_weight: Callable[[Array], Array] | None = None


class TrainState(NamedTuple):
    """What training carries from step to step, and all that a checkpoint holds."""

    step: Array
    theta: Params
    psi: Params
    opt_state: optax.OptState


class StepMetrics(NamedTuple):
    """bound: batch mean of the objective, nats. grad_norm: global norm before clipping.

    bad_index: the index of the batch's first datapoint whose bound is not finite, -1 where all are.
    """

    bound: Array
    grad_norm: Array
    bad_index: Array


class NonFiniteError(FloatingPointError):
    """Training met a value that is not finite; the message names the step."""


def _trainable(system: System, theta: Params, psi: Params) -> dict[str, Params]:
    """What the optimizer moves: psi not, where the regime has steps of its own for it."""
    trainable = {"theta": theta} if system.learn_model else {}
    return trainable if system.regime.expect else {**trainable, "psi": psi}


def init_state(system: System, key: Key, theta: Params | None = None) -> TrainState:
    """The state before the first step; `theta` replaces the model's own initial parameters."""
    key_theta, key_psi = jax.random.split(key)
    theta = system.model.init(key_theta) if theta is None else theta
    psi = system.regime.init(key_psi)
    return TrainState(jnp.int32(0), theta, psi, system.optimizer.init(_trainable(system, theta, psi)))


def train_step(
    state: TrainState, batch: Batch, key: Key, *, system: System
) -> tuple[TrainState, StepMetrics]:
    """One ascent step of the mean objective over a batch, or the E- and M-steps of mean-field learning.

    Each datapoint's draws come from fold_in(key, its index), so they do not depend on the batch around it.
    """
    regime = system.regime
    if regime.expect is None:
        state, metrics = _gradient_step(state, state.psi, batch, key, system=system)
    else:
        key_expect, key = jax.random.split(key)
        psi = regime.expect(state.theta, state.psi, batch, key_expect)
        held = state.psi if regime.at_once else psi

        def model_step(state: TrainState, m: Array) -> tuple[TrainState, StepMetrics]:
            return _gradient_step(state, held, batch, jax.random.fold_in(key, m), system=system)

        state, metrics = jax.lax.scan(model_step, state._replace(psi=()), jnp.arange(regime.model_steps))
        state = state._replace(psi=psi)
        # The bound is the first, at the theta that the batch met; a later one that is not finite shows.
        finite = jnp.all(jnp.isfinite(metrics.bound))
        bound = jnp.where(finite, metrics.bound[0], jnp.nan)
        metrics = StepMetrics(bound, jnp.max(metrics.grad_norm), jnp.max(metrics.bad_index))
    return state._replace(step=state.step + 1), metrics


def _gradient_step(
    state: TrainState, psi: Params, batch: Batch, key: Key, *, system: System
) -> tuple[TrainState, StepMetrics]:
    """One step of the optimizer on what it moves of (state.theta, psi), the rest held fixed."""
    regime, objective = system.regime, system.objective
    if system.kl_weight is not None:
        objective = partial(objective, beta=system.kl_weight(state.step))

    def loss(trainable: dict[str, Params]) -> tuple[Array, Array]:
        theta, encoder_psi = trainable.get("theta", state.theta), trainable.get("psi", psi)

        def bound(x_D: Array, row: Array, index: Array) -> tuple[Array, Array]:
            key_point = jax.random.fold_in(key, index)
            phi_P = regime.phi(theta, encoder_psi, x_D, row, jax.random.fold_in(key_point, REFINE))
            value = objective(bind(system.model, theta, x_D), regime.family, phi_P, key_point)
            if regime.start is None:
                return value, value
            held = bind(system.model, jax.lax.stop_gradient(theta), x_D)
            own = objective(held, regime.family, regime.start(encoder_psi, x_D), key_point)
            return value + own, value

        ascended_B, bound_B = jax.vmap(bound)(*batch)
        return -jnp.mean(ascended_B), bound_B

    trainable = _trainable(system, state.theta, psi)
    (_, bound_B), grads = jax.value_and_grad(loss, has_aux=True)(trainable)
    finite_B, grad_norm = jnp.isfinite(bound_B), optax.tree.norm(grads)
    # A bound or norm that is not finite may have finite gradients, which no optimizer would then leave out.
    finite = jnp.all(finite_B) & jnp.isfinite(grad_norm)
    grads = jax.tree.map(lambda g: jnp.where(finite, g, jnp.nan), grads)
    bad_index = jnp.where(jnp.all(finite_B), -1, batch.index_B[jnp.argmin(finite_B)])
    updates, opt_state = system.optimizer.update(grads, state.opt_state, trainable)
    trainable = optax.apply_updates(trainable, updates)
    state = state._replace(
        theta=trainable.get("theta", state.theta), psi=trainable.get("psi", state.psi), opt_state=opt_state
    )
    return state, StepMetrics(jnp.mean(bound_B), grad_norm, bad_index)


REFINE = 1  # folded into a datapoint's key for the draws of its refinement


def _chunk(
    state: TrainState, rows_TxB: Array, pixels_NxD: Array, index_N: Array, key: Key, *, system: System
) -> tuple[TrainState, StepMetrics]:
    """T steps as one scan over the rows of each batch; metrics have a leading T.

    Step t uses fold_in(key, t), once for the observations (dynamic binarisation) and once for the draws.
    """

    def step(state: TrainState, rows_B: Array) -> tuple[TrainState, StepMetrics]:
        key_observe, key_draws = jax.random.split(jax.random.fold_in(key, state.step))
        index_B = index_N[rows_B]
        x_BxD = observe(key_observe, pixels_NxD[rows_B], index_B, observation=system.observe)
        return train_step(state, Batch(x_BxD, rows_B, index_B), key_draws, system=system)

    return jax.lax.scan(step, state, rows_TxB)


train_chunk = jax.jit(_chunk, static_argnames="system", donate_argnames="state")


@partial(jax.jit, static_argnames="system", donate_argnames="states")
def train_chunk_together(
    states: TrainState, rows_RxTxB: Array, pixels_NxD: Array, index_N: Array, keys_R: Key, *, system: System
) -> tuple[TrainState, StepMetrics]:
    """`train_chunk` of R runs as one program: a leading R on the states, rows, keys and metrics."""
    run = partial(_chunk, system=system)
    return jax.vmap(run, (0, 0, None, None, 0))(states, rows_RxTxB, pixels_NxD, index_N, keys_R)


class Progress(NamedTuple):
    """What training yields after each chunk: the state and the chunk's metrics, `[T]` each, on the host.

    skipped: a line for each step that was left out, as its bound or gradient was not finite.
    failed: the line of the step at which a run of several came to its end, from then on.
    """

    state: TrainState
    metrics: StepMetrics
    skipped: tuple[str, ...] = ()
    failed: str = ""


def fit(
    state: TrainState,
    pixels_NxD: np.ndarray,
    index_N: np.ndarray,
    key: Key,
    *,
    system: System,
    order_seed: int,
    num_steps: int,
    batch_size: int,
    chunk_size: int,
    max_skipped: int = 0,
) -> Iterator[Progress]:
    """Trains from `state.step` to `num_steps`, yielding after each chunk of `chunk_size` steps.

    The batches are a function of (order_seed, step) and the draws of (key, step), so a run that goes on
    from a yielded state is the run that was never interrupted, bit for bit. The yielded state's buffers
    are given to the next chunk: take what is needed of it before asking for the next. The state passed
    in stays whole.

    Raises NonFiniteError, naming the step and the datapoint, where more than max_skipped steps in a row
    have a bound or a gradient that is not finite. To go on past such a step, the system's optimizer must
    leave it out, as optax.apply_if_finite(optimizer, max_skipped) does.
    """
    pixels_NxD, index_N = jnp.asarray(pixels_NxD), jnp.asarray(index_N)
    state, watch = jax.tree.map(jnp.copy, state), _Watch(state, max_skipped)
    for start, length in _lengths(int(state.step), num_steps, chunk_size):
        rows_TxB = batch_indices(
            order_seed, start, length, batch_size=batch_size, num_points=pixels_NxD.shape[0]
        )
        state, metrics = train_chunk(state, rows_TxB, pixels_NxD, index_N, key, system=system)
        metrics = jax.device_get(metrics)
        skipped, failed = watch.see(start, metrics)
        if failed:
            raise NonFiniteError(failed)
        yield Progress(state, metrics, skipped)


def fit_together(
    states: Sequence[TrainState],
    pixels_NxD: np.ndarray,
    index_N: np.ndarray,
    keys: Sequence[Key],
    *,
    system: System,
    order_seeds: Sequence[int],
    num_steps: int,
    batch_size: int,
    chunk_size: int,
    max_skipped: int = 0,
) -> Iterator[tuple[Progress, ...]]:
    """`fit` of several runs at the same step as one program, with a Progress for each after each chunk.

    Each run is that of `fit` but for the rounding of another program. One that meets a value that is not
    finite is marked as failed, and what is yielded of it from then on is of no value; the others go on.
    """
    pixels_NxD, index_N = jnp.asarray(pixels_NxD), jnp.asarray(index_N)
    watches = [_Watch(state, max_skipped) for state in states]
    stacked, keys_R = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states), jnp.stack(keys)
    for start, length in _lengths(int(states[0].step), num_steps, chunk_size):
        rows_RxTxB = np.stack(
            [
                batch_indices(seed, start, length, batch_size=batch_size, num_points=pixels_NxD.shape[0])
                for seed in order_seeds
            ]
        )
        stacked, metrics = train_chunk_together(
            stacked, rows_RxTxB, pixels_NxD, index_N, keys_R, system=system
        )
        metrics = jax.device_get(metrics)
        chunk = []
        for number, watch in enumerate(watches):
            state, own = jax.tree.map(lambda a, number=number: a[number], (stacked, metrics))
            chunk.append(Progress(state, own, *watch.see(start, own)))
        yield tuple(chunk)


def _lengths(start: int, num_steps: int, chunk_size: int) -> Iterator[tuple[int, int]]:
    """(first step, number of steps) of each chunk; chunks end at multiples of chunk_size."""
    while start < num_steps:
        length = min(chunk_size - start % chunk_size, num_steps - start)
        yield start, length
        start += length


class _Watch:
    """Counts the steps in a row that were left out; a run that goes on counts on from where it was."""

    def __init__(self, state: TrainState, max_skipped: int):
        self._max_skipped, self._failed = max_skipped, ""
        self._in_a_row = int(optax.tree.get(state.opt_state, "notfinite_count", default=0))

    def see(self, start: int, metrics: StepMetrics) -> tuple[tuple[str, ...], str]:
        """(a line for each step of the chunk that was left out, that of the one that was one too many)."""
        skipped = []
        for t, finite in enumerate(np.isfinite(metrics.bound) & np.isfinite(metrics.grad_norm)):
            self._in_a_row = 0 if finite else self._in_a_row + 1
            if finite:
                continue
            skipped.append(_describe(start + t + 1, jax.tree.map(lambda a, t=t: a[t], metrics)))
            if self._in_a_row > self._max_skipped and not self._failed:
                self._failed = f"training met a value that is not finite at {skipped[-1]}"
        return tuple(skipped), self._failed


def _describe(step: int, metrics: StepMetrics) -> str:
    where = f", first at the datapoint of index {metrics.bad_index}" if metrics.bad_index >= 0 else ""
    return f"step {step}: bound={metrics.bound}, gradient norm={metrics.grad_norm}{where}"


def evaluator(
    system: System, *, num_samples: int, chunk_size: int
) -> Callable[[Params, Params, np.ndarray, np.ndarray, Key], tuple[float, float]]:
    """evaluate(theta, psi, x_NxD, index_N, key) -> (mean, standard error over datapoints) of L[q(x)].

    Every row given takes part; a datapoint's draws are the same at each call, so that two evaluations differ
    by their parameters alone. Compiled at the first call.
    """

    def bound(shared, row):
        (theta, psi, key), (x_D, index) = shared, row
        log_joint, key = bind(system.model, theta, x_D), jax.random.fold_in(key, index)
        phi_P = system.regime.recognise(theta, psi, x_D, jax.random.fold_in(key, REFINE))
        return estimate_elbo(
            log_joint, system.family, phi_P, key, num_samples=num_samples, chunk_size=num_samples
        ).value

    def evaluate(theta, psi, x_NxD, index_N, key):
        elbo_N = map_datapoints(bound, (theta, psi, key), (x_NxD, index_N), chunk_size=chunk_size)
        return float(np.mean(elbo_N)), float(np.std(elbo_N, ddof=1) / math.sqrt(elbo_N.size))

    return evaluate
