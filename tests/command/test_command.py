"""`vaelab` as a command: its subcommands, and one line with status 2 for what it cannot do."""

import pwd

import pytest

from tests.runs.test_index import write
from tests.support.lines import assert_one_line
from vaelab import command
from vaelab.errors import VERSION


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rnu"], "'rnu' is no command; did you mean 'run'?"),
        (["zzz"], "'zzz' is no command; there are run, sweep, audit-report, compare, index, prepare"),
        ([], "which command? there are run"),
        (["audit-report"], "give one directory"),
        (["index"], "give one folder with runs in it"),
        (["index", "nowhere"], "nowhere is no folder"),
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
    monkeypatch.setattr(f"vaelab.{name}.main", lambda *given: calls.append(given) or 7)
    assert command.main([name, "a", "--b"]) == 7
    assert calls == [(["a", "--b"], f"vaelab {name}")]


@pytest.mark.parametrize("arguments", [["index", "~/a"], ["audit-report", "~/a"], ["compare", "~/a", "~/b"]])
def test_a_folder_at_home_where_there_is_none_is_one_line(arguments, capsys, monkeypatch):
    def nobody(_):
        raise KeyError("no such user")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert command.main(arguments) > 0
    says = "~/a needs a home directory, and there is none: give the directory from the root on, or set HOME"
    assert_one_line(capsys.readouterr(), says=f"vaelab {arguments[0]}: {says}")


def test_an_index_is_written_and_named(tmp_path, capsys):
    write(tmp_path / "run")
    assert command.main(["index", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/index.html: 1 runs, sweeps and audits\n"
    assert command.main(["index", "--help"]) == 0
    assert "a page over all runs" in capsys.readouterr().out


def test_a_launch_says_at_once_that_it_starts(monkeypatch, capsys):
    monkeypatch.setattr("vaelab.command.launching.launch", lambda argv, **settings: None)
    command.main(["run"])
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    command.main(["run"])
    assert capsys.readouterr().out == "starting JAX\n"
    for argument in ("--quiet", "--process_id=1", "-h"):
        command.main(["run", argument])
        assert capsys.readouterr().out == ""
