"""The directory of a run: what marks it, what is kept in it, and what is done about damage.

A directory belongs to one config. What a stage computed is stored whole or not at all, and read back
instead of computed again. Files that no run has written keep a run out.
"""

import fcntl
import io
import json
import os
import re
import socket
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from vaelab.errors import ConfigError
from vaelab.runtime.later import LATER
from vaelab.runtime.processes import is_first, of_first

Difference = tuple[str, Any, Any]

# What a run that was killed early, or the system, may have put where there is no config.json yet.
ONLY_MARKS = {"lock", "config.json.partial", "lost+found", ".DS_Store"}


class DirectoryError(ConfigError):
    """Says in one line why a directory cannot be that of this run.

    problem, fix: as of a ConfigError, with {directory} for what the caller calls a directory, and {other} for
        what it belongs to if not to this run; details: what follows the problem, as it is
    changed: (setting, its value in the directory, and here) of what the configs differ in, if that is why
    """

    def __init__(self, message: str, *, details: str = "", changed: Sequence[Difference] = (), **parts: Any):
        super().__init__(message, **parts)
        self.details, self.changed = details, list(changed)

    @classmethod
    def of(
        cls,
        directory: str | Path,
        problem: str,
        details: str = "",
        *,
        fix: str = "",
        changed: Sequence[Difference] = (),
    ) -> Self:
        """An error about this directory; its text is in the words of the command line."""
        about = {"problem": problem, "fix": fix, "details": details, "changed": changed}
        error = cls("", setting="workdir", value=str(directory), **about)
        error.args = (error.line(directory="--workdir", other="a run of another config"),)
        return error

    def line(self, *, directory: str, other: str) -> str:
        """The line, with what the caller calls a directory and what else one may belong to.

        Where there is no fix to name the directory, the line begins with it.
        """
        words = {"directory": directory, "other": other}
        details = self.details + _said_of(self.changed) * bool(self.changed)
        line = f"{self.value} {self.problem.format(**words)}{details}"
        return f"{line}: {self.fix.format(**words)}" if self.fix else f"{directory}={line}"

    def naming_first(self, settings: Iterable[str]) -> Self:
        """The same, with what differs in these settings before the rest."""
        asked = {f"config.{name}" for name in settings}
        changed = sorted(self.changed, key=lambda difference: difference[0] not in asked)
        return type(self).of(self.value, self.problem, self.details, fix=self.fix, changed=changed)


def _said_of(changed: Sequence[Difference]) -> str:
    said = "; ".join(f"{name} is {theirs!r} there and {ours!r} here" for name, theirs, ours in changed[:3])
    return f" ({said}{'; ...' if len(changed) > 3 else ''})"


def as_directory(workdir: str | Path) -> Path:
    """The path of a run's directory as a user gives it, with `~`.

    Raises DirectoryError for the address of a bucket, which would be a folder of that name here, and for `~`
    where the user has no home.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", str(workdir)):
        fix = "give a local {directory}, and copy it there when the run is finished"
        raise DirectoryError.of(workdir, "is the address of a bucket, which is not supported", fix=fix)
    try:
        return Path(workdir).expanduser()
    except RuntimeError:
        raise DirectoryError.of(
            workdir, "needs a home directory, and there is none", fix=_FULL_PATH
        ) from None


_FULL_PATH = "give the {directory} from the root on, or set HOME"


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

    Raises DirectoryError if it belongs to a run of another config, holds files that no run has written, or
    cannot be written.
    """
    text = config.to_json_best_effort(indent=2, sort_keys=True) + "\n"
    of_first(lambda: _open(workdir, text))
    return workdir


def _open(workdir: Path, text: str) -> None:
    path = workdir / "config.json"
    damaged = DirectoryError.of(path, "is damaged", fix="take another {directory}, or mend it")
    if workdir.exists() and not workdir.is_dir():
        raise DirectoryError.of(workdir, "is a file", fix="take another {directory}")
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _refuse_what_is_not_ours(workdir)
            write_whole(path, text.encode())
        (workdir / "stages").mkdir(exist_ok=True)
        saved = path.read_text()
    except UnicodeDecodeError:
        raise damaged from None
    except OSError as error:
        reason = error.strerror or error
        raise DirectoryError.of(workdir, "cannot be written", f": {reason}") from error
    if saved == text:
        return
    try:
        changed = differences(json.loads(saved), json.loads(text))
    except ValueError:
        raise damaged from None
    if not changed:
        return
    raise DirectoryError.of(workdir, "belongs to {other}", fix="take another {directory}", changed=changed)


def _refuse_what_is_not_ours(workdir: Path) -> None:
    """Raises DirectoryError where a directory without a config.json holds more than an early kill leaves."""
    if (workdir / "gap.json").exists() or (workdir / "checkpoints").exists():
        raise DirectoryError.of(workdir, "holds results but no config.json", fix="take another {directory}")
    names = sorted(entry.name for entry in workdir.iterdir() if not _is_mark(entry))
    if ".git" in names:
        raise DirectoryError.of(workdir, "is a git checkout", fix="take another {directory}, or one in it")
    if names:
        details = f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        fix = "take another {directory}, or one in it"
        raise DirectoryError.of(workdir, "holds files that no run has written", details, fix=fix)


def _is_mark(entry: Path) -> bool:
    return entry.name in ONLY_MARKS or (entry.name == "stages" and not any(entry.iterdir()))


@contextmanager
def in_use(directory: Path, console: Console) -> Iterator[None]:
    """Keeps every other launch out of a directory; its `lock` says by whom.

    The lock is the kernel's (flock): it goes with the process that holds it, however that ends, so a file
    that stays behind keeps nobody out. Raises DirectoryError where another holds it.
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
        fix = "wait for it, or take another {directory}"
        raise DirectoryError.of(directory, "is in use by", f" {holder}", fix=fix) from None
    except OSError as error:
        line = f"{directory} cannot be locked ({error.strerror or error}): launch on it once at a time"
        console.print(line, style="red", highlight=False)
    file.truncate(0)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")
    file.flush()
    held.callback(file.truncate, 0)


def differences(one: Any, other: Any, path: str = "config") -> list[Difference]:
    """(setting, its value in the one, in the other) for every setting in which two configs differ."""
    # A section may have been added as a whole.
    later = any(setting.startswith(f"{path}.") for setting in LATER)
    one, other = ({} if later and value is None else value for value in (one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        names = sorted(one.keys() | other.keys())
        return [d for n in names for d in differences(one.get(n), other.get(n), f"{path}.{n}")]
    one, other = (LATER.get(path) if value is None else value for value in (one, other))
    return [] if one == other else [(path, one, other)]


def stored_json(path: Path, compute: Callable[[], Any], console: Console) -> Any:
    """compute(), or what an earlier call of it has stored at `path`, as JSON."""
    content = of_first(lambda: _json_at(path, console))
    return write_json(path, compute()) if content is None else content


def write_json(path: Path, content: Any) -> Any:
    """Writes it as JSON; what reading it back gives."""
    text = json.dumps(content, indent=2) + "\n"
    write_whole(path, text.encode())
    return json.loads(text)


def _json_at(path: Path, console: Console) -> Any:
    """The file's content; None where there is no file, or where it is damaged and now set aside."""
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError:
        set_aside(path, console)
        return None


def finished(
    results: Path, config: ConfigDict, console: Console, check: Callable[[], None] = lambda: None
) -> Any:
    """What a finished run of this config has written to `results`; None where it is missing or damaged.

    check: may raise, where the results are not those of what is asked for.
    """
    if not of_first(results.exists):
        return None
    open_directory(results.parent, config)
    check()
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
    import jax  # here: who compares runs reads no pytrees

    treedef = jax.tree.structure(template)
    leaves = of_first(lambda: _arrays_at(path, treedef.num_leaves, console))
    return None if leaves is None else jax.tree.unflatten(treedef, leaves)


def write_arrays(path: Path, result: Any) -> None:
    """Stores the leaves of a pytree in their order, whole or not at all; the zip has a checksum of each."""
    import jax

    buffer = io.BytesIO()
    np.savez(buffer, **{str(i): leaf for i, leaf in enumerate(jax.tree.leaves(result))})
    write_whole(path, buffer.getvalue())


def _arrays_at(path: Path, count: int, console: Console) -> list[np.ndarray] | None:
    """The arrays in the file; None as of `_json_at`. The zip holds a checksum of each array."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return [arrays[str(i)] for i in range(count)]
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        set_aside(path, console)
        return None
