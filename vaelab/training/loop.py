"""The loop around the training step: compiled chunks of steps of R runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from vaelab.data.observe import batch_indices, observe
from vaelab.data.rows import Examples, Rows
from vaelab.runtime.devices import local, on_host, over_runs, place, take, training_mesh
from vaelab.runtime.memory import peak_bytes, shape_of
from vaelab.runtime.processes import as_on_first
from vaelab.training.batches import Batches, RowsOfBatches, joined
from vaelab.training.regime import Batch
from vaelab.training.skipped import Watch
from vaelab.training.step import StepMetrics, System, TrainState, train_step
from vaelab.types import Array, Key


def _chunk(
    state: TrainState,
    rows_TxB: RowsOfBatches,
    pixels_NxD: Array,
    index_N: Array,
    key: Key,
    *,
    system: System,
    on_mesh: bool = False,
) -> tuple[TrainState, StepMetrics]:
    """T steps as one scan over the rows of each batch; metrics have a leading T.

    rows_TxB: of the training set; in a tuple with where they are in pixels_NxD and index_N, if elsewhere.

    Step t uses fold_in(key, t), once for the observations (dynamic binarisation) and once for the draws.
    on_mesh: whether this is traced for a mesh, whose devices along `data` share each batch.
    """
    constrain = jax.lax.with_sharding_constraint if on_mesh else lambda tree, _: tree

    def step(state: TrainState, rows_B: RowsOfBatches) -> tuple[TrainState, StepMetrics]:
        key_observe, key_draws = jax.random.split(jax.random.fold_in(key, state.step))
        rows_B = constrain(rows_B, P("data"))
        rows_B, at_B = rows_B if isinstance(rows_B, tuple) else (rows_B, rows_B)
        index_B = index_N[at_B]
        x_BxD = observe(key_observe, pixels_NxD[at_B], index_B, observation=system.observe)
        state, metrics = train_step(state, Batch(x_BxD, rows_B, index_B), key_draws, system=system)
        return constrain(state, P()), metrics

    return jax.lax.scan(step, state, rows_TxB)


SystemOf = Callable[[Mapping[str, Array | float]], System]
"""The system with these numbers in it, by name, traced ones too; a `Recipe`, or another hashable callable."""


# At LLVM's own level, not that of `compiler_options`: a rounding grows over the steps. The encoder of dense
# scales of mnist_gap came out 1.8 nats lower at the other.
@partial(jax.jit, static_argnames=("system_of", "constants", "several", "mesh"), donate_argnames="state")
def train_chunk(
    state: TrainState,
    rows_TxB: RowsOfBatches,
    pixels_NxD: Array,
    index_N: Array,
    key: Key,
    numbers: dict[str, Array],
    *,
    system_of: SystemOf,
    constants: tuple[tuple[str, float], ...] = (),
    several: bool = False,
    mesh: Mesh | None = None,
) -> tuple[TrainState, StepMetrics]:
    """T steps, of batches of these rows of the data, see `_chunk`; metrics have a leading T.

    several: state, rows, key, numbers and metrics have a leading R before that, and all runs are one program.
    numbers are arguments of the program; constants, by their names, are compiled into it.
    """

    def run(
        state: TrainState, rows_TxB: RowsOfBatches, pixels_NxD: Array, index_N: Array, key: Key, numbers: Any
    ) -> tuple[TrainState, StepMetrics]:
        system = system_of({**dict(constants), **numbers})
        return _chunk(state, rows_TxB, pixels_NxD, index_N, key, system=system, on_mesh=mesh is not None)

    runs = jax.vmap(run, in_axes=(0, 0, None, None, 0, 0)) if several else run
    each = P("runs") if several else P()
    divided = over_runs(runs, mesh, (each, each, P(), P(), each, each), each)
    return divided(state, rows_TxB, pixels_NxD, index_N, key, numbers)


class Start(NamedTuple):
    """One run of those that are trained together, where it goes on from: they are at the same step.

    key: its draws are a function of (key, step). order_seed: its batches are one of (order_seed, step).
    numbers: those in which the runs may differ, of the same names for all.
    """

    state: TrainState
    key: Key
    order_seed: int
    numbers: Mapping[str, float] = {}


class Progress(NamedTuple):
    """What training yields of a run after each chunk: the state and the chunk's metrics, `[T]`, on the host.

    step: that of the state. skipped: a line for each step that was left out, as its bound or gradient was not
    finite. failed: the line of the step at which the run came to its end, from then on. The state is then
    that before the chunk with this step, where others go on, and else of no use.
    """

    step: int
    state: TrainState
    metrics: StepMetrics
    skipped: tuple[str, ...] = ()
    failed: str = ""


def fit(
    starts: Sequence[Start],
    pixels_NxD: Examples,
    index_N: np.ndarray,
    *,
    system_of: SystemOf,
    num_steps: int,
    batch_size: int,
    chunk_size: int,
    max_skipped: int = 0,
    devices: int = 1,
    finished: Callable[[int], bool] = lambda run: False,
    before: Mapping[int, int] = MappingProxyType({}),
) -> Iterator[tuple[Progress, ...]]:
    """Trains R runs as one program up to num_steps, yielding a Progress of each after each chunk of steps.

    A run that goes on from a yielded state is the run that was never interrupted, bit for bit. A single run
    is a program of its own, with its numbers compiled in; of several each is what it is alone but for the
    rounding of another program. The yielded state's buffers are given to the next chunk: take what is needed
    of it before asking for the next. The states passed in stay whole.

    A run in which more than max_skipped steps in a row have a bound or a gradient that is not finite is
    marked as failed, and stays as it was before that chunk. A run that is finished by its number, which is
    asked after each yield, stays as it was yielded. The others go on, and once they are half of the
    program's runs in one of their own. Ends early where no run goes on. To go on past such a step, the
    system's optimizer must leave it out, as optax.apply_if_finite(optimizer, max_skipped) does.

    before: the steps at which runs, by number, were finished in a training that was interrupted since. They
    take no step, and have their places in the programs of the uninterrupted one, which would round otherwise.

    pixels_NxD: the devices hold an array whole, of `Rows` a portion at a time. devices: as many at most share
    each batch; the gradient is that of the whole batch. The runs are divided over the devices.
    """
    first_step = min(int(start.state.step) for run, start in enumerate(starts) if run not in before)
    mesh = training_mesh(devices, batch_size)
    if len(starts) == 1 and mesh is not None and mesh.shape["data"] == 1:
        mesh = None  # every process trains the same run
    watches = [Watch(start.state, max_skipped) for start in starts]
    batches = Batches(pixels_NxD, index_N, mesh)
    states = [start.state for start in starts]
    no_metrics = StepMetrics(*(np.zeros(0) for _ in StepMetrics._fields))
    ended = {run: Progress(step, states[run], no_metrics) for run, step in before.items()}
    program = _Program(starts, states, range(len(starts)), system_of, mesh)
    for step in sorted(step for step in before.values() if step <= first_step):
        program = program.without([run for run in before if before[run] <= step], states)
    for first, length in _lengths(first_step, num_steps, chunk_size):
        rows = {
            run: batch_indices(
                starts[run].order_seed, first, length, batch_size=batch_size, num_points=len(pixels_NxD)
            )
            for run in dict.fromkeys(program.runs)
        }
        chunk = dict(ended)
        for run, (state, metrics) in program.advance(rows, batches).items():
            if run in ended:
                continue
            skipped, failed = watches[run].see(first, metrics)
            if not failed:
                states[run] = state
            chunk[run] = Progress(first if failed else first + length, states[run], metrics, skipped, failed)
            if failed:
                ended[run] = chunk[run]
        yield tuple(chunk[run] for run in range(len(starts)))
        ended |= {run: chunk[run] for run in range(len(starts)) if run not in ended and finished(run)}
        if len(ended) == len(starts):
            return
        program = program.without([run for run in ended if before.get(run, 0) <= first + length], states)


@jax.jit
def _copied(tree: TrainState) -> TrainState:
    return jax.tree.map(jnp.copy, tree)


class _Program:
    """The runs of one compiled program, with their states on the devices.

    Several are filled up with copies of the last one, as many on each part of the mesh. What becomes of these
    is not looked at.
    """

    def __init__(
        self,
        starts: Sequence[Start],
        states: Sequence[TrainState],
        runs: Sequence[int],
        system_of: SystemOf,
        mesh: Mesh | None,
    ):
        self._starts, self._several = starts, len(starts) > 1
        self._parts = mesh.shape["runs"] if self._several and mesh is not None else 1
        self._mesh, self._system_of = mesh, system_of
        self.runs = self.places(runs)
        axes = ("runs",) if self._several else ()
        numbers: dict[str, Array] = {}
        self._constants = tuple(sorted(starts[0].numbers.items()))
        if self._several:
            names, self._constants = starts[0].numbers, ()
            numbers = {name: jnp.float32([starts[run].numbers[name] for run in self.runs]) for name in names}
            state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(states[run] for run in self.runs))
            key = jnp.stack([starts[run].key for run in self.runs])
        else:
            # The caller's own arrays are not given away.
            state, key = _copied(states[0]), starts[0].key
        self._state, self._key, self._numbers = place((state, key, numbers), mesh, *axes)

    def places(self, runs: Sequence[int]) -> list[int]:
        """The run at each place of a program of these runs."""
        count = -(-len(runs) // self._parts) * self._parts
        return [runs[min(place, len(runs) - 1)] for place in range(count)]

    def without(self, ended: Sequence[int], states: Sequence[TrainState]) -> "_Program":
        """This program, or one of half its size or less of the runs that have not ended, at these states."""
        going_on = [run for run in range(len(self._starts)) if run not in ended]
        if 2 * len(self.places(going_on)) > len(self.runs):
            return self
        return _Program(self._starts, states, going_on, self._system_of, self._mesh)

    def advance(
        self, rows: Mapping[int, np.ndarray], batches: Batches
    ) -> dict[int, tuple[TrainState, StepMetrics]]:
        """(state, metrics) of each run after a chunk of steps on these rows of the data."""
        rows_TxB = np.stack([rows[run] for run in self.runs]) if self._several else rows[self.runs[0]]
        parts = []
        for portion in batches.portions(rows_TxB, ("runs",) if self._several else ()):
            self._state, metrics = train_chunk(
                self._state,
                *portion,
                self._key,
                self._numbers,
                system_of=self._system_of,
                constants=self._constants,
                several=self._several,
                mesh=self._mesh,
            )
            parts.append(metrics)
            jax.block_until_ready(parts[-2:-1])  # no more than one portion waits in memory for its turn
        metrics = joined(parts, axis=int(self._several))
        if not self._several:
            whole = self._state if self._mesh is None else local(self._state)
            state, metrics = as_on_first((whole, on_host(metrics)))
            self._state = state if self._mesh is None else self._state
            return {self.runs[0]: (state, metrics)}
        metrics, whole = on_host(metrics), self._state if self._mesh is None else on_host(self._state)
        results = {}
        for run in dict.fromkeys(self.runs):
            state, of_run = take((whole, metrics), self.runs.index(run))
            results[run] = jax.tree.map(jnp.asarray, state), of_run
        return results


def bytes_per_run(
    state: TrainState, pixels_NxD: Examples, index_N: np.ndarray, *, system: System, batch_size: int
) -> int:
    """Bytes that a run takes of a `fit` of several, about, by shapes alone.

    Its state before and after a step, and the most that a step has alive at once; the runs share the data.
    """
    rows_TxB = jax.ShapeDtypeStruct((1, batch_size), jnp.int32)
    chunk = partial(_chunk, system=system)
    if isinstance(pixels_NxD, Rows):
        pixels_NxD = shape_of(pixels_NxD, batch_size, pixels_NxD.shape[1])
    step_bytes = peak_bytes(chunk, state, rows_TxB, pixels_NxD, index_N, jax.random.key(0))
    return step_bytes + 2 * sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(state))


def _lengths(start: int, num_steps: int, chunk_size: int) -> Iterator[tuple[int, int]]:
    """(first step, number of steps) of each chunk; chunks end at multiples of chunk_size."""
    while start < num_steps:
        length = min(chunk_size - start % chunk_size, num_steps - start)
        yield start, length
        start += length
