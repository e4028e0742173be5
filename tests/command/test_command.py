"""`vaelab` as a command: its subcommands, and one line with status 2 for what it cannot do."""

import pytest

from tests.support.lines import assert_one_line
from vaelab import command
from vaelab.types import VERSION


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rnu"], "'rnu' is no command; did you mean 'run'?"),
        (["zzz"], "'zzz' is no command; there are run, sweep, audit-report, compare, prepare"),
        ([], "which command? there are run"),
        (["audit-report"], "give one directory"),
        (["audit-report", "gs://bucket/run"], "gs://bucket/run is the address of a bucket"),
    ],
)
def test_what_is_no_command_is_one_line(arguments, says, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["vaelab"])
    assert command.main(arguments) == 2
    assert_one_line(capsys.readouterr(), says=says)


def test_version_and_help(capsys):
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out == f"vaelab {VERSION}\n"
    assert command.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"vaelab {name} " in printed for name in command.COMMANDS)
    with pytest.raises(SystemExit, match="0"):
        command.main(["run", "--help"])
    assert "vaelab run --config=EXPERIMENT" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["compare", "prepare"])
def test_what_is_handed_over(name, monkeypatch):
    calls = []
    monkeypatch.setattr(f"vaelab.{name}.main", lambda argv: calls.append(argv) or 7)
    assert command.main([name, "a", "--b"]) == 7
    assert calls == [["a", "--b"]]
