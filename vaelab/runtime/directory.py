"""The directory of a run: what marks it, what is kept in it, and what is done about damage.

A directory belongs to one config. What a stage computed is stored whole or not at all, and read back
instead of computed again.
"""

import fcntl
import io
import json
import os
import socket
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from vaelab.runtime.processes import is_first, of_first
from vaelab.types import ConfigError


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that a reader, or a run after a kill, finds it whole or not at all.

    The first process does; the others write nothing.
    """
    if not is_first():
        return
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)


def open_directory(workdir: Path, config: ConfigDict) -> Path:
    """The run's directory, made if need be, with `config.json` in it.

    Raises ConfigError if it belongs to a run of another config, or cannot be written.
    """
    text = config.to_json_best_effort(indent=2, sort_keys=True) + "\n"
    of_first(lambda: _open(workdir, text))
    return workdir


def _open(workdir: Path, text: str) -> None:
    path = workdir / "config.json"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "stages").mkdir(exist_ok=True)
        if not path.exists():
            if (workdir / "gap.json").exists() or (workdir / "checkpoints").exists():
                raise ConfigError(f"{workdir} holds results but no config.json: take another --workdir")
            write_whole(path, text.encode())
        saved = path.read_text()
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is damaged: take another --workdir, or mend it") from None
    except OSError as error:
        raise ConfigError(f"--workdir={workdir} cannot be written: {error.strerror or error}") from error
    if saved != text:
        try:
            changed = [
                f"{name} is {there!r} there and {here!r} here"
                for name, there, here in differences(json.loads(saved), json.loads(text))
            ]
        except ValueError:
            raise ConfigError(f"{path} is damaged: take another --workdir, or mend it") from None
        raise ConfigError(
            f"{workdir} belongs to a run of another config ({'; '.join(changed[:3])}"
            f"{'; ...' if len(changed) > 3 else ''}): take another --workdir"
        )


@contextmanager
def in_use(directory: Path, console: Console) -> Iterator[None]:
    """Keeps every other launch out of a directory; its `lock` says by whom.

    The lock is the kernel's (flock): it goes with the process that holds it, however that ends, so a file
    that is left behind keeps nobody out. Raises ConfigError where another holds it.
    """
    with ExitStack() as held:
        of_first(lambda: _lock(directory, held, console))
        yield


def _lock(directory: Path, held: ExitStack, console: Console) -> None:
    file = held.enter_context((directory / "lock").open("a+"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "another launch"
        raise ConfigError(
            f"{directory} is in use by {holder}: wait for it, or take another --workdir"
        ) from None
    except OSError as error:
        line = f"{directory} cannot be locked ({error.strerror or error}): launch on it once at a time"
        console.print(line, style="red", highlight=False)
    file.truncate(0)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")
    file.flush()
    held.callback(file.truncate, 0)


def differences(one: Any, other: Any, path: str = "config") -> list[tuple[str, Any, Any]]:
    """(setting, its value in the one, in the other) for every setting in which two configs differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = sorted(one.keys() | other.keys())
        return [d for n in names for d in differences(one.get(n), other.get(n), f"{path}.{n}")]
    return [] if one == other else [(path, one, other)]


def stored_json(path: Path, compute: Callable[[], Any], console: Console) -> Any:
    """compute(), or what an earlier run of it left at `path`, as JSON."""
    found = of_first(lambda: _json_at(path, console))
    if found is None:
        text = json.dumps(compute(), indent=2) + "\n"
        write_whole(path, text.encode())
        found = json.loads(text)
    return found


def _json_at(path: Path, console: Console) -> Any:
    """What is in the file; None where there is none, or where it is damaged and now set aside."""
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError:
        set_aside(path, console)
        return None


def finished(results: Path, config: ConfigDict, console: Console) -> Any:
    """What a finished run of this config left in `results`; None where it is not there, or damaged."""
    if not of_first(results.exists):
        return None
    open_directory(results.parent, config)
    content = of_first(lambda: _json_at(results, console))
    if content is not None:
        console.print(f"{results.parent} is finished; its results:", highlight=False)
    return content


def set_aside(path: Path, console: Console) -> None:
    """Renames a file that cannot be read back, so that it is made anew and nothing is lost."""
    damaged = path.with_name(f"damaged-{path.name}")
    path.replace(damaged)
    console.print(f"{path} is damaged: kept as {damaged.name} and made anew", style="red", highlight=False)


def read_arrays(path: Path, template: Any, console: Console) -> Any:
    """What `write_arrays` left at `path`, in the structure of `template`, on every process.

    None where there is nothing, or where it is damaged and now set aside.
    """
    treedef = jax.tree.structure(template)
    leaves = of_first(lambda: _arrays_at(path, treedef.num_leaves, console))
    return None if leaves is None else jax.tree.unflatten(treedef, leaves)


def write_arrays(path: Path, result: Any) -> None:
    """Stores the leaves of a pytree in their order, whole or not at all; the zip has a checksum of each."""
    buffer = io.BytesIO()
    np.savez(buffer, **{str(i): leaf for i, leaf in enumerate(jax.tree.leaves(result))})
    write_whole(path, buffer.getvalue())


def _arrays_at(path: Path, count: int, console: Console) -> list[np.ndarray] | None:
    """As `_json_at`; the zip holds a checksum of each array."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return [arrays[str(i)] for i in range(count)]
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        set_aside(path, console)
        return None
