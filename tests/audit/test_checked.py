"""The record of checks: those that were made and those that could not be, a line each."""

from rich.console import Console

from vaelab.audit.checked import Check, Checked, NotChecked

LINES = [
    Check("x", "3 datapoints", "numbers"),
    NotChecked("decode", "none was given"),
    Check("log_likelihood", "all", "finite[0]"),
    NotChecked("directory", "none"),
]


def test_checks_and_what_could_not_be_are_kept_apart_in_their_order():
    checked = Checked.of(iter(LINES))
    assert checked.checks == [LINES[0], LINES[2]]
    assert checked.could_not == [LINES[1], LINES[3]]
    assert str(Checked.of([])) == ""


def test_each_is_one_line_in_columns_however_narrow_the_terminal():
    said = str(Checked.of(LINES)).splitlines()
    assert said == [
        "x               3 datapoints  numbers",
        "log_likelihood  all           finite[0]",
        "decode          not checked   none was given",
        "directory       not checked   none",
    ]
    console = Console(width=20)
    with console.capture() as captured:
        Checked.of(LINES).table(console)
    assert captured.get().splitlines() == said
