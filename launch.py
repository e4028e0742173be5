"""Launches one experiment, or goes on with it:

    python launch.py --config=experiments/NAME.py[:variant] --config.train.num_steps=2000 --workdir=DIR

What is wrong with the flags, or with what they name, is one line on standard error and exit status 2; a run
that fails ends with one line and status 1. On SIGTERM and SIGINT training saves where it is; the status is
143 and 130, and the same command goes on. `vaelab run` is the same command of an installation.
"""

import os
import runpy
import signal
import sys
from pathlib import Path


def _stopped_early(number: int, _: object) -> None:
    # In the middle of an import an exception may come out of native code, as a crash.
    os.write(2, b"launch.py: stopped before anything was done\n")
    os._exit(128 + number)


def main() -> None:
    """Answers --help at once, and launches what the arguments say."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stopped_early)
    flags = runpy.run_path(str(Path(__file__).parent / "vaelab" / "command" / "flags.py"))
    if flags["asks_for_help"](sys.argv[1:]):
        flags["print_help"]("python launch.py")
        return
    flags["say_start"](sys.argv[1:])
    # Imported here, for it takes seconds.
    from vaelab.command.launching import launch

    launch(sys.argv, program="launch.py")


if __name__ == "__main__":
    main()
