"""A launch: its flags and config, the processes of it, one run or one sweep, and the status it ends with.

What is wrong with the flags, or with what they name, is one line on standard error and status 2; a run that
fails ends with one line and status 1. On SIGTERM and SIGINT training saves where it is; the status is then
143 and 130, and the same command goes on.
"""

import os
import sys
import time
import traceback
from functools import partial
from pathlib import Path

import jax
from absl import app, flags, logging
from ml_collections import config_flags
from rich.console import Console

from vaelab.command.flags import CONFIG, asks_for_help, fail, print_help
from vaelab.command.parsing import parse
from vaelab.config.sweep import varied
from vaelab.data.sources import DataError
from vaelab.errors import ConfigError
from vaelab.runs.run import run
from vaelab.runs.sweep import run_sweep
from vaelab.runtime.devices import on_devices
from vaelab.runtime.directory import DirectoryError, as_directory
from vaelab.runtime.packing import CheckpointError
from vaelab.runtime.processes import ProcessLost, are_several, is_first, join, leave, missed
from vaelab.runtime.signals import Stopped, end_at_once, end_with_a_line, listen
from vaelab.training.skipped import NonFiniteError


def launch(argv: list[str], *, program: str, only_sweeps: bool = False) -> None:
    """Launches what the arguments say, and exits with the status.

    argv: with the name of the program first, as `sys.argv`; program: what the lines on standard error begin
    with; only_sweeps: refuses an experiment without a sweep.
    """
    if asks_for_help(argv[1:]):
        print_help(program)
        sys.exit(0)
    end_with_a_line(program)
    main = partial(_main, program, only_sweeps)
    app.run(main, argv=argv, flags_parser=partial(_parse, program))


def _parse(program: str, argv: list[str]) -> None:
    try:
        parse(argv, flags.FLAGS)
    except ConfigError as error:
        sys.exit(fail(program, str(error), 2))


def _main(program: str, only_sweeps: bool, _: None) -> int:
    logging.set_verbosity(logging.WARNING)
    values = flags.FLAGS
    try:
        workdir = _checked(values, only_sweeps)
        _take_devices(values.cpu_devices)
    except ConfigError as error:
        return fail(program, str(error), 2)
    if not keep_compiled_programs() and not values.quiet:
        fail(program, "there is no home directory: compiled programs are not kept; set XDG_CACHE_HOME", 0)
    try:
        join(values.coordinator, values.num_processes, values.process_id, wait_seconds=values.wait_seconds)
    except ProcessLost as error:
        return fail(program, str(error), 1)
    return _run(program, values, workdir)


def _checked(values: flags.FlagValues, only_sweeps: bool) -> Path:
    """The directory of the run. Raises ConfigError for flags that do not go together."""
    if not values.workdir:
        raise ConfigError("--workdir=DIR is needed: the directory of this run")
    several = [values.coordinator, values.num_processes, values.process_id]
    if None in several and several != [None] * 3:
        raise ConfigError("--coordinator, --num_processes and --process_id go together")
    if values.overwrite is not None and values["from"].value:
        raise ConfigError("--overwrite goes without --from")
    if "sweep" in values.config:
        if values["from"].value:
            raise ConfigError("--from goes with one run, and the experiment is a sweep")
        given = config_flags.get_override_values(values[CONFIG])
        for name in set(varied(values.config)) & given.keys():
            line = "the sweep varies it: change --config.sweep.axes, or leave it out"
            raise ConfigError(f"--config.{name}={given[name]}: {line}")
    elif only_sweeps:
        raise ConfigError("the experiment has no sweep: take `vaelab run`")
    return as_directory(values.workdir)


def _take_devices(cpu_devices: int) -> None:
    """Takes the CPU as several devices. Raises ConfigError where $XLA_FLAGS says so too."""
    if cpu_devices == 1:
        return
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        raise ConfigError("--cpu_devices and the device count of $XLA_FLAGS say the same: give one of them")
    jax.config.update("jax_num_cpu_devices", cpu_devices)


def keep_compiled_programs() -> bool:
    """Lets a program that is compiled once serve every later launch; False where there is no place for it.

    They are in $XDG_CACHE_HOME or ~/.cache; $JAX_COMPILATION_CACHE_DIR moves them, and what else the
    environment says of JAX's cache holds.
    """
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vaelab" / "compiled"
    except RuntimeError:  # neither HOME nor an entry of the user
        return "JAX_COMPILATION_CACHE_DIR" in os.environ
    settings = {
        "jax_compilation_cache_dir": str(cache),
        # At its defaults JAX keeps nothing on a CPU: programs are small, and most compile in a second.
        "jax_persistent_cache_min_compile_time_secs": 0.2,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in settings.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)
    return True


def _run(program: str, values: flags.FlagValues, workdir: Path) -> int:
    sweep = "sweep" in values.config
    # Elsewhere than on a terminal, wide enough for a table of three families, or of a sweep.
    width = None if sys.stdout.isatty() else 190 if sweep else 100
    console = Console(width=width, quiet=values.quiet or not is_first())
    listen()
    try:
        with on_devices(jax.devices()), missed():
            launched = run_sweep if sweep else partial(run, start=values["from"].value or None)
            about = {"across_versions": values.across_versions, "overwrite": values.overwrite}
            launched(values.config, str(workdir), console, **about)
    except DirectoryError as error:
        return _end(fail(program, _of_another_config(error, values), 2))
    except (ConfigError, DataError) as error:  # which may be wrong on one host alone
        return _end(fail(program, str(error), 2))
    except (CheckpointError, NonFiniteError, ProcessLost) as error:
        return _end(fail(program, str(error), 1))
    except OSError as error:
        return _end(fail(program, f"{error.strerror or error}: {error.filename or values.workdir}", 1))
    except Stopped as stopped:
        end_at_once()
        line = f"stopped by {stopped}; the same command goes on with {values.workdir}"
        return _end(fail(program, line, 128 + stopped.number))
    except Exception:
        if not are_several():
            raise
        traceback.print_exc()
        return _end(1)
    return 0


def _of_another_config(error: DirectoryError, values: flags.FlagValues) -> str:
    """The line, which names first what was given here, where a directory is refused for its config."""
    if not error.changed:
        return str(error)
    line = str(error.naming_first(config_flags.get_override_values(values[CONFIG])))
    return f"{line}, or remove that run by --overwrite={Path(error.value).resolve().name}"


def _end(status: int) -> int:
    """Ends this process at once where it is one of several, without waiting for those that may not end."""
    if are_several():
        if is_first():
            time.sleep(2.0)  # JAX aborts the others as the first one is gone: they may be saying the same
        leave(status)
    return status
