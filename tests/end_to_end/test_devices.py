"""Eight devices, as one: the same results, and each device with rows and runs of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.runs.test_sweep import INDEX, PIXELS, fit_all, make_system
from tests.support.training import fit_alone, whatever_the_numbers
from vaelab.runtime.chunks import map_datapoints, rows_at_a_time
from vaelab.runtime.devices import on_devices, training_mesh
from vaelab.runtime.memory import Memory, bytes_per_row
from vaelab.training import loop as train_loop
from vaelab.training import step as train

X_NxD = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)


@pytest.fixture(params=[2, 8])
def several(request):
    with on_devices(jax.devices()[: request.param]):
        yield request.param


def draw(shared, row):
    key, scale = shared
    x_D, index = row
    noise_D = jax.random.normal(jax.random.fold_in(key, index), x_D.shape)
    return {"x": jnp.tanh(x_D @ jnp.ones((3, 3))) + scale * noise_D, "index": index}


@pytest.mark.parametrize("chunk_size", [1, 5, 11, 100, Memory(2000)])
def test_rows_come_back_whole_and_in_order(several, chunk_size):
    shared, rows = (jax.random.key(0), 0.5), (X_NxD, np.arange(11, dtype=np.int32))
    counts = []
    found = map_datapoints(draw, shared, rows, chunk_size=chunk_size, progress=counts.append)
    with on_devices(jax.devices()[:1]):
        alone = map_datapoints(draw, shared, rows, chunk_size=11)
    np.testing.assert_array_equal(found["index"], np.arange(11))
    np.testing.assert_allclose(found["x"], alone["x"], rtol=1e-6, atol=1e-6)
    assert sum(counts) == 11


def test_each_device_computes_rows_of_its_own(several):
    def where(shared, x_D):
        return jax.lax.axis_index("data") + 0 * shared, x_D

    device, x_NxD = map_datapoints(where, 0, X_NxD, chunk_size=11)
    np.testing.assert_array_equal(x_NxD, X_NxD)
    assert set(device) == set(range(-(-11 // -(-11 // several))))
    np.testing.assert_array_equal(device, np.sort(device))


def test_a_loop_ends_on_each_device_by_itself(several):
    """With one program over all rows, the longest loop would be everybody's, and count for all."""

    def count(_, x):
        return jax.lax.while_loop(lambda n: n < x, lambda n: n + 1, 0)

    lengths = np.arange(16) % 5
    np.testing.assert_array_equal(map_datapoints(count, 0, lengths, chunk_size=16), lengths)


def test_the_memory_is_that_of_each_device(several):
    rows, shared = (np.ones((640, 3), np.float32), np.arange(640, dtype=np.int32)), (jax.random.key(0), 0.5)
    needed = bytes_per_row(draw, shared, rows)
    assert rows_at_a_time(draw, [shared], [rows], Memory(10 * needed)) == several * 10


@pytest.mark.parametrize(
    ("at_most", "batch_size", "shape"),
    [(1, 100, (8, 1)), (8, 100, (2, 4)), (2, 100, (4, 2)), (100, 64, (1, 8)), (8, 7, (8, 1))],
)
def test_devices_that_share_a_batch_divide_it(at_most, batch_size, shape):
    with on_devices(jax.devices()):
        mesh = training_mesh(at_most, batch_size)
    assert (mesh.shape["runs"], mesh.shape["data"]) == shape
    assert mesh.size == 8


def fit_one(system, devices, batch_size=8, **settings):
    *_, last = fit_alone(
        system,
        train.init_state(system, jax.random.key(0)),
        PIXELS,
        INDEX,
        jax.random.key(1),
        num_steps=8,
        batch_size=batch_size,
        chunk_size=4,
        devices=devices,
        **settings,
    )
    return jax.device_get(last)


def close(one, other):
    """Rounding only, over a few steps of Adam."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), one, other)


def test_a_batch_that_devices_share_gives_the_gradient_of_the_whole_batch(several):
    system = make_system()
    shared, alone = fit_one(system, several), fit_one(system, 1)
    # The norm of the gradient, before any clipping: not N times that of one device.
    np.testing.assert_allclose(shared.metrics.grad_norm, alone.metrics.grad_norm, rtol=1e-5)
    np.testing.assert_allclose(shared.metrics.bound, alone.metrics.bound, rtol=1e-6)
    close((shared.state.theta, shared.state.psi), (alone.state.theta, alone.state.psi))


def test_a_batch_is_shared(several):
    """The parts of a gradient are added up; without that each device would compute the whole of it."""
    system = make_system()
    program = train_loop.train_chunk.lower(
        train.init_state(system, jax.random.key(0)),
        np.zeros((2, 8), np.int32),
        PIXELS,
        INDEX,
        jax.random.key(1),
        {},
        system_of=whatever_the_numbers(system),
        mesh=training_mesh(several, 8),
    ).compile()
    assert "all-reduce" in program.as_text()


@pytest.mark.parametrize("num_runs", [1, 3, 8, 11])
def test_runs_are_divided_over_the_devices(several, num_runs):
    system = make_system()
    states = [train.init_state(system, jax.random.key(seed)) for seed in range(num_runs)]
    keys = [jax.random.key(10 + seed) for seed in range(num_runs)]
    found = fit_all((system, states, keys), PIXELS, 8)
    with on_devices(jax.devices()[:1]):
        alone = fit_all((system, states, keys), PIXELS, 8)
    assert len(found) == num_runs
    for one, other in zip(found, alone, strict=True):
        close((one.state.theta, one.state.psi), (other.state.theta, other.state.psi))
        np.testing.assert_allclose(one.metrics.bound, other.metrics.bound, rtol=1e-5)


def test_a_run_that_fails_on_one_device_leaves_the_others(several):
    system = make_system()
    states = [train.init_state(system, jax.random.key(seed)) for seed in range(3)]
    states[1] = states[1]._replace(theta=jax.tree.map(lambda a: a * np.nan, states[1].theta))
    found = fit_all((system, states, [jax.random.key(seed) for seed in range(3)]), PIXELS, 8)
    assert [bool(progress.failed) for progress in found] == [False, True, False]
    assert all(np.isfinite(found[i].metrics.bound).all() for i in (0, 2))
