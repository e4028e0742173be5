"""Training data that are read portion by portion are the same data."""

import jax
import numpy as np
import pytest

from tests.support.training import whatever_the_numbers
from tests.training.test_loop import INDEX, assert_same_bits, pixels, system  # noqa: F401
from vaelab.data.rows import Rows, rows_of
from vaelab.training import batches
from vaelab.training import step as train
from vaelab.training.loop import Start, bytes_per_run, fit


def fitted(system, x_NxD, num_runs):  # noqa: F811
    starts = [
        Start(train.init_state(system, jax.random.key(run)), jax.random.key(run), run)
        for run in range(num_runs)
    ]
    sizes = {"num_steps": 14, "batch_size": 8, "chunk_size": 7}
    chunks = fit(starts, x_NxD, INDEX, system_of=whatever_the_numbers(system), **sizes)
    return [[jax.device_get((run.state, run.metrics)) for run in chunk] for chunk in chunks]


@pytest.mark.parametrize("num_runs", [1, 2])
def test_portions_of_the_steps_are_the_steps(num_runs, system, pixels, monkeypatch):  # noqa: F811
    rows = rows_of(pixels, lambda part: part, size=pixels.shape[1], dtype=np.uint8)
    whole = fitted(system, pixels, num_runs)
    monkeypatch.setattr(batches, "PORTION_BYTES", 3 * num_runs * 8 * pixels.shape[1])
    assert_same_bits(fitted(system, rows, num_runs), whole)


@pytest.mark.parametrize(
    ("length", "most", "sizes"),
    [
        (250, 54, [50] * 5),
        (7, 3, [3, 3, 1]),
        (7, 7, [7]),
        (6, 4, [3, 3]),
        (5, 1, [1] * 5),
        (11, 4, [4, 4, 3]),
    ],
)
def test_portions_are_of_one_length_where_there_is_one(length, most, sizes):
    parts = np.split(np.arange(length), batches._cuts(length, most))
    assert [len(part) for part in parts] == sizes


def test_the_memory_of_a_run_is_known_without_reading_its_data(system, pixels):  # noqa: F811
    def read(rows_M):
        raise AssertionError("it is read")

    state, sizes = train.init_state(system, jax.random.key(0)), {"system": system, "batch_size": 8}
    unread = Rows(read, pixels.shape, np.uint8)
    assert bytes_per_run(state, unread, INDEX, **sizes) == bytes_per_run(state, pixels, INDEX, **sizes)
