"""A whole run: what its directory holds, that nothing is done twice, and what it refuses."""

import importlib
import io
import json
import math
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments import digits_gap, linear_gaussian
from tests.config.test_experiment import EXPERIMENTS, images_at_hand  # noqa: F401
from tests.support.events import scalars, shown
from vaelab import report
from vaelab.errors import ConfigError
from vaelab.measure import gap
from vaelab.measure import stages as measure
from vaelab.runs.overwrite import WRITTEN
from vaelab.runs.run import run
from vaelab.runtime.checkpoint import CheckpointError
from vaelab.training import loop as train_loop


def quiet_run(config, workdir):
    return run(config, str(workdir), Console(quiet=True))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One uninterrupted smoke run of the default experiment."""
    workdir = tmp_path_factory.mktemp("run") / "digits"
    rows = quiet_run(digits_gap.get_config("smoke"), workdir)
    return workdir, rows


def test_the_directory_holds_what_the_design_says(finished):
    workdir, rows = finished
    names = ("config.json", "metrics.jsonl", "gap.json", "per_datapoint.npz", "gaps.png", "images.png")
    for name in (*names, "interpolation.png", "report.html"):
        assert (workdir / name).stat().st_size > 0, name
    active = rows[0]["diagnostics"]["active_units"]["by_variance"]["count"]
    assert (workdir / "traversals.png").exists() == (active > 0)
    assert json.loads((workdir / "gap.json").read_text())["rows"] == rows
    assert [(row["split"], row["family"]) for row in rows] == [("test", "diagonal"), ("test", "full")]
    assert not list(workdir.rglob("*.partial"))
    assert not [path.name for path in workdir.iterdir() if not WRITTEN.fullmatch(path.name)]
    made_with = json.loads((workdir / "versions.json").read_text())
    assert json.loads((workdir / "gap.json").read_text())["versions"] == made_with
    assert [each["jax"] for each in made_with] == [jax.__version__]


def test_tensorboard_has_what_the_run_has(finished):
    assert_events_are_those_of(finished[0])


def test_the_page_has_every_part_and_three_pictures_of_each_of_the_worst(finished):
    workdir, rows = finished
    page = (workdir / "report.html").read_text()
    for heading in (
        "Worst datapoints",
        "Encoder against optimum",
        "What the model makes of z",
        "Learning curves",
        "Command",
        "Versions",
    ):
        assert f">{heading}<" in page
    drawn = rows[0]["diagnostics"]["active_units"]["by_variance"]["count"]
    of_gallery = 3 + 1 + 4 + min(drawn, 10)
    assert page.count("<img ") == 3 * 8 * len(rows) + of_gallery
    assert "config.train.num_steps" in page


def test_what_shares_a_run_is_made_by_one_worker():
    """Fixtures are those of a file: in any other division of the tests every worker makes each run again."""
    recipes = (Path(__file__).parents[2] / "Makefile").read_text()
    commands = [line for line in recipes.splitlines() if "pytest -n 2" in line and "not slow" not in line]
    assert commands
    assert all("--dist=loadfile" in line for line in commands)


def test_rows_are_the_statistics_of_the_datapoints(finished):
    workdir, rows = finished
    arrays = np.load(workdir / "per_datapoint.npz")
    for row in rows:
        prefix = f"{row['split']}/{row['family']}/"
        measured = gap.Gap(
            arrays[prefix + "elbo_amortized"], arrays[prefix + "elbo_optimal"], arrays["test/log_evidence"]
        )
        differences = measured.elbo_optimal.astype(np.float64) - measured.elbo_amortized
        # float32 subtraction against float64: rounding of bounds near -30.
        assert row["amortization_gap"]["mean"] == pytest.approx(differences.mean(), abs=1e-5)
        assert row["amortization_gap"]["stderr"] == pytest.approx(
            differences.std(ddof=1) / math.sqrt(len(differences)), rel=1e-3
        )
        total = row["amortization_gap"]["mean"] + row["approximation_gap"]["mean"]
        assert row["inference_gap"]["mean"] == pytest.approx(total, abs=1e-4)
        assert row["num_points"] == len(differences)
        assert row["num_unconverged"] == (~arrays[prefix + "converged"]).sum()
        assert row["num_negative"] == (measured.amortization < 0).sum()
        assert row["log_evidence"]["bias"] == "lower"


def test_a_finished_run_is_not_done_again(finished, monkeypatch):
    workdir, rows = finished
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}
    monkeypatch.setattr(train_loop, "train_chunk", None)
    monkeypatch.setattr(measure, "fit_runs", None)
    assert quiet_run(digits_gap.get_config("smoke"), workdir) == rows
    assert before == {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}


class Killed(Exception):
    pass


@pytest.mark.parametrize("stage", ["train", "refit", "inference", "evidence"])
def test_a_run_stopped_in_any_stage_goes_on_to_the_same_result(stage, finished, tmp_path, monkeypatch):
    uninterrupted, rows = finished

    def stop(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        if stage in ("train", "refit"):
            chunks = [train_loop.train_chunk] * (1 if stage == "train" else 2)

            def chunk(*args, **kwargs):
                return (chunks.pop() if chunks else stop)(*args, **kwargs)

            patch.setattr(train_loop, "train_chunk", chunk)
        else:
            module, name = (measure, "fit_runs") if stage == "inference" else (measure, "weigh_runs")
            patch.setattr(module, name, stop)
        with pytest.raises(Killed):
            quiet_run(digits_gap.get_config("smoke"), tmp_path / "run")
    resumed = quiet_run(digits_gap.get_config("smoke"), tmp_path / "run")
    for row, again in zip(rows, resumed, strict=True):
        assert {**row, "seconds": 0} == {**again, "seconds": 0}
    assert metric_lines(uninterrupted) == metric_lines(tmp_path / "run")
    assert_events_are_those_of(tmp_path / "run")


def test_a_damaged_checkpoint_falls_back_to_the_last_good_one_and_says_so(
    finished, tmp_path, monkeypatch, capsys
):
    _, rows = finished
    workdir = tmp_path / "run"
    with monkeypatch.context() as patch:

        def stop(*_, **__):
            raise Killed

        patch.setattr(measure, "fit_runs", stop)
        with pytest.raises(Killed):
            quiet_run(digits_gap.get_config("smoke"), workdir)
    newest = workdir / "checkpoints" / "train" / "40"
    data = max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    resumed = quiet_run(digits_gap.get_config("smoke"), workdir)
    for row, again in zip(rows, resumed, strict=True):
        assert {**row, "seconds": 0} == {**again, "seconds": 0}
    message = capsys.readouterr().err
    assert "40" in message
    assert "20" in message
    assert len(message.strip().splitlines()) == 1
    assert list((workdir / "checkpoints" / "train").glob("damaged-40*"))


@pytest.mark.parametrize(
    "name", ["gap.json", "stages/inference_test_full_0.npz", "stages/evidence_test_0.npz"]
)
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_result_is_set_aside_and_made_anew(name, damage, finished, tmp_path):
    original, rows = finished
    workdir = shutil.copytree(original, tmp_path / "run")
    content = bytearray((workdir / name).read_bytes())
    # Of an archive a byte of the first array; elsewhere in it there are bytes that nothing reads.
    place = content.index(b"NUMPY") + 130 if name.endswith(".npz") else len(content) // 2
    content[place] ^= 0xFF
    (workdir / name).write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    if name != "gap.json":
        (workdir / "gap.json").unlink()
    console = Console(file=io.StringIO(), width=200)
    resumed = run(digits_gap.get_config("smoke"), str(workdir), console)
    for row, again in zip(rows, resumed, strict=True):
        assert {**row, "seconds": 0} == {**again, "seconds": 0}
    damaged = (workdir / name).with_name("damaged-" + name.split("/")[-1])
    assert f"kept as {damaged.name} and made anew" in console.file.getvalue()
    assert damaged.exists()


@pytest.mark.parametrize("content", [b'{"seed": ', b"\xff\xfe"])
def test_a_damaged_config_is_refused(content, tmp_path):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"config\.json is damaged: take another --workdir"):
        quiet_run(digits_gap.get_config("smoke"), tmp_path)
    assert (tmp_path / "config.json").read_bytes() == content


def test_a_broken_order_is_said_again_by_a_finished_run(finished, tmp_path):
    workdir = shutil.copytree(finished[0], tmp_path / "run")
    content = json.loads((workdir / "gap.json").read_text())
    content["rows"][0]["broken_orders"] = ["a exceeds b by 1.0"]
    (workdir / "gap.json").write_text(json.dumps(content))
    console = Console(file=io.StringIO(), width=200)
    run(digits_gap.get_config("smoke"), str(workdir), console)
    assert "order broken on test: a exceeds b by 1.0" in console.file.getvalue()


def test_a_smoke_run_says_that_its_figures_mean_nothing(finished):
    workdir, rows = finished
    assert json.loads((workdir / "gap.json").read_text())["smoke"] is True
    console = Console(file=io.StringIO(), width=200)
    run(digits_gap.get_config("smoke"), str(workdir), console)
    console.print(
        report.plain_table("of a study", [{"one quantity": 1.0, "its standard error": 0.1}], smoke=True)
    )
    assert console.file.getvalue().count("smoke: these figures mean nothing") == 2
    with console.capture() as captured:
        console.print(report.gap_table(rows))
    assert "smoke" not in captured.get()


def metric_lines(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{**line, "seconds": 0} for line in lines]


def assert_events_are_those_of(workdir):
    """What TensorBoard shows of a run is its metrics.jsonl and its gap.json, in float32, and its plots."""
    of_stage = {}
    for line in (workdir / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        of_stage.setdefault(row.pop("stage"), []).append(
            (row.pop("step"), {name: np.float32(value) for name, value in row.items()})
        )
    tensorboard = workdir / "tensorboard"
    assert {path.name for path in tensorboard.iterdir()} == {*of_stage, "results"}
    for stage, expected in of_stage.items():
        assert scalars(tensorboard / stage) == expected
    ((step, values),) = shown(tensorboard / "results")
    assert step == of_stage["train"][-1][0]
    for row in json.loads((workdir / "gap.json").read_text())["rows"]:
        for quantity in report.MEASURED:
            tag = f"{row['split']}/{row['family']}/{quantity}"
            assert values[tag].simple_value == np.float32(row[quantity]["mean"])
            assert values[f"{tag}_stderr"].simple_value == np.float32(row[quantity]["stderr"])
    for name in ("gaps", "images"):
        assert values[name].image.encoded_image_string == (workdir / f"{name}.png").read_bytes()


def test_metrics_have_a_line_for_each_chunk_and_name_the_bound_elbo(finished):
    lines = metric_lines(finished[0])
    assert [(line["stage"], line["step"]) for line in lines] == [
        ("train", 20),
        ("train", 40),
        ("refit_full", 20),
    ]
    assert all(line["elbo"] < 0 and line["validation_elbo"] < 0 for line in lines)


def test_another_objective_is_not_called_elbo(tmp_path):
    config = digits_gap.get_config("smoke")
    config.objective.update({"name": "iwae", "num_samples": 4})
    config.inference.families = ("diagonal",)
    quiet_run(config, tmp_path / "run")
    assert all("iwae" in line and "elbo" not in line for line in metric_lines(tmp_path / "run"))


def test_another_config_is_refused_and_nothing_is_overwritten(finished):
    workdir, _ = finished
    before = (workdir / "config.json").read_bytes()
    config = digits_gap.get_config("smoke")
    config.train.batch_size = 50
    with pytest.raises(
        ConfigError, match=r"config.train.batch_size is 100 there and 50 here.*another --workdir"
    ):
        quiet_run(config, workdir)
    assert (workdir / "config.json").read_bytes() == before


def test_a_wrong_value_is_said_before_that_the_directory_is_anothers(finished):
    workdir, _ = finished
    config = digits_gap.get_config("smoke")
    config.train.optimizer.learning_rate = -1.0
    with pytest.raises(ConfigError, match=r"learning_rate=-1\.0: must be"):
        quiet_run(config, workdir)


def test_results_without_a_config_are_refused(tmp_path):
    (tmp_path / "gap.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"no config.json: take another --workdir"):
        quiet_run(digits_gap.get_config("smoke"), tmp_path)
    assert (tmp_path / "gap.json").read_text() == "{}"


@pytest.mark.parametrize("start", ["encoder", pytest.param("prior", marks=pytest.mark.slow)])
def test_linear_gaussian_gaps_are_their_closed_forms_and_in_order(start, tmp_path):
    config = linear_gaussian.get_config()
    config.inference.start = start
    for row in quiet_run(config, tmp_path / "run"):
        for quantity, closed_form in row["exact"].items():
            # Both are means over the same datapoints: the spread between datapoints, which is nearly all of
            # the row's standard error, cancels, and what is left is well below 0.005 nats.
            error = abs(row[quantity]["mean"] - closed_form["mean"])
            assert error < 5 * row[quantity]["stderr"] + 1e-4, quantity
            if quantity.endswith("gap"):
                assert error < 0.005, quantity
        assert row["broken_orders"] == []


def smoke(experiment):
    return importlib.import_module(f"experiments.{experiment}").get_config("smoke")


QUICK = ("reparameterization", "mnist_gap")  # a study and a run; the others are more of each kind


# Sweeps have tests of their own; their smokes are `make studies-smoke`.
@pytest.mark.parametrize(
    "experiment",
    [
        pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])
        for name in EXPERIMENTS
        if name != "digits_gap" and "sweep" not in smoke(name)
    ],
)
def test_every_experiments_smoke_runs(experiment, tmp_path, images_at_hand):  # noqa: F811
    config = smoke(experiment)
    rows = quiet_run(config, tmp_path / experiment)
    for row in rows:
        assert row["log_evidence"]["mean"] < 0
        # The full family holds the posterior of linear_gaussian: its gap is zero but for the draws.
        for name in ("approximation_gap", "inference_gap"):
            if row[name] is not None:
                assert row[name]["mean"] > -5 * row[name]["stderr"]


@pytest.fixture(scope="module")
def in_blocks(tmp_path_factory):
    """Simulated and corrupted datapoints, an estimator with moves, and stages kept in blocks."""
    config = digits_gap.get_config("smoke")
    config.evaluate.splits = ("simulated", "corrupted")
    config.evaluate.points_per_save = 6
    config.evidence.estimator = "annealing"
    config.inference.families = ("diagonal",)
    workdir = tmp_path_factory.mktemp("blocks") / "run"
    return config, workdir, quiet_run(config, workdir)


def test_simulated_and_corrupted_points_have_rows_and_simulated_ones_both_bounds(in_blocks):
    _, workdir, rows = in_blocks
    simulated, corrupted = rows
    assert (simulated["split"], corrupted["split"]) == ("simulated", "corrupted")
    assert simulated["num_points"] == corrupted["num_points"] == 16
    both = simulated["two_sided"]
    assert both["width"]["mean"] == pytest.approx(both["upper"]["mean"] - both["lower"]["mean"], abs=1e-4)
    assert both["planned_temperatures"] is None or both["planned_temperatures"] >= 1
    assert 0.0 <= simulated["calibration"]["p_value"] <= 1.0
    assert "two_sided" not in corrupted
    assert simulated["log_evidence"]["estimator"] == "annealing from diagonal"
    arrays = np.load(workdir / "per_datapoint.npz")
    assert np.all(arrays["simulated/acceptance"] > 0.0)
    assert arrays["simulated/index"].min() >= 2**30
    assert len(list((workdir / "stages").glob("evidence_simulated_*.npz"))) == 3


def test_a_run_killed_between_blocks_goes_on_at_the_next_with_the_same_result(
    in_blocks, tmp_path, monkeypatch
):
    config, uninterrupted, rows = in_blocks
    workdir = tmp_path / "run"
    with monkeypatch.context() as patch:
        calls, estimate = [], measure.weigh_runs

        def twice(*arguments, **settings):
            calls.append(1)
            if len(calls) > 2:
                raise Killed
            return estimate(*arguments, **settings)

        patch.setattr(measure, "weigh_runs", twice)
        with pytest.raises(Killed):
            quiet_run(config, workdir)
    kept = sorted((workdir / "stages").glob("evidence_simulated_*.npz"))
    assert [path.name for path in kept] == ["evidence_simulated_0.npz", "evidence_simulated_6.npz"]
    before = [path.stat().st_mtime_ns for path in kept]
    resumed = quiet_run(config, workdir)
    assert before == [path.stat().st_mtime_ns for path in kept]
    for row, again in zip(rows, resumed, strict=True):
        assert {**row, "seconds": 0} == {**again, "seconds": 0}
    one, other = (np.load(path / "per_datapoint.npz") for path in (uninterrupted, workdir))
    for name in one.files:
        np.testing.assert_array_equal(one[name], other[name])


def test_a_datapoint_without_an_estimate_or_a_move_is_named_and_the_rest_kept(
    in_blocks, tmp_path, monkeypatch
):
    config, uninterrupted, _ = in_blocks
    estimate = measure.weigh_runs

    def broken(*arguments, **settings):
        (evidence,) = jax.tree.map(np.copy, estimate(*arguments, **settings))
        evidence.log_evidence[1], evidence.acceptance[2] = -np.inf, 0.0
        return [evidence]

    monkeypatch.setattr(measure, "weigh_runs", broken)
    console = Console(file=io.StringIO(), width=200)
    found = run(config, str(tmp_path / "run"), console)
    printed = console.file.getvalue()
    first = 2**30
    assert (
        f"log p(x) (annealing from diagonal) is not finite at 3 of 16 datapoints, index {first + 1} first"
        in printed
    )
    assert (
        f"no move was accepted (annealing from diagonal) at 3 of 16 datapoints, index {first + 2} first"
        in printed
    )
    arrays = np.load(tmp_path / "run" / "per_datapoint.npz")
    whole = np.load(uninterrupted / "per_datapoint.npz")
    for name in ("simulated/diagonal/elbo_optimal", "simulated/diagonal/elbo_amortized"):
        np.testing.assert_array_equal(arrays[name], whole[name])
    assert found[0]["num_left_out"] == 3
    assert math.isfinite(found[0]["approximation_gap"]["mean"])
    assert np.isfinite(arrays["simulated/log_evidence"]).sum() == 13


@pytest.mark.parametrize("regime", ["mean_field", pytest.param("semi_amortized", marks=pytest.mark.slow)])
def test_a_regime_runs_and_says_what_gave_phi(regime, tmp_path):
    config = digits_gap.get_config("smoke")
    config.data.observe = "once"
    config.learning.regime = regime
    config.inference.families = ("diagonal",)
    config.evaluate.splits = ("train", "test")
    config.evaluate.inference_times = (1, 5)
    train_row, test_row = quiet_run(config, tmp_path / "run")
    by = ("table", "encoder") if regime == "mean_field" else ("encoder and steps",) * 2
    assert (train_row["amortized_by"], test_row["amortized_by"]) == by
    timed = json.loads((tmp_path / "run" / "stages" / "inference_time.json").read_text())
    assert [(row["start"], row["num_steps"]) for row in timed] == [
        ("encoder", 0),
        ("encoder", 1),
        ("encoder", 5),
        ("prior", 1),
        ("prior", 5),
    ]
    assert timed[2]["gained"]["mean"] > 0.0
    # The first is the encoder alone, in semi-amortized learning too.
    if regime == "semi_amortized":
        assert test_row["elbo_amortized"]["mean"] > timed[0]["elbo"]["mean"] + 1.0
    assert (tmp_path / "run" / "inference_time.png").stat().st_size > 1000


@pytest.mark.parametrize(("key", "value"), [("learning.regime", "amortized"), ("data.num_train", 300)])
def test_a_checkpoint_of_another_regime_or_number_of_rows_is_refused(key, value, tmp_path, monkeypatch):
    config = digits_gap.get_config("smoke")
    config.update_from_flattened_dict(
        {"data.observe": "once", "learning.regime": "mean_field", "inference.families": ("diagonal",)}
    )
    with monkeypatch.context() as patch:

        def stop(*_, **__):
            raise Killed

        patch.setattr(measure, "fit_runs", stop)
        with pytest.raises(Killed):
            quiet_run(config, tmp_path / "one")
    config.update_from_flattened_dict({key: value})
    shutil.copytree(tmp_path / "one" / "checkpoints", tmp_path / "other" / "checkpoints")
    (tmp_path / "other" / "config.json").write_text(
        config.to_json_best_effort(indent=2, sort_keys=True) + "\n"
    )
    with pytest.raises(CheckpointError, match="does not fit this configuration") as caught:
        quiet_run(config, tmp_path / "other")
    assert "\n" not in str(caught.value)
