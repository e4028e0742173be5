"""A finished run is trained on, in a directory of its own: `--from`."""

import json
import shutil

import numpy as np
import pytest
from rich.console import Console

from tests.runs.test_store import Killed, killed_after, lines, overfitting
from vaelab import load
from vaelab.errors import ConfigError
from vaelab.report.weights import read_weights
from vaelab.runs.run import run
from vaelab.runtime.directory import DirectoryError

QUIET = Console(quiet=True)


def tiny(**settings):
    """Twenty steps, or more of them, that a checkpoint and a validation follow every ten."""
    config = overfitting(**{"num_steps": 20, "checkpoint_every": 10, **settings})
    config.evaluate.diagnostics.enabled = False
    config.evaluate.max_points = 4
    config.evidence.num_samples = 100
    return config


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """The directory of a finished run of twenty steps, which leaves only its last checkpoints."""
    directory = tmp_path_factory.mktemp("origin") / "short"
    run(tiny(), directory, QUIET)
    return directory


@pytest.fixture(scope="module")
def longer(short):
    """The directory and the rows of the run of forty steps that goes on from it."""
    directory = short.parent / "longer"
    return directory, run(tiny(num_steps=40), directory, QUIET, start=short)


def assert_same_files(one, other):
    a, b = (read_weights(directory / "model.safetensors") for directory in (one, other))
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def without_seconds(rows):
    return [{**row, "seconds": 0} for row in rows]


def test_with_the_same_learning_rate_it_is_the_run_of_all_the_steps(short, longer, tmp_path):
    directory, rows = longer
    whole = run(tiny(num_steps=40), tmp_path / "whole", QUIET)
    assert without_seconds(rows) == without_seconds(whole)
    assert_same_files(directory, tmp_path / "whole")
    assert lines(short) + lines(directory) == lines(tmp_path / "whole")
    moved = load(directory).per_datapoint["test/diagonal/elbo_amortized"]
    assert np.abs(moved - load(short).per_datapoint["test/diagonal/elbo_amortized"]).max() > 0.1


def test_its_config_says_where_it_started(short, longer, capsys):
    directory, rows = longer
    said = json.loads((directory / "config.json").read_text())["from"]
    (manifest,) = (short / "checkpoints" / "train" / "20").rglob("manifest/metadata")
    assert said == {"run": str(short), "step": 20, "sha256": json.loads(manifest.read_text())["sha256"]}
    assert "from" not in json.loads((short / "config.json").read_text())
    with pytest.raises(DirectoryError, match=r"belongs to .* \(config.from is "):
        run(tiny(num_steps=40), directory, QUIET)
    capsys.readouterr()
    assert run(tiny(num_steps=40), directory, QUIET, start=str(short)) == rows
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("chunks", [0, 1])
def test_a_killed_one_goes_on_to_the_same_result(chunks, short, longer, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        killed_after(chunks, patch)
        with pytest.raises(Killed):
            run(tiny(num_steps=40), tmp_path / "run", QUIET, start=short)
    rows = run(tiny(num_steps=40), tmp_path / "run", QUIET, start=short)
    assert without_seconds(rows) == without_seconds(longer[1])
    assert_same_files(tmp_path / "run", longer[0])


def test_another_schedule_and_another_end_are_taken(short, longer, tmp_path):
    config = tiny(num_steps=60, chunk_size=5, stop_after=1, keep_best="validation_elbo")
    config.train.optimizer.update({"schedule": "cosine", "learning_rate": 0.03})
    run(config, tmp_path / "run", QUIET, start=short)
    # A validation ELBO of twenty steps is not known to it, and the first of its own is a gain.
    (said,) = json.loads((tmp_path / "run" / "gap.json").read_text())["training"]
    assert said == {"stage": "train", "last_step": 40, "measured_step": 30, "ended_by": "stop_after"}
    # One that itself went on from another.
    run(tiny(num_steps=50), tmp_path / "again", QUIET, start=longer[0])
    assert load(tmp_path / "again").config["from"].step == 40


def changed(config, **settings):
    config.update_from_flattened_dict(settings)
    return config


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model.latent_dim": 5}, r"another config \(config.model.latent_dim is 10 there and 5 here\): only"),
        ({"train.batch_size": 10, "seed": 3}, r"\(config.seed is 0 there and 3 here; ...\)"),
        ({"train.optimizer.b1": 0.5}, r"config.train.optimizer.b1 is 0.9 there and 0.5 here"),
        ({"train.num_steps": 20}, r"--config.train.num_steps=20: .* was trained for 20 steps; ask for more"),
    ],
)
def test_another_config_is_refused_by_the_name_of_what_differs(settings, says, short, tmp_path):
    config = changed(tiny(num_steps=40), **settings)
    refused(config, tmp_path / "run", short, says)


def refused(config, directory, start, says):
    before = set(directory.rglob("*")) if directory.exists() else None
    with pytest.raises(ConfigError, match=says) as caught:
        run(config, directory, QUIET, start=start)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("--")
    assert before == (set(directory.rglob("*")) if directory.exists() else None)


def test_what_is_no_finished_run_is_refused_in_one_line(short, tmp_path):
    config, here = tiny(num_steps=40), tmp_path / "run"
    refused(config, here, tmp_path / "nowhere", "--from: .*nowhere holds no config.json")
    refused(config, short, short, "is the --workdir: a finished run is trained on in another one")
    refused(config, short, f"{short}/../short", "is the --workdir")
    refused(config, here, "gs://bucket/run", "is the address of a bucket")
    begun = shutil.copytree(short, tmp_path / "begun")
    (begun / "gap.json").unlink()
    refused(config, here, begun, "--from: .*begun is unfinished")
    bare = shutil.copytree(short, tmp_path / "bare")
    shutil.rmtree(bare / "checkpoints")
    with pytest.raises(RuntimeError, match=r"no checkpoint in .*bare/checkpoints/train can be read"):
        run(config, here, QUIET, start=bare)
    swept = tmp_path / "swept" / "config.json"
    swept.parent.mkdir()
    swept.write_text(json.dumps({"sweep": {}}))
    refused(config, here, swept.parent, "--from: .*swept is a sweep: take one of its runs")


def test_other_data_are_refused_and_other_versions_have_to_be_said(short, tmp_path):
    other = shutil.copytree(short, tmp_path / "other")
    kept = json.loads((other / "data.json").read_text())
    kept["splits"]["train"]["x"] = "another"
    (other / "data.json").write_text(json.dumps(kept))
    refused(tiny(num_steps=40), tmp_path / "run", other, r"was trained on other data \(x in train changed\)")
    old = shutil.copytree(short, tmp_path / "old")
    made_with = json.loads((old / "versions.json").read_text())
    made_with[0]["jax"] = "0.0.1"
    (old / "versions.json").write_text(json.dumps(made_with))
    with pytest.raises(DirectoryError, match=r"under other versions \(jax 0.0.1 there"):
        run(tiny(num_steps=40), tmp_path / "run", QUIET, start=old)
    run(tiny(num_steps=40), tmp_path / "run", QUIET, start=old, across_versions=True)
    versions = json.loads((tmp_path / "run" / "gap.json").read_text())["versions"]
    assert [each["jax"] == "0.0.1" for each in versions] == [True, False]


def test_a_run_that_has_begun_does_without_its_origin(longer, tmp_path):
    directory, rows = longer
    moved = shutil.copytree(directory, tmp_path / "moved")
    text = (moved / "config.json").read_text()
    said = json.loads(text)["from"]["run"]
    (moved / "config.json").write_text(text.replace(said, "gone"))
    assert run(tiny(num_steps=40), moved, QUIET, start="gone") == rows
