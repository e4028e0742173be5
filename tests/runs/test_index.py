"""What the page over a folder finds in it."""

import json

import pytest

from tests.support.rows import run_row
from vaelab.errors import ConfigError
from vaelab.runs.index import index


def write(folder, name="gap.json", config=None, **content):
    folder.mkdir(parents=True)
    (folder / name).write_text(json.dumps({"rows": [run_row("test", -20.0)], **content}))
    (folder / "config.json").write_text(json.dumps(config or {"data": {"name": "digits"}, "seed": 3}))


def test_runs_sweeps_and_audits_are_named_and_what_is_in_them_is_not_listed_again(tmp_path):
    write(tmp_path / "deep" / "run", smoke=True)
    write(tmp_path / "sweep", "sweep.json")
    write(tmp_path / "sweep" / "point" / "seed=0")
    write(tmp_path / "audit", config={"given": {"x": "digest"}})
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "gap.json").write_text("{")
    (tmp_path / ".hidden").mkdir()
    path, count = index(tmp_path)
    text = path.read_text()
    assert (path.name, count) == ("index.html", 3)
    assert "1 run, 1 sweep, 1 audit." in text
    assert "deep/run" in text
    assert "seed=0" not in text
    assert "digits, seed 3; smoke" in text


@pytest.mark.parametrize("name", ["empty", "nothing"])
def test_a_folder_without_a_run_is_one_line(name, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no finished run" if name == "empty" else "is no folder"):
        index(tmp_path / name)
