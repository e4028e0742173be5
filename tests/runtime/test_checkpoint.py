"""Saving and resuming: every bit comes back, and damage of any kind is found and survived."""

import contextlib
import logging
import os
import resource
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import absl.logging
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from vaelab.runtime.checkpoint import Checkpointer, CheckpointError


class State(NamedTuple):
    step: jax.Array
    params: Any
    opt_state: optax.OptState
    key: jax.Array
    other: Any


def state_at(step: int) -> State:
    """A state whose every leaf depends on `step`, with odd sizes that leave later leaves unaligned."""
    key = jax.random.key(step)
    params = {"w": jax.random.normal(key, (40, 25)), "b/c": jnp.full((3,), step, jnp.bfloat16)}
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
    opt_state = optimizer.update(params, optimizer.init(params), params)[1]
    other = (jnp.array([step % 2 == 0]), jnp.zeros((0, 3)), (), None, jnp.array([jnp.nan, -0.0, step]))
    return State(jnp.int32(step), params, opt_state, key, other)


def shapes_of(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)


TEMPLATE = shapes_of(state_at(0))


def bits(leaf: jax.Array) -> bytes:
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf).tobytes()


def assert_identical(first: Any, second: Any) -> None:
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert (a.dtype, a.shape, bits(a)) == (b.dtype, b.shape, bits(b))


def save_steps(directory: Path, *steps: int, max_to_keep: int = 2) -> None:
    with Checkpointer(directory, max_to_keep=max_to_keep) as checkpointer:
        for step in steps:
            checkpointer.save(step, state_at(step))


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Steps 2 and 3, written once; tests that do harm work on a copy."""
    directory = tmp_path_factory.mktemp("checkpoints")
    save_steps(directory, 2, 3)
    return directory


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "run")


@contextlib.contextmanager
def files_no_larger_than(num_bytes: int):
    """What a full disk looks like from inside; unlike permissions it holds for root as well."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# What is restored


@pytest.mark.parametrize("make_template", [lambda state: state, shapes_of], ids=["arrays", "shapes"])
def test_every_bit_and_type_comes_back(saved, make_template):
    state = state_at(3)
    with Checkpointer(saved, max_to_keep=2) as checkpointer:
        step, restored = checkpointer.restore_latest(make_template(state))
    assert step == 3
    assert_identical(restored, state)
    assert isinstance(restored, State)
    np.testing.assert_array_equal(  # a usable key, not its numbers alone
        jax.random.normal(restored.key, (2,)), jax.random.normal(state.key, (2,))
    )


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_keys_of_every_kind_come_back(tmp_path, impl):
    keys = jax.random.split(jax.random.key(5, impl=impl), 3)
    with Checkpointer(tmp_path, max_to_keep=2) as checkpointer:
        checkpointer.save(1, keys)
        _, restored = checkpointer.restore_latest(shapes_of(keys))
    assert jax.random.key_impl(restored) == impl
    assert_identical(restored, keys)


def test_leaves_are_matched_by_name_and_not_by_position(tmp_path):
    class Forward(NamedTuple):
        first: jax.Array
        second: jax.Array

    class Backward(NamedTuple):
        second: jax.Array
        first: jax.Array

    with Checkpointer(tmp_path, max_to_keep=2) as checkpointer:
        checkpointer.save(1, Forward(first=jnp.float32(1), second=jnp.float32(2)))
        _, restored = checkpointer.restore_latest(Backward(first=jnp.float32(0), second=jnp.float32(0)))
    assert (float(restored.first), float(restored.second)) == (1.0, 2.0)


def test_a_donated_buffer_does_not_change_what_was_saved(tmp_path):
    advance = jax.jit(lambda x: x + 1, donate_argnums=0)
    x = advance(jnp.zeros((500, 500)))
    with Checkpointer(tmp_path, max_to_keep=2) as checkpointer:
        checkpointer.save(1, x)
        for _ in range(5):
            x = advance(x)
        _, restored = checkpointer.restore_latest(x)
    np.testing.assert_array_equal(restored, np.ones((500, 500)))


def test_a_restored_state_runs_the_program_already_compiled(tmp_path):
    num_traces = 0

    @partial(jax.jit, donate_argnums=0)
    def advance(state):
        nonlocal num_traces
        num_traces += 1
        return {"x": state["x"] * 2, "key": jax.random.fold_in(state["key"], 1)}

    state = advance(advance({"x": jnp.ones((300, 300)), "key": jax.random.key(0)}))
    with Checkpointer(tmp_path, max_to_keep=2) as checkpointer:
        checkpointer.save(2, state)
        _, restored = checkpointer.restore_latest(state)
    assert_identical(advance(restored), advance(state))
    assert num_traces == 1


def test_placement_follows_the_template(tmp_path):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharded = NamedSharding(mesh, PartitionSpec("data"))
    state = {"x": jnp.arange(16.0), "keys": jax.random.split(jax.random.key(0), 8)}
    with Checkpointer(tmp_path, max_to_keep=2) as checkpointer:
        checkpointer.save(1, state)
        _, spread = checkpointer.restore_latest(jax.device_put(state, sharded))
        checkpointer.save(2, spread)
        _, gathered = checkpointer.restore_latest(state)
    for leaf in spread.values():
        assert leaf.sharding.is_equivalent_to(sharded, leaf.ndim)
    assert_identical(spread, state)
    assert_identical(gathered, state)
    # Not pinned to the first device, so it may meet an array on all eight.
    np.testing.assert_array_equal(gathered["x"] + spread["x"], 2 * np.arange(16.0))


def test_the_last_steps_are_kept(tmp_path):
    save_steps(tmp_path, *range(1, 6), max_to_keep=3)
    assert names(tmp_path) == {"3", "4", "5"}


def test_orbax_reports_no_progress(tmp_path, caplog):
    verbosity = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.INFO)
    try:
        with caplog.at_level(logging.INFO):
            save_steps(tmp_path, 1)
            absl.logging.info("the application's own line")
    finally:
        absl.logging.set_verbosity(verbosity)
    assert [r.getMessage() for r in caplog.records if r.name == "absl"] == ["the application's own line"]


# Damage


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def largest_file(directory: Path) -> Path:
    return max((p for p in directory.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


FILES_THAT_ARE_READ = {
    "array": lambda step: largest_file(step / "state" / "ocdbt.process_0"),
    "index": lambda step: largest_file(step / "state" / "d"),
    "database": lambda step: step / "state" / "manifest.ocdbt",
    "tree": lambda step: step / "state" / "_METADATA",
    "manifest": lambda step: step / "manifest" / "metadata",
}


@pytest.mark.parametrize("find", FILES_THAT_ARE_READ.values(), ids=FILES_THAT_ARE_READ.keys())
@pytest.mark.parametrize("harm", [truncate, flip_a_bit, Path.unlink])
def test_a_damaged_file_is_found_and_the_step_before_is_used(copied, find, harm):
    harm(find(copied / "3"))
    warnings = []
    with Checkpointer(copied, max_to_keep=2, warn=warnings.append) as checkpointer:
        step, restored = checkpointer.restore_latest(TEMPLATE)
    assert step == 2
    assert_identical(restored, state_at(2))
    assert len(warnings) == 1
    assert "checkpoint 3" in warnings[0]
    assert "damaged-3-1" in warnings[0]
    assert "\n" not in warnings[0]


def test_no_flipped_bit_anywhere_gives_another_state(saved, tmp_path):
    files = [path.relative_to(saved) for path in sorted((saved / "3").rglob("*")) if path.is_file()]
    random = np.random.default_rng(0)
    for index, file in enumerate(files * 3):
        run = shutil.copytree(saved, tmp_path / str(index))
        content = bytearray((run / file).read_bytes())
        content[random.integers(len(content))] ^= 1 << random.integers(8)
        (run / file).write_bytes(content)
        with Checkpointer(run, max_to_keep=2, warn=lambda line: None) as checkpointer:
            step, restored = checkpointer.restore_latest(TEMPLATE)
        assert_identical(restored, state_at(step))


@pytest.mark.parametrize("lost", ["state", "manifest", "."])
def test_a_lost_folder_is_found(copied, lost):
    shutil.rmtree(copied / "3" / lost)
    (copied / "3").mkdir(exist_ok=True)
    with Checkpointer(copied, max_to_keep=2, warn=lambda line: None) as checkpointer:
        assert checkpointer.restore_latest(TEMPLATE)[0] == 2


def test_the_damaged_step_can_be_saved_again_and_nothing_is_lost(copied, capfd):
    for _ in range(2):
        flip_a_bit(largest_file(copied / "3"))
        with Checkpointer(copied, max_to_keep=2) as checkpointer:
            assert checkpointer.restore_latest(TEMPLATE)[0] == 2
            checkpointer.save(3, state_at(3))
    with Checkpointer(copied, max_to_keep=2) as checkpointer:
        step, restored = checkpointer.restore_latest(TEMPLATE)
    assert step == 3
    assert_identical(restored, state_at(3))
    assert names(copied) == {"2", "3", "damaged-3-1", "damaged-3-2"}
    assert capfd.readouterr().err.count("\n") == 2  # one line each from the default `warn`, none from Orbax


def test_every_step_damaged_is_an_error_and_changes_nothing(copied):
    for step in ("2", "3"):
        truncate(largest_file(copied / step))
    for _ in range(2):
        with (
            Checkpointer(copied, max_to_keep=2, warn=pytest.fail) as checkpointer,
            pytest.raises(CheckpointError, match=f"every checkpoint in {copied} .*start again") as raised,
        ):
            checkpointer.restore_latest(TEMPLATE)
        assert "\n" not in str(raised.value)
        assert names(copied) == {"2", "3"}


def test_a_run_with_nothing_but_damaged_steps_does_not_start_again(copied):
    (copied / "3").rename(copied / "damaged-3-1")
    shutil.rmtree(copied / "2")
    with Checkpointer(copied, max_to_keep=2) as checkpointer, pytest.raises(CheckpointError, match="damaged"):
        checkpointer.restore_latest(TEMPLATE)


# A template that does not fit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": jnp.float32(0)}, r"\.step is int32\[\] there and float32\[\] here"),
        ({"params": {"w": jnp.zeros((25, 40))}}, r"\.params\['w'\] is float32\[40, 25\] there and .*25, 40"),
        ({"opt_state": (jnp.zeros(2),)}, r"\.opt_state\[0\] is absent there and float32\[2\] here"),
        ({"opt_state": ()}, r"\.opt_state.* is .* there and absent here"),
        ({"key": jax.random.key(0, impl="rbg")}, r"\.key is key<fry>\[\] there and key<rbg>\[\] here"),
        ({"key": jnp.zeros(2, jnp.uint32)}, r"\.key is key<fry>\[\] there and uint32\[2\] here"),
    ],
    ids=["dtype", "shape", "another leaf", "missing leaves", "kind of key", "key or numbers"],
)
def test_a_template_that_does_not_fit_is_an_error_and_moves_nothing(saved, change, message):
    with Checkpointer(saved, max_to_keep=2, warn=pytest.fail) as checkpointer:
        with pytest.raises(CheckpointError, match=message) as raised:
            checkpointer.restore_latest(TEMPLATE._replace(**change))
        assert "\n" not in str(raised.value)
        assert checkpointer.restore_latest(TEMPLATE)[0] == 3
    assert names(saved) == {"2", "3"}


def test_nothing_moves_when_the_step_to_fall_back_on_does_not_fit(copied):
    truncate(largest_file(copied / "3"))
    with Checkpointer(copied, max_to_keep=2, warn=pytest.fail) as checkpointer:
        with pytest.raises(CheckpointError, match=r"step 2 .* \.step is"):
            checkpointer.restore_latest(TEMPLATE._replace(step=jnp.zeros(2)))
        assert names(copied) == {"2", "3"}


# Saves that fail


def test_no_complete_step_is_a_clean_start(saved, tmp_path):
    shutil.copytree(saved / "3", tmp_path / "3.orbax-checkpoint-tmp")
    (tmp_path / "3.orbax-checkpoint-tmp" / "manifest").rename(
        tmp_path / "3.orbax-checkpoint-tmp" / "manifest.orbax-checkpoint-tmp"
    )
    with Checkpointer(tmp_path, max_to_keep=2, warn=pytest.fail) as checkpointer:
        assert checkpointer.restore_latest(TEMPLATE) is None
        checkpointer.save(3, state_at(3))
    with Checkpointer(tmp_path, max_to_keep=2) as checkpointer:
        assert_identical(checkpointer.restore_latest(TEMPLATE)[1], state_at(3))


@pytest.mark.parametrize("surface", ["save", "restore_latest", "close", "end of with"])
def test_a_failed_background_write_surfaces_and_the_last_step_stays(copied, surface, caplog):
    checkpointer = Checkpointer(copied, max_to_keep=2)
    next_call = {
        "save": lambda: checkpointer.save(4, state_at(4)),
        "restore_latest": lambda: checkpointer.restore_latest(TEMPLATE),
        "close": checkpointer.close,
        "end of with": lambda: checkpointer.__exit__(None, None, None),
    }[surface]
    with files_no_larger_than(2000):
        checkpointer.save(4, state_at(4))
        with pytest.raises(CheckpointError, match=f"cannot write checkpoints to {copied} .*free") as raised:
            next_call()
    assert "\n" not in str(raised.value)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    if surface in ("save", "restore_latest"):  # with room again the same object goes on
        assert checkpointer.restore_latest(TEMPLATE)[0] == 3
        checkpointer.save(4, state_at(4))
        checkpointer.close()
    with Checkpointer(copied, max_to_keep=2) as after:
        step, restored = after.restore_latest(TEMPLATE)
    assert step == (4 if surface in ("save", "restore_latest") else 3)
    assert_identical(restored, state_at(step))


def save_and_be_interrupted(directory: Path, warn: Any) -> None:
    with Checkpointer(directory, max_to_keep=2, warn=warn) as checkpointer:
        checkpointer.save(1, state_at(1))
        raise KeyboardInterrupt


def test_an_interrupted_run_waits_for_the_save(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        save_and_be_interrupted(tmp_path, pytest.fail)
    assert names(tmp_path) == {"1"}


def test_a_failed_write_does_not_hide_the_error_that_ended_the_run(tmp_path):
    warnings = []
    with files_no_larger_than(2000), pytest.raises(KeyboardInterrupt):
        save_and_be_interrupted(tmp_path, warnings.append)
    assert len(warnings) == 1
    assert "cannot write" in warnings[0]


@pytest.mark.parametrize("step", [1, 3])
def test_a_step_that_is_not_later_is_refused(saved, step):
    with (
        Checkpointer(saved, max_to_keep=2) as checkpointer,
        pytest.raises(CheckpointError, match="holds step 3"),
    ):
        checkpointer.save(step, state_at(step))


def test_a_file_in_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"cannot write checkpoints to .*file"):
        Checkpointer(tmp_path / "file", max_to_keep=2)


def test_what_would_not_come_back_is_refused(tmp_path):
    with Checkpointer(tmp_path, max_to_keep=2) as checkpointer:
        for leaf in (3, np.zeros(2)):
            with pytest.raises(CheckpointError, match=r"\['x'\].*jnp\.asarray"):
                checkpointer.save(1, {"x": leaf})
    with pytest.raises(CheckpointError, match="2 or more"):
        Checkpointer(tmp_path, max_to_keep=1)


NOISE_SIZE = 6_000_000  # incompressible, so that a save takes long enough to be caught
SAVE_WITHOUT_END = f"""
import itertools, sys
import jax, jax.numpy as jnp
from vaelab.runtime.checkpoint import Checkpointer
noise = jax.random.bits(jax.random.key(0), ({NOISE_SIZE},))
checkpointer = Checkpointer(sys.argv[1], max_to_keep=2)
for step in itertools.count(1):
    checkpointer.save(step, {{"step": jnp.int32(step), "noise": noise + jnp.uint32(step)}})
"""


def test_a_killed_save_leaves_the_last_complete_step(tmp_path):
    run = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", SAVE_WITHOUT_END, run], cwd=Path(__file__).parents[2])
    try:
        deadline = time.monotonic() + 60
        while not (run / "3.orbax-checkpoint-tmp").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.001)
    finally:
        process.kill()
        process.wait()
    complete = {int(name) for name in names(run) if name.isdigit()}
    assert len(names(run)) > len(complete)  # it was killed while it wrote
    template = {"step": jnp.int32(0), "noise": jnp.zeros(NOISE_SIZE, jnp.uint32)}
    with Checkpointer(run, max_to_keep=2, warn=pytest.fail) as checkpointer:
        step, restored = checkpointer.restore_latest(template)
    assert step == int(restored["step"]) == max(complete)
    noise = jax.random.bits(jax.random.key(0), (NOISE_SIZE,))
    np.testing.assert_array_equal(restored["noise"], noise + jnp.uint32(step))
