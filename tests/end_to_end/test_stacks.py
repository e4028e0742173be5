"""Two stacks of Python and JAX beside each other, and what the script that makes the second refuses."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks import stacks

ROOT = Path(__file__).parents[2]
RESULT = json.loads(stacks.RESULTS.read_text())


def test_the_table_is_made_of_the_results():
    text = stacks.PAGE.read_text().split(stacks.BEGIN)[1].split(stacks.END)[0]
    assert text.strip() == stacks.table(RESULT)
    one, other = RESULT["versions"]
    assert one["Python"].startswith("3.11")
    assert other["Python"].startswith("3.14")
    assert {len(names) for names in RESULT["functions"].values()} != {0}


@pytest.mark.parametrize(
    ("one", "other", "digit"),
    [
        (0.3002, 0.3044, 3),
        (0.4057, 0.3923, 2),
        (-23.50, -23.52, 4),
        (2.0, -2.0, 1),
        (9.0, 10.0, 1),
        (0.3, 0.3, None),
    ],
)
def test_the_digit_in_which_two_figures_part(one, other, digit):
    assert stacks.parting_digit(one, other) == digit == stacks.parting_digit(other, one)


def write_run(directory, python, apart, label="a"):
    """A run of one row and four datapoints, its bounds lower by `apart` than those of apart=0."""
    directory.mkdir()
    log_p_N = np.arange(4.0) - 20.0
    optimal_N, amortized_N = log_p_N - 0.2 - apart, log_p_N - 0.5 - 3.0 * apart
    arrays = {
        "test/log_evidence": log_p_N,
        "test/full/elbo_optimal": optimal_N,
        "test/full/elbo_amortized": amortized_N,
    }
    np.savez(directory / "per_datapoint.npz", **arrays)
    means = {
        "elbo_amortized": amortized_N,
        "elbo_optimal": optimal_N,
        "log_evidence": log_p_N,
        "amortization_gap": optimal_N - amortized_N,
        "approximation_gap": log_p_N - optimal_N,
    }
    row = {name: {"mean": value.mean(), "stderr": 0.01} for name, value in means.items()}
    row |= {"split": "test", "family": "full"}
    versions = [dict.fromkeys(stacks.NAMED, "1") | {"Python": python, "jax": python}]
    (directory / "gap.json").write_text(json.dumps({"rows": [row], "versions": versions}))
    (directory / "data.json").write_text(json.dumps({"label": label}))
    (directory / "functions.json").write_text(json.dumps({"exp": "a", "tanh": f"{apart > 0.0}"}))
    lines = [{"stage": "train", "step": step, "elbo": -20.0 - (step > 10) * apart} for step in (10, 20, 30)]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return directory


def test_two_runs_are_compared_at_their_datapoints(tmp_path, capsys, monkeypatch):
    runs = [write_run(tmp_path / name, name, apart) for name, apart in (("3.11", 0.0), ("3.14", 0.001))]
    result = stacks.compared(*runs)
    by_name = {row["figure"]: row for row in result["rows"]}
    assert by_name["amortization_gap"]["difference"] == pytest.approx(0.002)
    assert by_name["elbo_amortized"]["largest"] == pytest.approx(0.003)
    assert by_name["elbo_amortized"]["difference_stderr"] == pytest.approx(0.0, abs=1e-12)
    assert by_name["log_evidence"]["digit"] is None
    assert result["functions"] == {"same": ["exp"], "other": ["tanh"]}
    assert (result["training"]["first_apart"], result["training"]["last"]) == (20, 30)
    assert "| approximation gap, full | 0.2000 ± 0.0100 | 0.2010 ± 0.0100 | +0.0010" in stacks.table(result)
    command = ["stacks.py", "compare", *map(str, runs), f"--results={tmp_path / 'r.json'}", "--no-page"]
    monkeypatch.setattr("sys.argv", command)
    assert stacks.main() == 0
    write_run(tmp_path / "far", "3.13", 0.2)
    monkeypatch.setattr("sys.argv", [*command[:3], str(tmp_path / "far"), *command[4:]])
    assert stacks.main() == 1
    assert "amortization_gap, full: not the same to within its error" in capsys.readouterr().err


def test_runs_of_other_data_are_not_compared(tmp_path):
    one, other = write_run(tmp_path / "a", "3.11", 0.0), write_run(tmp_path / "b", "3.14", 0.0, label="b")
    with pytest.raises(ValueError, match="other data"):
        stacks.compared(one, other)


@pytest.mark.parametrize(
    ("argument", "line"),
    [("", "tests/pythons.sh DIR"), ("tests/trees", "tests/trees is inside of the checkout")],
)
def test_a_tree_is_made_outside_of_the_checkout(argument, line, tmp_path):
    """Refused before anything is made: no tree, and no root, is needed to see it."""
    clone = tmp_path / "clone"
    (clone / "tests").mkdir(parents=True)
    script = clone / "tests" / "pythons.sh"
    script.write_text((ROOT / "tests" / "pythons.sh").read_text())
    command = ["bash", str(script), *([str(clone / argument)] if argument else [])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert line in done.stderr
