"""`vaelab` as a command: its subcommands, and one line with status 2 for what it cannot do."""

import json
import os

import jax
import pytest

from vaelab import command
from vaelab.command import launching
from vaelab.types import VERSION

STATISTIC = {"mean": 1.0, "stderr": 0.1}
ROW = {
    "split": "test",
    "family": "diagonal",
    **dict.fromkeys(
        (
            "elbo_amortized",
            "elbo_optimal",
            "amortization_gap",
            "approximation_gap",
            "inference_gap",
        ),
        STATISTIC,
    ),
    "log_evidence": {**STATISTIC, "bias": "below", "num_heavy_tailed": 3},
    "num_points": 360,
    "certificate": "estimate",
    "num_unconverged": 5,
    "num_negative": 0,
    "decoder_evaluations_per_point": 795,
    "broken_orders": ["L[q*] above log p(x)"],
}


def assert_one_line(captured, *, says):
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("vaelab")
    assert says in line


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


@pytest.fixture
def cache_settings():
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_where_compiled_programs_are_kept(cache_settings, monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert launching.keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "vaelab" / "compiled")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert launching.keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / ".cache" / "vaelab" / "compiled")


def test_without_a_home_nothing_is_kept_and_nothing_fails(cache_settings, monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does where there is no home
    before = jax.config.jax_compilation_cache_dir
    assert not launching.keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir == before
