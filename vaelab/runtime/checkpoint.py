"""Saves a training state, and resumes from it bit for bit.

Orbax writes a step to a temporary directory in the background and renames it when it is whole, so a
killed run leaves the last complete step. It does not see later damage (a flipped bit, a truncated
or lost file), and it casts to the dtypes of the template without a word. So a step also carries a
manifest: what every leaf is, and a sha256 over all of it.

    DIR/1000/state      the bytes of all leaves, sorted by path, as one array of uint8
    DIR/1000/manifest   {"leaves": {path: "float32[3, 4]"}, "sha256": ...}
    DIR/damaged-1000-1  a step that could not be read back, kept for inspection, never read again

One array and not one for each leaf: Orbax reads arrays concurrently and gives up at the first bad
one, and every other one then prints a traceback of its own.

With several processes each one calls every method, and every leaf is whole on every process. The first
one alone writes and reads, so DIR may be on a disk that no other sees.
"""

import itertools
import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import absl.logging
import jax
import numpy as np
import orbax.checkpoint as ocp

from vaelab.runtime.packing import (
    CheckpointError,
    State,
    arrays_of,
    describe,
    leaves_of,
    pack,
    sha256,
    unpack,
)
from vaelab.runtime.processes import of_first


def _is_wanted(record: logging.LogRecord) -> bool:
    # Orbax logs through absl's one logger, whose level belongs to the application. Its progress
    # reports are noise, and what it logs as an error also reaches the caller as an exception. It warns of
    # a directory that is only read each time that `newest` asks for that.
    if "orbax" not in record.pathname:
        return True
    return record.levelno == logging.WARNING and not re.search("read[_ ]only", record.getMessage())


absl.logging.get_absl_logger().addFilter(_is_wanted)


def _one_line(error: Exception) -> str:
    # TensorStore's messages are long; the cause stands last, but for details in brackets.
    text = re.sub(r" \[[\w ]+='.*", "", " ".join(f"{type(error).__name__}: {error}".split()))
    return text if len(text) <= 200 else f"{text[:80]} ... {text[-100:]}"


def _print_to_stderr(message: str) -> None:
    print(message, file=sys.stderr)


def _read(manager: ocp.CheckpointManager, step: int) -> tuple[dict[str, str], np.ndarray]:
    """(what every leaf is, the bytes of all). Raises ValueError where they do not match their sha256."""
    items = ocp.args.Composite(state=ocp.args.StandardRestore(), manifest=ocp.args.JsonRestore())
    restored = manager.restore(step, args=items)
    described, packed = restored.manifest["leaves"], restored.state["bytes"]
    if restored.manifest["sha256"] != sha256(described, packed):
        raise ValueError("its bytes do not match its sha256")
    return described, packed


def read_newest(directory: str | Path) -> dict[str, np.ndarray]:
    """Every leaf of the newest good step, as `newest` gives them."""
    _, _, leaves = newest(directory)
    return leaves


def newest(directory: str | Path) -> tuple[int, str, dict[str, np.ndarray]]:
    """(step, sha256, every leaf by its path in the state) of the newest good step.

    Nothing is written or moved.
    Raises CheckpointError where there is no such step.
    """
    directory, reason = Path(directory).absolute(), "there is none"
    options = ocp.CheckpointManagerOptions(create=False, read_only=True)
    with ocp.CheckpointManager(directory, options=options) as manager:
        for step in sorted(manager.all_steps(), reverse=True):
            try:
                described, packed = _read(manager, step)
            except Exception as error:  # a damaged step raises nearly anything
                reason = _one_line(error)
                continue
            return step, sha256(described, packed), arrays_of(described, packed)
    raise CheckpointError(f"no checkpoint in {directory} can be read: {reason}")


class Checkpointer:
    """The last `max_to_keep` steps of one run; `with` waits for the last save.

    `warn` gets one line for each damaged step. Every method raises CheckpointError, also for a save
    that has failed in the background since the last call.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        max_to_keep: int,
        warn: Callable[[str], None] = _print_to_stderr,
    ) -> None:
        if max_to_keep < 2:
            raise CheckpointError(
                f"max_to_keep is {max_to_keep}: set it to 2 or more, so that one damaged step does"
                " not end the run"
            )
        self._directory = Path(directory).absolute()
        self._warn = warn
        self._manager: ocp.CheckpointManager | None = None
        of_first(lambda: self._open(max_to_keep))

    def _open(self, max_to_keep: int) -> None:
        options = ocp.CheckpointManagerOptions(
            create=False,
            preservation_policy=ocp.checkpoint_managers.LatestN(max_to_keep),
            multiprocessing_options=ocp.options.MultiprocessingOptions(active_processes={0}),
        )
        with self._writing():
            self._directory.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(self._directory, options=options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        try:
            self.close()
        except CheckpointError as close_error:
            if error is None:
                raise
            self._warn(str(close_error))  # must not hide the error that ended the run

    def save(self, step: int, state: State) -> None:
        """Copies `state` to the host, then writes it in the background."""
        if self._manager is None:
            return
        leaves = leaves_of(state)
        described, packed = describe(leaves), pack(leaves)
        manifest = {"leaves": described, "sha256": sha256(described, packed)}
        with self._writing():
            # Orbax counts a step as saved until it is asked how the background write went.
            self._manager.wait_until_finished()
            saved = self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave({"bytes": packed}),
                    manifest=ocp.args.JsonSave(manifest),
                ),
            )
        if not saved:
            raise CheckpointError(
                f"step {step} was not saved: {self._directory} already holds step"
                f" {self._manager.latest_step()}; resume from it or use another directory"
            )

    def restore_latest(self, template: State) -> tuple[int, State] | None:
        """The newest good step and its state; None if no step was ever completed.

        `template` gives structure, shapes, dtypes and shardings; its values are not read, and
        jax.ShapeDtypeStruct will do. Newer steps that cannot be read or do not match their sha256
        are moved aside, but not before there is an older good one.
        """
        newest = of_first(lambda: self._newest(template))
        if newest is None:
            return None
        step, packed = newest
        leaves = leaves_of(template)
        restored = unpack(packed, leaves)
        return step, jax.tree.unflatten(jax.tree.structure(template), [restored[p] for p in leaves])

    def _newest(self, template: State) -> tuple[int, np.ndarray] | None:
        """The newest good step, and its bytes."""
        with self._writing():
            self._manager.wait_until_finished()
        damaged: dict[int, str] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                described, packed = _read(self._manager, step)
            except Exception as error:
                damaged[step] = _one_line(error)
                continue
            self._check_fit(step, described, template)
            with self._writing():
                self._move_aside(damaged, step)
            return step, packed
        if damaged or any(self._directory.glob("damaged-*")):
            reason = next(iter(damaged.values()), "moved aside earlier")
            raise CheckpointError(
                f"every checkpoint in {self._directory} is damaged ({reason}): put back a copy, or"
                " delete that directory to start again from step 0"
            )
        return None

    def wait(self) -> None:
        """Waits until the save in flight is on the disk."""
        if self._manager is not None:
            with self._writing():
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for the save in flight, and closes what Orbax has open."""
        if self._manager is None:
            return
        try:
            with self._writing():
                self._manager.wait_until_finished()
        finally:
            self._manager.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise CheckpointError(
                f"cannot write checkpoints to {self._directory} ({_one_line(error)}): free space or"
                " make it writable; the same command then resumes from the last complete step"
            ) from error

    def _check_fit(self, step: int, saved: dict[str, str], template: State) -> None:
        wanted = describe(leaves_of(template))
        for path in wanted | saved:
            if wanted.get(path) != saved.get(path):
                raise CheckpointError(
                    f"step {step} in {self._directory} does not fit this configuration: leaf {path}"
                    f" is {saved.get(path, 'absent')} there and {wanted.get(path, 'absent')} here;"
                    " use the configuration it was trained with, or another directory"
                )

    def _move_aside(self, damaged: dict[int, str], good_step: int) -> None:
        for step, reason in damaged.items():
            names = (f"damaged-{step}-{n}" for n in itertools.count(1))
            aside = next(name for name in names if not (self._directory / name).exists())
            (self._directory / str(step)).rename(self._directory / aside)
            self._warn(
                f"checkpoint {step} in {self._directory} is damaged ({reason}): moved it to"
                f" {aside}, resuming from step {good_step}"
            )
        if damaged:
            # Orbax refuses a step no later than one it believes to be there.
            self._manager.reload()
