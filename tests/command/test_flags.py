"""The flags of a launch: what --help says of them, and that it says so without importing JAX."""

import subprocess
import sys

import pytest
from absl import flags

from vaelab.command.flags import FLAGS, SETTINGS, asks_for_help, define, print_help


@pytest.mark.parametrize("argument", ["-h", "-help", "--help", "--helpshort", "--helpfull"])
def test_each_flag_for_help_is_one(argument):
    assert asks_for_help(["--workdir=a", argument])
    assert not asks_for_help(["--workdir=a", f"--workdir={argument}", argument[1:].lstrip("-")])


def test_help_names_every_flag_with_its_default_and_the_file_of_all_settings(capsys):
    print_help("vaelab run")
    printed = capsys.readouterr().out
    assert "vaelab run --config=EXPERIMENT" in printed
    for flag in FLAGS:
        (line,) = [line for line in printed.splitlines() if line.startswith(f"  --{flag.name}: ")]
        assert flag.help in line
    assert "(default: 300)" in printed
    assert "None" not in printed
    assert "False)" not in printed
    assert printed.splitlines()[-1] == f"All settings with their defaults: {SETTINGS}"
    assert "def get_config" in SETTINGS.read_text()


def test_flags_are_defined_with_their_kinds_defaults_and_bounds():
    values = flags.FlagValues()
    define(values)
    values(["vaelab run", "--num_processes=3", "--quiet", "--workdir=a"])
    assert (values.num_processes, values.quiet, values.workdir) == (3, True, "a")
    assert (values.cpu_devices, values.wait_seconds, values.coordinator) == (1, 300, None)
    assert values.across_versions is False
    with pytest.raises(flags.IllegalFlagValueError, match="cpu_devices=0"):
        values(["vaelab run", "--cpu_devices=0"])


def test_the_file_imports_nothing_that_takes_time():
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); print(*sys.modules)"
    file = sys.modules[print_help.__module__].__file__
    printed = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=True)
    assert not {"jax", "numpy", "absl", "vaelab"} & set(printed.stdout.split())
