"""Several processes of one run: all do the same, and what the first one reads or decides every one has.

The first process alone writes files. A single process is the first one of one.
"""

import atexit
import importlib.util
import os
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import numpy as np

T = TypeVar("T")

_GONE = "another process of this run is gone, or this one was killed: the same command on all of them goes on"
# Says so where its standard input ends without a word.
_WATCH = "import sys; sys.stdin.read() or sys.stderr.write(sys.argv[1])"
_watcher: subprocess.Popen | None = None

PIECE_BYTES = 2**28
HEARTBEAT_SECONDS = 30  # after which a process that is gone is missed, where nothing was waiting for it


class ProcessLost(RuntimeError):
    """Another process of the run is gone, or did not come; the message is one line that says what to do."""


def join(
    coordinator: str | None, num_processes: int | None, process_id: int | None, *, wait_seconds: int = 300
) -> None:
    """Joins this process with others where it is told so, or where its cluster says so.

    coordinator: "host:port" of the first process, with the other two for a cluster that JAX does not know.
    Under Slurm (srun, several tasks) and on a Cloud TPU nothing need be given. To be called before anything
    else of JAX. Where they are not together after `wait_seconds`, one line says so and this process ends,
    status 1.
    Raises ProcessLost for what JAX refuses.
    """
    global _watcher
    if coordinator is None and not _in_cluster():
        return
    # As another process is gone, a thread of JAX aborts this one, at times before Python hears of it.
    watch = [sys.executable, "-S", "-E", "-c", _WATCH, f"{_GONE}\n"]
    _watcher = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)
    atexit.register(_say_goodbye)

    def give_up() -> None:
        where = f" at {coordinator}" if coordinator else ""
        line = f"the processes of this run were not together{where} after {wait_seconds} s"
        print(f"{line}: start all of them within --wait_seconds", file=sys.stderr)
        leave(1)

    import jax

    waiting = threading.Timer(wait_seconds, give_up)
    waiting.start()
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            initialization_timeout=wait_seconds + 60,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        raise ProcessLost(f"the processes of this run cannot be joined: {_first_line(error)}") from error
    finally:
        waiting.cancel()


def _in_cluster() -> bool:
    slurm = "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1
    tpu = importlib.util.find_spec("libtpu") is not None and os.environ.get("JAX_PLATFORMS", "tpu") != "cpu"
    return slurm or tpu


@contextmanager
def missed() -> Iterator[None]:
    """Makes a ProcessLost of what JAX raises inside as another process is gone."""
    import jax

    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        # JAX raises the one or the other, with the status of the call that failed as its first word.
        if not are_several() or not re.match("(?!RESOURCE_EXHAUSTED)[A-Z_]+: ", str(error)):
            raise
        raise ProcessLost(f"{_GONE} ({_first_line(error)})") from error


def leave(status: int) -> NoReturn:
    """Ends this process at once, without waiting for others that may not end as well."""
    _say_goodbye()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _say_goodbye() -> None:
    if _watcher is not None:
        _watcher.communicate(b"goodbye")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def are_several() -> bool:
    """Whether this is one of several; JAX is not asked for its devices where nothing was joined."""
    if "jax" not in sys.modules:  # which alone joins processes: a comparison need not wait for its import
        return False
    import jax

    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    if not are_several():
        return True
    import jax

    return jax.process_index() == 0


def of_first(compute: Callable[[], T]) -> T:
    """compute() of the first process, on every process; what it raises is raised on every one."""
    if not are_several():
        return compute()
    result: Any = None
    error: Exception | None = None
    if is_first():
        try:
            result = compute()
        except Exception as raised:
            error = raised
    result, error = pickle.loads(_broadcast(pickle.dumps((result, error))))
    if error is not None:
        raise error
    return result


def _broadcast(content: bytes) -> bytes:
    from jax.experimental import multihost_utils

    # As bytes, and in pieces: JAX would make the length an int32.
    length = np.frombuffer(np.int64(len(content)).tobytes(), np.uint8)
    size = int(np.asarray(multihost_utils.broadcast_one_to_all(length)).view(np.int64)[0])
    pieces = []
    for start in range(0, size, PIECE_BYTES):
        count = min(PIECE_BYTES, size - start)
        mine = np.frombuffer(content, np.uint8, count, start) if is_first() else np.zeros(count, np.uint8)
        pieces.append(multihost_utils.broadcast_one_to_all(mine).tobytes())
    return b"".join(pieces)


def as_on_first(tree: Any) -> Any:
    """The arrays that the first process has: on an accelerator two may differ in their rounding."""
    if not are_several():
        return tree
    import jax
    import jax.numpy as jnp
    from jax.experimental import multihost_utils

    return jax.tree.map(jnp.asarray, multihost_utils.broadcast_one_to_all(jax.device_get(tree)))


def greatest(here: int) -> int:
    """The greatest of what the processes have."""
    if not are_several():
        return here
    from jax.experimental import multihost_utils

    return int(np.max(multihost_utils.process_allgather(np.int32(here))))
