"""`vaelab audit-report`: the table of what was saved, or one line that says why there is none."""

import json

import pytest

from tests.support.lines import assert_one_line
from tests.support.rows import ROW
from vaelab import command
from vaelab.command.report import audit_report
from vaelab.errors import ConfigError


def test_the_table_of_a_saved_audit_with_its_notes_and_its_page(tmp_path, capsys):
    (tmp_path / "gap.json").write_text(json.dumps({"smoke": False, "rows": [ROW]}))
    assert command.main(["audit-report", str(tmp_path)]) == 0
    assert "there is no page" in capsys.readouterr().out
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "hints.json").write_text('["sigma looks like a log-variance"]')
    (tmp_path / "report.html").write_text("")
    assert command.main(["audit-report", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "test, diagonal" in printed
    assert "1.00 ± 0.10" in printed
    assert "order broken on test: L[q*] above log p(x)" in printed
    assert "sigma looks like a log-variance" in printed
    assert f"page: {tmp_path}/report.html" in printed


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("sweep.json", "{}", "no gap.json; it is a sweep: give one of its runs"),
        ("notes.txt", "", "holds no finished audit or run: no gap.json"),
        ("gap.json", '{"rows"', "gap.json is damaged"),
        ("gap.json", '{"rows": [1]}', "holds no rows of an audit or a run"),
        ("gap.json", "[]", "holds no rows of an audit or a run"),
    ],
)
def test_a_directory_without_a_table(name, content, says, tmp_path, capsys):
    (tmp_path / name).write_text(content)
    assert command.main(["audit-report", str(tmp_path)]) == 2
    assert_one_line(capsys.readouterr(), says=says)


def test_figures_of_a_smoke_run_are_said_to_mean_nothing(tmp_path, capsys):
    for smoke in (False, True):
        (tmp_path / "gap.json").write_text(json.dumps({"smoke": smoke, "rows": [ROW]}))
        audit_report(str(tmp_path))
        assert ("these figures mean nothing" in capsys.readouterr().out) == smoke


def test_hints_that_are_damaged_are_named(tmp_path):
    (tmp_path / "gap.json").write_text(json.dumps({"rows": [ROW]}))
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "hints.json").write_text("[")
    with pytest.raises(ConfigError, match=r"stages/hints.json is damaged$"):
        audit_report(str(tmp_path))
