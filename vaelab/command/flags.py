"""The flags of a launch, and what --help says of them.

Nothing is imported at the top, and nothing of vaelab anywhere: `launch.py --help` reads this file alone, as
importing vaelab imports JAX, which takes seconds.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

CONFIG = "config"
SETTINGS = Path(__file__).parents[1] / "config" / "defaults.py"


class Flag(NamedTuple):
    """A flag of the kind that absl has a DEFINE_ function for; least: of an integer."""

    name: str
    kind: str
    default: Any
    help: str
    least: int | None = None


FLAGS = (
    Flag("workdir", "string", None, "Directory of this run. The same command goes on where it stopped."),
    Flag("from", "string", None, "A finished run, whose training goes on in --workdir for more steps."),
    Flag(
        "overwrite", "string", None, "Name of the folder --workdir: a run of another config there is removed."
    ),
    Flag("quiet", "boolean", False, "Prints nothing; what ends the run early is still on standard error."),
    Flag("across_versions", "boolean", False, "Goes on with a run of other versions; its results say so."),
    Flag("coordinator", "string", None, "HOST:PORT of the first of several; Slurm, Cloud TPU need no flag."),
    Flag("num_processes", "integer", None, "With --coordinator: the number of processes."),
    Flag("process_id", "integer", None, "With --coordinator: the number of this process, from 0 on."),
    Flag("cpu_devices", "integer", 1, "Takes the CPU as this many; one a core is faster for sweeps.", 1),
    Flag("wait_seconds", "integer", 300, "How long several processes wait for each other at the start."),
)

HELP = """Launches one experiment, or goes on with it:

    {command} --config=EXPERIMENT[:variant] --config.train.num_steps=2000 --workdir=DIR

  --config: digits_gap, which is the default, or another experiment that comes with vaelab, by its name; or a
    file of your own by its path, as experiments/NAME.py; after a colon variants, as smoke. --config.KEY=VALUE
    changes a setting of it.
{flags}
  --flagfile: a file with flags, one a line.

All settings with their defaults: {settings}"""


def asks_for_help(arguments: list[str]) -> bool:
    """Whether one of the arguments is a flag for help."""
    return bool({"-h", "-help", "--help", "--helpshort", "--helpfull"} & set(arguments))


def say_start(arguments: list[str]) -> None:
    """Tells a terminal that JAX is being started, which takes seconds; nothing with --quiet, --process_id."""
    if not sys.stdout.isatty():
        return
    quiet = any(each.lstrip("-").startswith(("quiet", "process_id")) for each in arguments)
    if not quiet:
        print("starting JAX", flush=True)


def print_help(command: str) -> None:
    """Prints what the flags of `command` are."""
    lines = []
    for flag in FLAGS:
        default = f" (default: {flag.default})" if flag.default else ""
        lines.append(f"  --{flag.name}: {flag.help}{default}")
    print(HELP.format(command=command, flags="\n".join(lines), settings=SETTINGS))


def define(values: Any) -> None:
    """Defines every flag but --config in an absl FlagValues."""
    from absl import flags

    kinds = {"string": flags.DEFINE_string, "boolean": flags.DEFINE_boolean}
    for flag in FLAGS:
        if flag.kind == "integer":
            flags.DEFINE_integer(flag.name, flag.default, flag.help, flag.least, flag_values=values)
        else:
            kinds[flag.kind](flag.name, flag.default, flag.help, flag_values=values)


def fail(program: str, message: str, status: int) -> int:
    """Says why in one line on standard error; the status."""
    print(f"{program}: {' '.join(message.split())}", file=sys.stderr)
    return status
