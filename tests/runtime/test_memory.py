"""The memory of this machine; that of programs is in test_devices.py."""

import re
from pathlib import Path

import pytest

from vaelab.runtime import memory


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="compared with what Linux says")
def test_the_memory_of_this_machine_is_what_the_kernel_says():
    total = re.search(r"MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text())
    assert memory.of_machine() == int(total[1]) * 1024
