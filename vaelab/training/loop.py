"""The loop around the training step: compiled chunks of steps, of one run or of several, and validation."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from vaelab.data.observe import batch_indices, observe
from vaelab.model.latent import bind
from vaelab.objective.draws import estimate_elbo
from vaelab.runtime.devices import local, map_datapoints, on_host, over_runs, place, training_mesh
from vaelab.runtime.memory import peak_bytes
from vaelab.runtime.processes import as_on_first
from vaelab.training.regime import Batch
from vaelab.training.step import REFINE, StepMetrics, System, TrainState, train_step
from vaelab.types import Array, Key, Params


class NonFiniteError(FloatingPointError):
    """Training met a value that is not finite; the message names the step."""


def _chunk(
    state: TrainState,
    rows_TxB: Array,
    pixels_NxD: Array,
    index_N: Array,
    key: Key,
    *,
    system: System,
    on_mesh: bool = False,
) -> tuple[TrainState, StepMetrics]:
    """T steps as one scan over the rows of each batch; metrics have a leading T.

    Step t uses fold_in(key, t), once for the observations (dynamic binarisation) and once for the draws.
    on_mesh: whether this is traced for a mesh, whose devices along `data` share each batch.
    """
    constrain = jax.lax.with_sharding_constraint if on_mesh else lambda tree, _: tree

    def step(state: TrainState, rows_B: Array) -> tuple[TrainState, StepMetrics]:
        key_observe, key_draws = jax.random.split(jax.random.fold_in(key, state.step))
        rows_B = constrain(rows_B, P("data"))
        index_B = index_N[rows_B]
        x_BxD = observe(key_observe, pixels_NxD[rows_B], index_B, observation=system.observe)
        state, metrics = train_step(state, Batch(x_BxD, rows_B, index_B), key_draws, system=system)
        return constrain(state, P()), metrics

    return jax.lax.scan(step, state, rows_TxB)


@partial(jax.jit, static_argnames=("system", "mesh"), donate_argnames="state")
def train_chunk(
    state: TrainState,
    rows_TxB: Array,
    pixels_NxD: Array,
    index_N: Array,
    key: Key,
    *,
    system: System,
    mesh: Mesh | None = None,
) -> tuple[TrainState, StepMetrics]:
    """T steps, of batches of these rows of the data; metrics have a leading T."""
    chunk = partial(_chunk, system=system, on_mesh=mesh is not None)
    return over_runs(chunk, mesh, P(), P())(state, rows_TxB, pixels_NxD, index_N, key)


SystemOf = Callable[[Mapping[str, Array]], System]
"""The system with these numbers in it, by name, traced ones too."""


@partial(jax.jit, static_argnames=("system_of", "mesh"), donate_argnames="states")
def train_chunk_together(
    states: TrainState,
    rows_RxTxB: Array,
    pixels_NxD: Array,
    index_N: Array,
    keys_R: Key,
    numbers_R: dict[str, Array],
    *,
    system_of: SystemOf,
    mesh: Mesh | None = None,
) -> tuple[TrainState, StepMetrics]:
    """`train_chunk` of R runs as one program: a leading R on the states, rows, keys, numbers and metrics."""

    def run(state, rows_TxB, pixels_NxD, index_N, key, numbers):
        system = system_of(numbers)
        return _chunk(state, rows_TxB, pixels_NxD, index_N, key, system=system, on_mesh=mesh is not None)

    together = jax.vmap(run, in_axes=(0, 0, None, None, 0, 0))
    specs = (P("runs"), P("runs"), P(), P(), P("runs"), P("runs"))
    return over_runs(together, mesh, specs, P("runs"))(
        states, rows_RxTxB, pixels_NxD, index_N, keys_R, numbers_R
    )


class Progress(NamedTuple):
    """What training yields after each chunk: the state and the chunk's metrics, `[T]` each, on the host.

    skipped: a line for each step that was left out, as its bound or gradient was not finite.
    failed: the line of the step at which a run of several came to its end, from then on. The state is then
        that before the chunk with this step.
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
    devices: int = 1,
) -> Iterator[Progress]:
    """Trains from `state.step` to `num_steps`, yielding after each chunk of `chunk_size` steps.

    The batches are a function of (order_seed, step) and the draws of (key, step), so a run that goes on
    from a yielded state is the run that was never interrupted, bit for bit. The yielded state's buffers
    are given to the next chunk: take what is needed of it before asking for the next. The state passed
    in stays whole.

    Raises NonFiniteError, naming the step and the datapoint, where more than max_skipped steps in a row
    have a bound or a gradient that is not finite. To go on past such a step, the system's optimizer must
    leave it out, as optax.apply_if_finite(optimizer, max_skipped) does.

    devices: so many at most share each batch; the gradient is that of the whole batch.
    """
    mesh = training_mesh(devices, batch_size)
    if mesh is not None and mesh.shape["data"] == 1:
        mesh = None  # every process trains the same run
    fixed = place((jnp.asarray(pixels_NxD), jnp.asarray(index_N), key), mesh)
    start_step, watch = int(state.step), _Watch(state, max_skipped)
    state = place(jax.tree.map(jnp.copy, state), mesh)
    for start, length in _lengths(start_step, num_steps, chunk_size):
        rows_TxB = batch_indices(order_seed, start, length, batch_size=batch_size, num_points=len(pixels_NxD))
        rows_TxB = place(rows_TxB, mesh, None, "data")
        state, metrics = train_chunk(state, rows_TxB, *fixed, system=system, mesh=mesh)
        own, metrics = as_on_first((state if mesh is None else local(state), on_host(metrics)))
        state = own if mesh is None else state
        skipped, failed = watch.see(start, metrics)
        if failed:
            raise NonFiniteError(failed)
        yield Progress(own, metrics, skipped)


def fit_together(
    states: Sequence[TrainState],
    pixels_NxD: np.ndarray,
    index_N: np.ndarray,
    keys: Sequence[Key],
    numbers: Sequence[Mapping[str, float]],
    *,
    system_of: SystemOf,
    order_seeds: Sequence[int],
    num_steps: int,
    batch_size: int,
    chunk_size: int,
    max_skipped: int = 0,
    devices: int = 1,
) -> Iterator[tuple[Progress, ...]]:
    """`fit` of several runs at the same step as one program, with a Progress for each after each chunk.

    numbers: those of each run, all of the same names; its system is system_of(numbers).

    Each run is that of `fit` but for the rounding of another program. One that meets a value that is not
    finite is marked as failed, and stays as it was before that chunk; the others go on, and once they are
    half of the program's runs in one of their own. Ends early where none is left. The runs are divided over
    the devices, with `devices` of them at most to each batch.
    """
    mesh = training_mesh(devices, batch_size)
    parts = 1 if mesh is None else mesh.shape["runs"]
    data = place((jnp.asarray(pixels_NxD), jnp.asarray(index_N)), mesh)
    watches = [_Watch(state, max_skipped) for state in states]

    def stack(places: list[int]) -> tuple[TrainState, Key, dict[str, Array]]:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(states[run] for run in places))
        numbers_R = {name: jnp.float32([numbers[run][name] for run in places]) for name in numbers[0]}
        return place((stacked, jnp.stack([keys[run] for run in places]), numbers_R), mesh, "runs")

    states, ended = list(states), {}
    places = _places(range(len(states)), parts)
    stacked, keys_R, numbers_R = stack(places)
    for start, length in _lengths(int(states[0].step), num_steps, chunk_size):
        rows = {
            run: batch_indices(
                order_seeds[run], start, length, batch_size=batch_size, num_points=len(pixels_NxD)
            )
            for run in places
        }
        rows_RxTxB = place(np.stack([rows[run] for run in places]), mesh, "runs", None, "data")
        stacked, metrics = train_chunk_together(
            stacked, rows_RxTxB, *data, keys_R, numbers_R, system_of=system_of, mesh=mesh
        )
        metrics, whole = on_host(metrics), stacked if mesh is None else on_host(stacked)
        chunk = dict(ended)
        for run in set(places) - set(ended):
            number = places.index(run)
            state, own = jax.tree.map(lambda a, at=number: a[at], (whole, metrics))
            skipped, failed = watches[run].see(start, own)
            states[run] = states[run] if failed else jax.tree.map(jnp.asarray, state)
            chunk[run] = Progress(states[run], own, skipped, failed)
            if failed:
                ended[run] = chunk[run]
        yield tuple(chunk[run] for run in range(len(states)))
        left = _places([run for run in range(len(states)) if run not in ended], parts)
        if not left:
            return
        if 2 * len(left) <= len(places):
            places = left
            stacked, keys_R, numbers_R = stack(places)


def _places(runs: Sequence[int], parts: int) -> list[int]:
    """The run at each place of the program: as many on each part, the last one repeated for that.

    What becomes of its copies is not looked at.
    """
    if not runs:
        return []
    return [runs[min(place, len(runs) - 1)] for place in range(-(-len(runs) // parts) * parts)]


def bytes_per_run(
    state: TrainState, pixels_NxD: Array, index_N: Array, *, system: System, batch_size: int
) -> int:
    """About what a run takes of `fit_together`, by shapes alone.

    Its state before and after a step, and the most that a step has alive at once; the runs share the data.
    """
    rows_TxB = jax.ShapeDtypeStruct((1, batch_size), jnp.int32)
    chunk = partial(_chunk, system=system)
    step_bytes = peak_bytes(chunk, state, rows_TxB, pixels_NxD, index_N, jax.random.key(0))
    return step_bytes + 2 * sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(state))


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
