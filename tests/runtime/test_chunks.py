"""`map_datapoints` is a map: order, remainder and chunk change nothing."""

import threading
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab.errors import ConfigError
from vaelab.runtime import chunks
from vaelab.runtime.chunks import map_datapoints
from vaelab.runtime.memory import Memory, bytes_per_row, release_programs

X_NxD = np.arange(22.0, dtype=np.float32).reshape(11, 2)
INDEX_N = np.arange(11, dtype=np.int32)


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 4, 10, 11, 12, 1000])
def test_every_row_once_in_order_whatever_the_chunk(chunk_size):
    counts = []

    def affine(shared, row):
        x_D, index = row
        return {"sum": shared * jnp.sum(x_D), "row": (x_D + 1.0, index)}

    rows = (X_NxD, INDEX_N)
    found = map_datapoints(affine, 10.0, rows, chunk_size=chunk_size, progress=counts.append)
    np.testing.assert_array_equal(found["sum"], 10.0 * X_NxD.sum(axis=1))
    np.testing.assert_array_equal(found["row"][0], X_NxD + 1.0)
    np.testing.assert_array_equal(found["row"][1], INDEX_N)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(found))
    # Progress counts datapoints, not the copies that fill up the last chunk.
    assert sum(counts) == 11
    assert set(counts[:-1]) <= {min(chunk_size, 11)}
    assert len(counts) == -(-11 // chunk_size)


def test_draws_belong_to_the_row_and_not_to_its_place():
    def draw(key, index):
        return jax.random.normal(jax.random.fold_in(key, index), (3,))

    key, order = jax.random.key(0), np.random.default_rng(0).permutation(11)
    in_order = map_datapoints(draw, key, INDEX_N, chunk_size=4)
    shuffled = map_datapoints(draw, key, INDEX_N[order], chunk_size=3)
    np.testing.assert_array_equal(shuffled, in_order[order])
    np.testing.assert_array_equal(map_datapoints(draw, key, INDEX_N[5:7], chunk_size=100), in_order[5:7])
    assert len(np.unique(in_order)) == in_order.size


def test_two_chunks_run_at_once_on_a_cpu_and_what_fails_in_either_is_raised(monkeypatch):
    """Each of the first two waits until the other has begun."""
    both, program = threading.Barrier(2, timeout=60), chunks._compiled

    class Waits:
        def __init__(self, result):
            self.result = result

    def compiled(*arguments):
        return lambda shared, rows: Waits(program(*arguments)(shared, rows))

    def on_host(tree):
        both.wait()
        if 2.0 in np.asarray(tree.result):
            raise ValueError("the second chunk")
        return np.asarray(tree.result)

    monkeypatch.setattr(chunks, "_compiled", compiled)
    monkeypatch.setattr(chunks, "on_host", on_host)
    np.testing.assert_array_equal(
        map_datapoints(_half_of, 2.0, INDEX_N[:4], chunk_size=2), INDEX_N[:4] / np.float32(2)
    )
    with pytest.raises(ValueError, match="the second chunk"):
        map_datapoints(_half_of, 2.0, INDEX_N[:6], chunk_size=3)


def test_each_chunk_is_computed_as_the_calling_thread_says(monkeypatch):
    """Precision and device of a `with` around the call."""
    seen = []

    def on_host(array):
        seen.extend(array.devices())
        return np.asarray(array)

    monkeypatch.setattr(chunks, "on_host", on_host)
    rows = np.arange(8, dtype=np.float64)
    with jax.enable_x64(True), jax.default_device(jax.devices()[1]):
        thirds = map_datapoints(_ratio, np.float64(3.0), rows, chunk_size=2)
    assert thirds.dtype == np.float64
    np.testing.assert_allclose(thirds, rows / 3.0, rtol=1e-15)
    assert seen == [jax.devices()[1]] * 4


def _ratio(shared, row):
    return row / shared


def test_a_bad_row_spoils_no_neighbour():
    def logarithm(shared, x_D):
        return jnp.sum(jnp.log(x_D - shared))

    spoilt_NxD = X_NxD + 1.0
    spoilt_NxD[[0, 6, 10]] = [[np.nan, 0.0], [-5.0, 1.0], [0.0, np.inf]]
    good = [i for i in range(11) if i not in (0, 6, 10)]
    clean = map_datapoints(logarithm, 0.0, X_NxD + 1.0, chunk_size=4)
    spoilt = map_datapoints(logarithm, 0.0, spoilt_NxD, chunk_size=4)
    np.testing.assert_array_equal(spoilt[good], clean[good])
    assert np.isnan(spoilt[[0, 6, 10]]).all()


def test_one_function_compiles_once_for_all_its_chunks_and_calls():
    traces = []

    def traced(shared, x_D):
        traces.append(x_D.shape)
        return shared * jnp.sum(x_D)

    map_datapoints(traced, 1.0, X_NxD, chunk_size=4)  # 4 + 4 + 3: the remainder is no new shape
    map_datapoints(traced, 2.0, X_NxD[:9], chunk_size=4)
    assert traces == [(2,)]


def test_everything_measured_has_products_in_float32():
    """On a CPU every precision is the same, so it is asked for where the program is traced."""
    traced = []

    def product(shared, x_D):
        traced.append(jax.config.jax_default_matmul_precision)
        return x_D @ shared

    with jax.default_matmul_precision("bfloat16"):
        map_datapoints(product, jnp.ones((2, 2)), X_NxD, chunk_size=5)
    assert set(traced) == {"highest"}


def test_shared_values_are_arguments_and_not_constants():
    def scale(shared, x_D):
        return shared["a"] * x_D

    for a in (1.0, -3.0):
        found = map_datapoints(scale, {"a": np.float32(a)}, X_NxD, chunk_size=5)
        np.testing.assert_array_equal(found, np.float32(a) * X_NxD)


def network(shared, x_D):
    """Twenty draws through two wide layers, in a loop, and something of a row that is kept."""

    def step(total, t):
        key = jax.random.fold_in(jax.random.key(0), t)
        eps_SxD = x_D[None, :] + jax.random.normal(key, (20, x_D.size))
        gradient = jax.grad(lambda e: jnp.sum(jnp.tanh(jnp.tanh(e @ shared["in"]) @ shared["out"])))(eps_SxD)
        return total + jnp.sum(gradient, axis=0), jnp.sum(gradient)

    return jax.lax.scan(step, x_D, jnp.arange(5))


@pytest.mark.parametrize("width", [100, 800])
def test_memory_is_estimated_to_within_a_few_times_of_what_the_compiler_takes(width):
    shared = {"in": jnp.ones((50, width)), "out": jnp.ones((width, 50))}
    rows_NxD = np.ones((200, 50), np.float32)
    compiled = jax.jit(jax.vmap(network, (None, 0))).lower(shared, rows_NxD).compile()
    taken = compiled.memory_analysis().temp_size_in_bytes / 200
    assert taken / 2 < bytes_per_row(network, shared, rows_NxD) < 6 * taken


def test_programs_are_let_go_of_before_the_kernel_has_no_more_maps(monkeypatch):
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("only Linux counts them there")
    held, read = maps.read_bytes().count(b"\n"), Path.read_text
    cleared = []
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(True))
    for most, is_released in ((3 * held, False), (held, True)):
        monkeypatch.setattr(
            Path, "read_text", lambda path, n=most: str(n) if path.name == "max_map_count" else read(path)
        )
        assert release_programs() is is_released
    assert cleared == [True]


def test_a_function_whose_rows_all_fit_is_traced_once():
    """The estimate of its memory is by the trace of the program that is then run."""
    traced = []

    def square(shared, x):
        traced.append(x)
        return shared * x**2

    rows = np.arange(3.0, dtype=np.float32)
    result = map_datapoints(square, np.float32(2.0), rows, chunk_size=Memory(10**6))
    np.testing.assert_array_equal(result, [0.0, 2.0, 8.0])
    assert len(traced) == 1


def test_a_memory_holds_as_many_rows_as_fit_and_changes_no_result():
    shared = {"in": 0.1 * jnp.ones((50, 64)), "out": 0.1 * jnp.ones((64, 50))}
    rows_NxD = np.random.default_rng(0).normal(size=(30, 50)).astype(np.float32)
    needed, counts = bytes_per_row(network, shared, rows_NxD), []
    found = map_datapoints(
        network, shared, rows_NxD, chunk_size=Memory(9 * needed + 5), progress=counts.append
    )
    assert counts == [8, 8, 8, 6]
    whole = map_datapoints(network, shared, rows_NxD, chunk_size=Memory(2**30))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, whole)
    line = rf"--config.evaluate.memory_bytes=.* takes {needed:,} bytes; set that"
    with pytest.raises(ConfigError, match=line):
        map_datapoints(network, shared, rows_NxD, chunk_size=Memory(needed - 1))


@pytest.mark.parametrize(
    ("most", "says"), [(3, "with 2 datapoints"), (1, "with 1 datapoints"), (0, None), (100, None)]
)
def test_out_of_memory_is_gone_on_from_with_half_of_the_datapoints(most, says, monkeypatch, caplog):
    """A device that has room for `most` rows: 11 of them as 5, 2 and 1 at a time, until they fit."""
    program = chunks._compiled

    def compiled(*arguments):
        def call(shared, rows):
            if len(rows) > most:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.")
            return program(*arguments)(shared, rows)

        return call

    monkeypatch.setattr(chunks, "_compiled", compiled)
    counts = []
    call = partial(map_datapoints, _half_of, 2.0, INDEX_N, chunk_size=11, progress=counts.append)
    if not most:
        with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
            call()
        return
    np.testing.assert_array_equal(call(), INDEX_N / 2.0)
    assert sum(counts) == 11
    said = [record.getMessage() for record in caplog.records]
    assert (says in said[-1]) if says else not said


def test_what_two_chunks_have_no_room_for_at_once_one_may_have(monkeypatch, caplog):
    """Of single rows too, which cannot be halved."""
    program, alone = chunks._compiled, []

    def compiled(*arguments):
        def call(shared, rows):
            if threading.current_thread() is not threading.main_thread():
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.")
            alone.append(len(rows))
            return program(*arguments)(shared, rows)

        return call

    monkeypatch.setattr(chunks, "_compiled", compiled)
    np.testing.assert_array_equal(
        map_datapoints(_half_of, 2.0, INDEX_N, chunk_size=1), INDEX_N / np.float32(2)
    )
    assert alone == [1] * 11
    assert not caplog.records


def test_another_error_of_a_device_is_not_taken_for_a_want_of_memory(monkeypatch):
    def compiled(*arguments):
        def call(shared, rows):
            raise jax.errors.JaxRuntimeError("INTERNAL: something else")

        return call

    monkeypatch.setattr(chunks, "_compiled", compiled)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        map_datapoints(_half_of, 2.0, INDEX_N, chunk_size=11)


def _half_of(shared, index):
    return index / shared
