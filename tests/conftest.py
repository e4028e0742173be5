"""Settings for every test: eight CPU devices, and the checks of JAX that find silent mistakes.

The suite's time is mostly compilation of programs that run once, so LLVM's own optimisation is left out, and,
where that can be, XLA's emitters of fused operations, which take the most of what is left: the operations are
the same, the code made of them slower.
"""

import gc
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

os.environ["XLA_FLAGS"] = " ".join(
    (
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        "--xla_backend_optimization_level=0",
        # A flag that XLA lacks ends the process: from jaxlib 0.11.1 on its emitters are always used.
        *(
            ["--xla_cpu_use_fusion_emitters=false"]
            if tuple(map(int, version("jaxlib").split(".")[:3])) < (0, 11, 1)
            else []
        ),
    )
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Many tests build the same programs anew; each is compiled once for all workers of this session, which
# inherit the folder of the process that starts them.
if "VAELAB_TEST_CACHE" not in os.environ:
    _cache = tempfile.TemporaryDirectory(prefix="vaelab-test-cache-")
    os.environ["VAELAB_TEST_CACHE"] = _cache.name

import jax
import pytest

from vaelab.config import defaults
from vaelab.runtime.memory import release_programs

# Tracing makes many small objects that live, and the collector's looks through all of them took a twelfth.
gc.set_threshold(100_000, 50, 50)
gc.freeze()

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", os.environ["VAELAB_TEST_CACHE"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.02)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(autouse=True, scope="module")
def programs():
    """Many hundred programs in one process take all memory maps that it may have."""
    yield
    release_programs()


SEARCH = defaults.modes


def _no_search(**changes):
    return SEARCH(**(changes | {"num_starts": 0}))


# The search for other modes is five programs more for each model: it is made in tests marked `modes` alone,
# and by the commands that tests start as processes of their own.
defaults.modes = _no_search


EVALUATE = defaults.evaluate


def _no_split():
    config = EVALUATE()
    config.diagnostics.split_points = 0
    return config


# So is the split of the amortization gap a program more for each family: where a test's settings ask for it,
# and by commands of their own.
defaults.evaluate = _no_split


@pytest.fixture(autouse=True)
def other_modes(request, monkeypatch):
    if "modes" in request.keywords:
        monkeypatch.setattr(defaults, "modes", SEARCH)


SLOW = Path(__file__).with_name("slow.txt")


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(config, items):
    """What is listed is slow."""
    listed = {line for line in SLOW.read_text().splitlines() if not line.startswith("#")}
    for item in items:
        if item.nodeid in listed:
            item.add_marker("slow")
    files = {item.nodeid.partition("::")[0] for item in items}
    whole = not any("::" in argument for argument in config.args) and not config.option.keyword
    gone = sorted(
        line for line in listed - {i.nodeid for i in items} if whole and line.partition("::")[0] in files
    )
    if gone:
        raise pytest.UsageError(f"{SLOW.name} names no test: {gone[0]}")
