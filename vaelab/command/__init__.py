"""The command `vaelab`, of an installation; `launch.py` is its `run` in a checkout."""

import sys
from collections.abc import Callable

from vaelab.command.flags import asks_for_help, fail, say_start
from vaelab.errors import VERSION, ConfigError, did_you_mean
from vaelab.runtime.directory import DirectoryError

COMMANDS = {
    "run": "launches an experiment, one run or a sweep, or goes on with it",
    "sweep": "the same, for an experiment that has a sweep",
    "audit-report": "DIR: prints the table of a saved audit, or of a run",
    "compare": "RUN RUN ...: runs side by side, with the errors of their differences",
    "index": "DIR: a page over all runs, sweeps and audits in a folder, to filter and sort",
    "prepare": "NAME: downloads and prepares a data set",
}
HELP = "\n".join(
    (
        "Trains variational autoencoders and measures, with error bars, what their inference loses.\n",
        *(f"  vaelab {name:<13} {what}" for name, what in COMMANDS.items()),
        "\n`vaelab COMMAND --help` says more; `vaelab --version` which version this is.",
    )
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command that the first argument names; returns the exit status.

    Each imports what it needs when it is asked for: one that reads finished runs waits for no JAX.
    """
    name, *arguments = (sys.argv[1:] if argv is None else argv) or [""]
    if name in ("--help", "-h", "help"):
        print(HELP)
    elif name == "--version":
        print(f"vaelab {VERSION}")
    elif name in ("run", "sweep"):
        program = f"vaelab {name}"
        if not asks_for_help(arguments):
            say_start(arguments)
        from vaelab.command.launching import launch

        launch([program, *arguments], program=program, only_sweeps=name == "sweep")
    elif name == "audit-report":
        return _of_one_folder(name, arguments, "directory, of a saved audit or a run", _report)
    elif name == "index":
        return _of_one_folder(name, arguments, "folder with runs in it", _index)
    elif name == "compare":
        from vaelab import compare

        return compare.main(arguments, "vaelab compare")
    elif name == "prepare":
        from vaelab import prepare

        return prepare.main(arguments, "vaelab prepare")
    else:
        hint = did_you_mean(name, COMMANDS) or f"there are {', '.join(COMMANDS)}"
        return fail("vaelab", f"{name!r} is no command; {hint}" if name else f"which command? {hint}", 2)
    return 0


def _report(directory: str) -> None:
    from vaelab.command.report import audit_report

    audit_report(directory)


def _index(folder: str) -> None:
    from vaelab.runs.index import index

    path, count = index(folder)
    print(f"{path}: {count:,} runs, sweeps and audits")


def _of_one_folder(name: str, arguments: list[str], what: str, act: Callable[[str], None]) -> int:
    """Does what a command that takes one folder does; its status."""
    if {"--help", "-h"} & set(arguments):
        print(f"vaelab {name} {COMMANDS[name]}")
        return 0
    try:
        if len(arguments) != 1:
            raise ConfigError(f"give one {what}")
        act(arguments[0])
    except DirectoryError as error:
        return fail(f"vaelab {name}", error.line(directory="directory", other="another run"), 2)
    except ConfigError as error:
        return fail(f"vaelab {name}", str(error), 2)
    return 0
