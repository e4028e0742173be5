"""Training: one step, a compiled chunk of steps, and the host loop around it."""

import math
from collections.abc import Callable, Iterator
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
from vaelab.types import Array, Encoder, Key, LatentModel, Objective, Params, PosteriorFamily


class System(NamedTuple):
    """What is trained and how; fixed during a run.

    observe(key, pixels_D) -> x_D: the observation made of one stored example.
    learn_model: whether theta is trained with psi, or held fixed.
    kl_weight(step) -> []: where given, the `beta` that the objective takes at each step.
    """

    model: LatentModel
    encoder: Encoder
    family: PosteriorFamily
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
    return {"theta": theta, "psi": psi} if system.learn_model else {"psi": psi}


def init_state(system: System, key: Key, theta: Params | None = None) -> TrainState:
    """The state before the first step; `theta` replaces the model's own initial parameters."""
    key_theta, key_psi = jax.random.split(key)
    theta = system.model.init(key_theta) if theta is None else theta
    psi = system.encoder.init(key_psi)
    return TrainState(jnp.int32(0), theta, psi, system.optimizer.init(_trainable(system, theta, psi)))


def train_step(
    state: TrainState, x_BxD: Array, index_B: Array, key: Key, *, system: System
) -> tuple[TrainState, StepMetrics]:
    """One ascent step of the mean objective over a batch.

    Each datapoint's draws come from fold_in(key, its index), so they do not depend on the batch around it.
    """

    objective = system.objective
    if system.kl_weight is not None:
        objective = partial(objective, beta=system.kl_weight(state.step))

    def loss(trainable: dict[str, Params]) -> tuple[Array, Array]:
        theta = trainable.get("theta", state.theta)

        def bound(x_D: Array, index: Array) -> Array:
            phi_P = system.encoder.apply(trainable["psi"], x_D)
            log_joint = bind(system.model, theta, x_D)
            return objective(log_joint, system.family, phi_P, jax.random.fold_in(key, index))

        bound_B = jax.vmap(bound)(x_BxD, index_B)
        return -jnp.mean(bound_B), bound_B

    trainable = _trainable(system, state.theta, state.psi)
    (value, bound_B), grads = jax.value_and_grad(loss, has_aux=True)(trainable)
    finite_B, grad_norm = jnp.isfinite(bound_B), optax.tree.norm(grads)
    # A bound or norm that is not finite may have finite gradients, which no optimizer would then leave out.
    finite = jnp.all(finite_B) & jnp.isfinite(grad_norm)
    grads = jax.tree.map(lambda g: jnp.where(finite, g, jnp.nan), grads)
    bad_index = jnp.where(jnp.all(finite_B), -1, index_B[jnp.argmin(finite_B)])
    updates, opt_state = system.optimizer.update(grads, state.opt_state, trainable)
    trainable = optax.apply_updates(trainable, updates)
    state = TrainState(state.step + 1, trainable.get("theta", state.theta), trainable["psi"], opt_state)
    return state, StepMetrics(-value, grad_norm, bad_index)


@partial(jax.jit, static_argnames="system", donate_argnames="state")
def train_chunk(
    state: TrainState, rows_TxB: Array, pixels_NxD: Array, index_N: Array, key: Key, *, system: System
) -> tuple[TrainState, StepMetrics]:
    """T steps as one compiled scan over the rows of each batch; metrics have a leading T.

    Step t uses fold_in(key, t), once for the observations (dynamic binarisation) and once for the draws.
    """

    def step(state: TrainState, rows_B: Array) -> tuple[TrainState, StepMetrics]:
        key_observe, key_draws = jax.random.split(jax.random.fold_in(key, state.step))
        index_B = index_N[rows_B]
        x_BxD = observe(key_observe, pixels_NxD[rows_B], index_B, observation=system.observe)
        return train_step(state, x_BxD, index_B, key_draws, system=system)

    return jax.lax.scan(step, state, rows_TxB)


class Progress(NamedTuple):
    """What `fit` yields after each chunk: the state and the chunk's metrics, `[T]` each, on the host.

    skipped: a line for each step that was left out, as its bound or gradient was not finite.
    """

    state: TrainState
    metrics: StepMetrics
    skipped: tuple[str, ...] = ()


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
    state, start = jax.tree.map(jnp.copy, state), int(state.step)
    # A run that goes on counts on from where optax.apply_if_finite was.
    in_a_row = int(optax.tree.get(state.opt_state, "notfinite_count", default=0))
    while start < num_steps:
        # Chunks end at multiples of chunk_size, wherever a run began.
        length = min(chunk_size - start % chunk_size, num_steps - start)
        rows_TxB = batch_indices(
            order_seed, start, length, batch_size=batch_size, num_points=pixels_NxD.shape[0]
        )
        state, metrics = train_chunk(state, rows_TxB, pixels_NxD, index_N, key, system=system)
        metrics = jax.device_get(metrics)
        finite_T = np.isfinite(metrics.bound) & np.isfinite(metrics.grad_norm)
        skipped = []
        for t, finite in enumerate(finite_T):
            in_a_row = 0 if finite else in_a_row + 1
            if finite:
                continue
            skipped.append(_describe(start + t + 1, jax.tree.map(lambda a, t=t: a[t], metrics)))
            if in_a_row > max_skipped:
                raise NonFiniteError(f"training met a value that is not finite at {skipped[-1]}")
        yield Progress(state, metrics, tuple(skipped))
        start += length


def _describe(step: int, metrics: StepMetrics) -> str:
    where = f", first at the datapoint of index {metrics.bad_index}" if metrics.bad_index >= 0 else ""
    return f"step {step}: bound={metrics.bound}, gradient norm={metrics.grad_norm}{where}"


def evaluator(
    system: System, *, num_samples: int, chunk_size: int
) -> Callable[[Params, Params, np.ndarray, np.ndarray, Key], tuple[float, float]]:
    """evaluate(theta, psi, x_NxD, index_N, key) -> (mean, standard error over datapoints) of L[q_psi(x)].

    Every row given takes part; a datapoint's draws are the same at each call, so that two evaluations differ
    by their parameters alone. Compiled at the first call.
    """

    def bound(shared, row):
        (theta, psi, key), (x_D, index) = shared, row
        log_joint, phi_P = bind(system.model, theta, x_D), system.encoder.apply(psi, x_D)
        key = jax.random.fold_in(key, index)
        return estimate_elbo(
            log_joint, system.family, phi_P, key, num_samples=num_samples, chunk_size=num_samples
        ).value

    def evaluate(theta, psi, x_NxD, index_N, key):
        elbo_N = map_datapoints(bound, (theta, psi, key), (x_NxD, index_N), chunk_size=chunk_size)
        return float(np.mean(elbo_N)), float(np.std(elbo_N, ddof=1) / math.sqrt(elbo_N.size))

    return evaluate
