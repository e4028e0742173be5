"""Launches one experiment, or goes on with it:

    python launch.py --config=experiments/NAME.py[:variant] --config.train.num_steps=2000 --workdir=DIR

This file is the only reader of command-line flags. What is wrong with them, or with what they name, is one
line on standard error and exit status 2; a run that fails ends with one line and status 1. On SIGTERM and
SIGINT training saves where it is; the status is 143 and 130, and the same command goes on.
"""

import os
import re
import signal
import sys
import time
import traceback
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

FLAGS = flags.FLAGS
DEFAULT_CONFIG = str(Path(__file__).parent / "experiments" / "digits_gap.py")
# With a default of its own this flag would read its file, and trip over what is wrong there, on import.
config_flags.DEFINE_config_file(
    "config",
    None,
    "Experiment file (default experiments/digits_gap.py), with :variant; --config.KEY=VALUE changes it.",
)
flags.DEFINE_string(
    "workdir", None, "Directory of this run. The same command on it goes on where the last one stopped."
)
flags.DEFINE_boolean("quiet", False, "Prints nothing; what ends the run early is still on standard error.")
flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of the first of several processes; Slurm and Cloud TPU need no flags."
)
flags.DEFINE_integer("num_processes", None, "With --coordinator: how many processes there are.")
flags.DEFINE_integer("process_id", None, "With --coordinator: which of them this one is, from 0 on.")
flags.DEFINE_integer(
    "cpu_devices", 1, "Takes the CPU as so many devices; one for each core is faster for sweeps.", 1
)
flags.DEFINE_integer("wait_seconds", 300, "How long several processes wait for each other at the start.")


def _fail(message: str, status: int) -> int:
    print(f"launch.py: {' '.join(message.split())}", file=sys.stderr)
    return status


def _reason(error: Exception) -> str:
    """The sentence that matters in an error of a flag or a config file, whose text may hold a traceback."""
    text = str(error.args[0] if isinstance(error, AttributeError | KeyError) and error.args else error)
    missing = re.search(r"No such file or directory: '(.+)'", text)
    if missing:
        return f"there is no experiment file {missing[1]}"
    raised = re.findall(r"^\s*\w*Error: (.+)$", text, flags=re.MULTILINE)
    text = raised[-1] if raised else text
    text = re.sub(r"invalid literal for int\(\) with base 10: (.+)", r"must be an integer, not \1", text)
    text = re.sub(r"could not convert string to float: (.+)", r"must be a number, not \1", text)
    if re.fullmatch(r"[\"']*\w+[\"']+", text):
        return f"the config has no setting {text.strip(chr(34))}"
    if "no attribute 'get_config'" in text:
        return "the experiment file must define get_config()"
    if "no attribute 'lock'" in text:
        return "get_config() of the experiment file must return an ml_collections.ConfigDict"
    unknown = re.search(r"Did you mean \"(.+)\" instead of \"(.+)\"", text)
    if unknown:
        return f"the config has no setting {unknown[2]!r}; did you mean {unknown[1]!r}?"
    return text


def _in_experiment(error: Exception) -> str | None:
    """An error with its place in the user's experiment file; None where it did not come out of one."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {error.msg}"
    places = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) != Path(__file__) and not re.search("site-packages|importlib", frame.filename)
    ]
    if not places:
        return None
    return f"{places[-1].filename}:{places[-1].lineno}: {type(error).__name__}: {error}"


def _parse(argv: list[str]) -> list[str]:
    if not any(re.match("--?config(=|$)", argument) for argument in argv):
        argv = [argv[0], f"--config={DEFAULT_CONFIG}", *argv[1:]]
    try:
        rest = FLAGS(argv)
        FLAGS.config.lock()  # the file is read at the first use: here, before anything else
    except Exception as error:  # an experiment file may raise anything
        sys.exit(_fail(_in_experiment(error) or _reason(error), 2))
    if len(rest) > 1:
        sys.exit(_fail(f"{rest[1]!r} is not a flag; settings are --config.KEY=VALUE", 2))
    return rest


def _keep_compiled_programs() -> None:
    """A program compiled once serves every later launch; $JAX_COMPILATION_CACHE_DIR moves them."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vaelab" / "compiled"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    # At its defaults JAX keeps nothing on a CPU: no program is large enough, and most compile in a second.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def _main(_: list[str]) -> int:
    logging.set_verbosity(logging.WARNING)
    if not FLAGS.workdir:
        return _fail("--workdir=DIR is needed: the directory of this run", 2)
    several = (FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)
    if None in several and several != (None,) * 3:
        return _fail("--coordinator, --num_processes and --process_id go together", 2)
    _keep_compiled_programs()
    # Imported here, so that --help and a mistyped flag do not wait for JAX.
    import jax
    from rich.console import Console

    from vaelab.config.sweep import varied
    from vaelab.data.sources import DataError
    from vaelab.runs.run import run
    from vaelab.runs.sweep import run_sweep
    from vaelab.runtime.checkpoint import CheckpointError
    from vaelab.runtime.devices import on_devices
    from vaelab.runtime.processes import ProcessLost, are_several, is_first, join, missed
    from vaelab.runtime.signals import Stopped, end_at_once, listen
    from vaelab.training.loop import NonFiniteError
    from vaelab.types import ConfigError

    if "sweep" in FLAGS.config:
        given = config_flags.get_override_values(FLAGS["config"])
        for name in varied(FLAGS.config):
            if name in given:
                line = "the sweep varies it: change --config.sweep.axes, or leave it out"
                return _fail(f"--config.{name}={given[name]}: {line}", 2)
    if FLAGS.cpu_devices > 1:
        if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
            return _fail("--cpu_devices and the device count of $XLA_FLAGS say the same: give one of them", 2)
        jax.config.update("jax_num_cpu_devices", FLAGS.cpu_devices)
    try:
        join(*several, wait_seconds=FLAGS.wait_seconds)
    except ProcessLost as error:
        return _fail(str(error), 1)
    # Elsewhere than on a terminal, wide enough for a table of three families, or of a sweep.
    sweep = "sweep" in FLAGS.config
    width = None if sys.stdout.isatty() else 190 if sweep else 100
    console = Console(width=width, quiet=FLAGS.quiet or not is_first())
    listen()
    try:
        with on_devices(jax.devices()), missed():
            (run_sweep if sweep else run)(FLAGS.config, FLAGS.workdir, console)
    except (ConfigError, DataError) as error:  # which may be wrong on one host alone
        return _end(_fail(str(error), 2))
    except (CheckpointError, NonFiniteError, ProcessLost) as error:
        return _end(_fail(str(error), 1))
    except OSError as error:
        return _end(_fail(f"{error.strerror or error}: {error.filename or FLAGS.workdir}", 1))
    except Stopped as stopped:
        end_at_once()
        line = f"stopped by {stopped}; the same command goes on with {FLAGS.workdir}"
        return _end(_fail(line, 128 + stopped.number))
    except Exception:
        if not are_several():
            raise
        traceback.print_exc()
        return _end(1)
    return 0


def _end(status: int) -> int:
    """Of several processes this one ends at once, without waiting for others that may not end as well."""
    from vaelab.runtime.processes import are_several, is_first, leave

    if are_several():
        if is_first():
            time.sleep(2.0)  # JAX aborts the others as the first one is gone: they may be saying the same
        leave(status)
    return status


def _stopped_early(number: int, _: object) -> None:
    # In the middle of an import an exception may come out of native code, as a crash.
    os.write(2, b"launch.py: stopped before anything was done\n")
    os._exit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stopped_early)
    app.run(_main, flags_parser=_parse)
