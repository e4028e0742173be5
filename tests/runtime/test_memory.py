"""The memory of this machine; that of programs is in test_devices.py."""

import re
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from vaelab.runtime import memory


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="compared with what Linux says")
def test_the_memory_of_this_machine_is_what_the_kernel_says(monkeypatch):
    monkeypatch.setattr(memory, "LIMITS", ())
    total = re.search(r"MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text())
    assert memory.of_machine() == int(total[1]) * 1024


@pytest.mark.parametrize(
    ("content", "limit"), [("max\n", None), ("123456789\n", 123456789), ("9" * 20, None)]
)
def test_a_container_may_take_less_than_the_machine_has(content, limit, tmp_path, monkeypatch):
    whole = memory.of_machine()
    (tmp_path / "memory.max").write_text(content)
    monkeypatch.setattr(memory, "LIMITS", (str(tmp_path / "memory.max"), str(tmp_path / "absent")))
    monkeypatch.setattr("os.sysconf", lambda name: whole if name == "SC_PHYS_PAGES" else 1)
    assert memory.of_machine() == (limit or whole)


def test_the_most_resident_memory_is_that_of_the_kernel_and_only_grows():
    before = memory.most_resident()
    status = Path("/proc/self/status")
    if status.exists():
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024
        assert before == pytest.approx(peak, rel=0.02)
    held = np.ones(60_000_000, np.uint8)
    assert memory.most_resident() >= before
    assert held.sum() == 60_000_000


@pytest.mark.parametrize(("stats", "most"), [([None, None], None), ([{"peak_bytes_in_use": 5}, {}], 5)])
def test_what_devices_count_is_the_most_of_any(stats, most, monkeypatch):
    devices = [SimpleNamespace(memory_stats=lambda one=one: one) for one in stats]
    monkeypatch.setattr("jax.local_devices", lambda: devices)
    assert memory.most_on_a_device() == most


def test_the_type_of_a_shape_is_the_one_that_jax_takes():
    rows = (
        np.zeros((3, 2)),
        np.zeros(3, np.int64),
        np.zeros(3, np.uint8),
        jax.random.split(jax.random.key(0), 3),
    )
    shapes = [memory.shape_of(array, 5, *array.shape[1:]) for array in rows]
    assert [str(shape.dtype) for shape in shapes] == ["float32", "int32", "uint8", "key<fry>"]
    assert [shape.shape for shape in shapes] == [(5, 2), (5,), (5,), (5,)]
    with jax.enable_x64(True):
        assert memory.shape_of(rows[0], 5, 2).dtype == np.float64
