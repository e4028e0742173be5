"""Sweeps: what runs there are, that a run among others is the run alone, and what they say together."""

import csv
import io
import json
import math
import shutil

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments import defaults, digits_gap
from tests.support.rows import run_row
from tests.support.training import fit_alone, whatever_the_numbers
from tests.training.test_loop import BATCH, INDEX, make_system
from vaelab import report
from vaelab.config.experiment import build
from vaelab.config.sweep import Point, read_sweep
from vaelab.errors import ConfigError
from vaelab.measure import fit as local_fit
from vaelab.measure import stages
from vaelab.runs import run as run_module
from vaelab.runs import sweep, sweep_rows
from vaelab.runs import training as train_stage
from vaelab.runs.run import run
from vaelab.runtime import devices as parallel
from vaelab.training import loop as train_loop
from vaelab.training import step as train


def swept(*axes, num_seeds=2, **changes):
    """A smoke run of the digits, diagonal family alone, under a sweep."""
    config = digits_gap.get_config("smoke")
    config.inference.families = ("diagonal",)
    config.refit.num_steps = 0
    config.update_from_flattened_dict(changes)
    config.sweep = defaults.sweep(*axes, num_seeds=num_seeds)
    return config


def test_axes_are_combined_and_settings_of_one_axis_go_together():
    config = swept(
        ("encoder.hidden", ((), (20, 20))),
        (("train.num_steps", "train.optimizer.learning_rate"), ((40, 1e-3), (80, 2e-3), (120, 3e-3))),
        num_seeds=3,
        seed=7,
    )
    found = read_sweep(config).points
    assert len(found) == 6
    assert [len(point.configs) for point in found] == [3] * 6
    assert [c.seed for c in found[0].configs] == [7, 8, 9]
    last = found[-1]
    assert last.settings == {
        "encoder.hidden": (20, 20),
        "train.num_steps": 120,
        "train.optimizer.learning_rate": 3e-3,
    }
    for config in last.configs:
        assert config.encoder.hidden == (20, 20)
        assert (config.train.num_steps, config.train.optimizer.learning_rate) == (120, 3e-3)
        assert "sweep" not in config
    assert last.name == "hidden=20x20,num_steps=120,learning_rate=0.003"
    assert found[0].name == "hidden=none,num_steps=40,learning_rate=0.001"
    assert len({point.name for point in found}) == 6


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        (("encoder.hiden", ((),)), "no setting 'encoder.hiden'; did you mean 'encoder.hidden'"),
        (("encoder.hidden.width", (1,)), "no setting 'encoder.hidden.width'"),
        ((("seed", "train.num_steps"), ((1, 2),)), "sweep.num_seeds"),
        ((("encoder.hidden", "train.num_steps"), (((), 40), ((),))), "has 1 values for the 2"),
        (("encoder.hidden", ()), "not a pair"),
        (("train.num_steps", (40, 40)), "a place twice"),
        (("train.num_steps", ("many",)), "train.num_steps cannot be 'many': it is of type int"),
    ],
)
def test_an_axis_that_cannot_be_is_one_clear_line(axis, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read_sweep(swept(axis))
    assert "\n" not in str(caught.value)


def test_places_that_differ_in_numbers_alone_are_one_program():
    rates, warmups = (1e-3, 2e-3), (0, 10, 20)
    config = swept(
        ("train.optimizer.learning_rate", rates),
        ("encoder.hidden", ((10,), (20,))),
        ("objective.warmup_steps", warmups),
        **{"objective.name": "beta_elbo"},
    )
    found = read_sweep(config)
    assert len(found.points) == 12
    programs = [
        {(p.settings["encoder.hidden"], p.settings["objective.warmup_steps"] > 0) for p in members}
        for members in ([found.points[i] for i in program] for program in found.programs)
    ]
    # A program for each width, with a warm-up and without one.
    assert sorted(map(list, programs)) == [[((w,), on)] for w in (10, 20) for on in (False, True)]
    assert sorted(i for program in found.programs for i in program) == list(range(12))
    config.sweep.one_program = ("objective.warmup_steps",)
    assert len(read_sweep(config).programs) == 8


@pytest.mark.parametrize(
    ("one_program", "message"),
    [
        (("model.latent_dim",), "'model.latent_dim' changes shapes, or the program itself: leave it out"),
        (("objective.beta",), "'objective.beta' is not an axis of the sweep"),
        ("auto", "must be a tuple"),
    ],
)
def test_what_cannot_be_one_program_is_one_clear_line(one_program, message):
    config = swept(("model.latent_dim", (2, 3)))
    with config.unlocked(), config.sweep.ignore_type():
        config.sweep.one_program = one_program
    with pytest.raises(ConfigError, match=message):
        read_sweep(config)


@pytest.mark.slow
def test_a_run_under_its_own_numbers_is_the_run_alone(tmp_path, monkeypatch):
    """Two rates and two tolerances as one program, two runs at a time; the rates make the difference."""
    config = swept(
        (
            ("train.optimizer.learning_rate", "inference.tolerance"),
            ((1e-3, 0.05), (3e-3, 10.0), (1e-2, 0.05)),
        ),
        num_seeds=1,
    )
    own = read_sweep(config).points[0].configs[0]
    first = train_stage.Run("", None, own, build(own))
    config.sweep.memory_bytes = 2 * train_stage.bytes_of_run(first)
    original, at_once = train_loop.train_chunk, []

    def counted(states, *arguments, **settings):
        at_once.append(np.size(states.step))
        return original(states, *arguments, **settings)

    monkeypatch.setattr(train_loop, "train_chunk", counted)
    rows = sweep.run_sweep(config, str(tmp_path / "sweep"), Console(quiet=True))
    assert set(at_once) == {2, 1}  # and the third alone
    assert rows[1]["num_unconverged"] == 0 < rows[0]["num_unconverged"]
    point = read_sweep(config).points[2]
    (alone,) = run(point.configs[0], str(tmp_path / "alone"), Console(quiet=True))
    # Another program for the same steps: rounding, which Adam makes steps of one size of.
    own, first = (abs(rows[i]["elbo_optimal"]["mean"] - alone["elbo_optimal"]["mean"]) for i in (2, 0))
    assert own < 0.02
    assert first > 0.1


def test_what_is_wrong_with_any_point_is_said_before_the_first_begins(tmp_path):
    config = swept(("model.latent_dim", (2, -1)))
    with pytest.raises(ConfigError, match="latent_dim=-1"):
        sweep.run_sweep(config, str(tmp_path / "sweep"), Console(quiet=True))
    assert not (tmp_path / "sweep").exists()


@pytest.fixture(scope="module")
def swept_runs(tmp_path_factory):
    """(config, directory, rows) of a sweep over two encoders with two seeds."""
    config = swept(("encoder.hidden", ((10,), (20,))))
    workdir = tmp_path_factory.mktemp("sweep") / "sweep"
    return config, workdir, sweep.run_sweep(config, str(workdir), Console(quiet=True))


def test_a_run_of_a_sweep_is_the_run_alone(swept_runs, tmp_path):
    config, workdir, _ = swept_runs
    point = read_sweep(config).points[1]
    alone = run(point.configs[1], str(tmp_path / "alone"), Console(quiet=True))
    among = json.loads((workdir / point.name / "seed=1" / "gap.json").read_text())["rows"]
    for one, other in zip(alone, among, strict=True):
        for quantity in ("elbo_amortized", "elbo_optimal", "log_evidence"):
            # Another program for the same 40 steps of Adam, which makes steps of one size of gradients that
            # are rounding alone: 40 steps of 1e-3 in such weights.
            assert one[quantity]["mean"] == pytest.approx(other[quantity]["mean"], abs=2e-2)
    # Its directory is that of an ordinary run.
    again = run(point.configs[1], str(workdir / point.name / "seed=1"), Console(quiet=True))
    assert again == among


def fits_of(monkeypatch):
    """How many runs each fit of a block was for."""
    counts, original = [], stages.fit_runs

    def counted(model, family, settings, problems, **arguments):
        counts.append(len(problems))
        return original(model, family, settings, problems, **arguments)

    monkeypatch.setattr(stages, "fit_runs", counted)
    return counts


def evidence_of(monkeypatch):
    """How many runs each estimate of the evidence of a block was for."""
    counts, original = [], stages.weigh_runs

    def counted(model, estimator, runs, **arguments):
        counts.append(len(runs))
        return original(model, estimator, runs, **arguments)

    monkeypatch.setattr(stages, "weigh_runs", counted)
    return counts


def test_runs_are_measured_together_block_by_block_and_not_twice(tmp_path, monkeypatch):
    config = swept(("encoder.hidden", ((10,),)), num_seeds=3)
    config.evaluate.points_per_save = config.evaluate.max_points // 2
    found, weighed = fits_of(monkeypatch), evidence_of(monkeypatch)
    (row,) = sweep.run_sweep(config, str(tmp_path / "whole"), Console(quiet=True))
    assert found == weighed == [3, 3]

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "_write_results", stop)
        with pytest.raises(KeyboardInterrupt):
            sweep.run_sweep(config, str(tmp_path / "again"), Console(quiet=True))
    blocks = {path.name: path for path in (tmp_path / "again").glob("*/seed=0/stages/inference_*")}
    assert len(blocks) == 2
    for path in blocks.values():
        path.unlink()
    next((tmp_path / "again").glob("*/seed=2/stages/inference_*_0.npz")).unlink()
    next((tmp_path / "again").glob("*/seed=1/stages/evidence_*_0.npz")).unlink()
    found.clear(), weighed.clear()
    (resumed,) = sweep.run_sweep(config, str(tmp_path / "again"), Console(quiet=True))
    assert found == [2, 1]  # the block that two lack together, the other by the one that lacks it
    assert weighed == [1]
    assert resumed["elbo_optimal"]["mean"] == pytest.approx(row["elbo_optimal"]["mean"], abs=1e-4)


def test_runs_that_do_not_fit_the_memory_together_are_fitted_alone(tmp_path, monkeypatch):
    config = swept(("encoder.hidden", ((10,),)), num_seeds=2)
    found = fits_of(monkeypatch)
    original = parallel.rows_at_a_time

    def none_for_several(function, shared, rows, *arguments, **settings):
        if len(rows) > 1:
            raise parallel.DoesNotFit("one datapoint of 2 runs takes more")
        return original(function, shared, rows, *arguments, **settings)

    monkeypatch.setattr(local_fit, "rows_at_a_time", none_for_several)
    (row,) = sweep.run_sweep(config, str(tmp_path), Console(quiet=True))
    assert found == [2, 1, 1]
    assert row["num_seeds"] == 2


def test_rows_are_means_over_seeds_with_their_error(swept_runs):
    config, workdir, rows = swept_runs
    assert [row["settings"]["encoder.hidden"] for row in rows] == ["10", "20"]
    for point, row in zip(read_sweep(config).points, rows, strict=True):
        runs = [
            json.loads((workdir / point.name / f"seed={seed}" / "gap.json").read_text())["rows"][0]
            for seed in (0, 1)
        ]
        values = [r["amortization_gap"]["mean"] for r in runs]
        assert values[0] != values[1]
        assert row["amortization_gap"]["mean"] == pytest.approx(np.mean(values))
        assert row["amortization_gap"]["stderr"] == pytest.approx(np.std(values, ddof=1) / math.sqrt(2))
        assert row["num_seeds"] == 2
        assert row["failed"] == []
    with (workdir / "sweep.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [float(line["amortization_gap"]) for line in table] == [
        row["amortization_gap"]["mean"] for row in rows
    ]
    for count in ("num_seeds", "num_points", "num_unconverged", "num_broken_orders"):
        assert [int(line[count]) for line in table] == [row[count] for row in rows]
    assert {line["num_failed"] for line in table} == {"0"}
    assert (workdir / "sweep.png").stat().st_size > 1000


def test_a_finished_sweep_is_not_done_again(swept_runs, monkeypatch):
    config, workdir, rows = swept_runs
    monkeypatch.setattr(sweep, "complete", None)
    assert sweep.run_sweep(config, str(workdir), Console(quiet=True)) == rows


def fit_all(systems_states, pixels, num_steps, **settings):
    system, states, keys = systems_states
    last = None
    for chunk in train_loop.fit(
        [train_loop.Start(*start) for start in zip(states, keys, range(len(states)), strict=True)],
        pixels,
        INDEX,
        system_of=whatever_the_numbers(system),
        num_steps=num_steps,
        batch_size=BATCH,
        chunk_size=4,
        **settings,
    ):
        last = chunk
    return last


@pytest.fixture(scope="module")
def three():
    system = make_system()
    states = [train.init_state(system, jax.random.key(seed)) for seed in range(3)]
    return system, states, [jax.random.key(10 + seed) for seed in range(3)]


PIXELS = np.random.RandomState(0).randint(0, 17, (len(INDEX), 12)).astype(np.uint8)


def test_trained_together_is_trained_alone(three):
    system, states, keys = three
    together = fit_all(three, PIXELS, 12)
    for seed, progress in enumerate(together):
        *_, alone = fit_alone(
            system,
            states[seed],
            PIXELS,
            INDEX,
            keys[seed],
            order_seed=seed,
            num_steps=12,
            batch_size=BATCH,
            chunk_size=4,
        )
        # Two programs for the same arithmetic: rounding only, over 12 steps of Adam.
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
            (alone.state.theta, alone.state.psi),
            (progress.state.theta, progress.state.psi),
        )
        np.testing.assert_allclose(alone.metrics.bound, progress.metrics.bound, rtol=1e-5)


def test_a_run_that_fails_is_named_and_the_others_go_on(three):
    system, states, keys = three
    poisoned = states[1]._replace(theta=jax.tree.map(lambda a: a * np.nan, states[1].theta))
    together = fit_all((system, [states[0], poisoned, states[2]], keys), PIXELS, 8)
    healthy = fit_all(three, PIXELS, 8)
    assert "not finite at step 1:" in together[1].failed
    for seed in (0, 2):
        assert together[seed].failed == ""
        jax.tree.map(np.testing.assert_array_equal, together[seed].state.theta, healthy[seed].state.theta)


def failing_at(monkeypatch, steps):
    """Makes each seed that has one meet a bound that is not finite at its step.

    Returns the runs of each program, told by the key of each, as `three` has them.
    """
    original, programs = train_loop.train_chunk, []

    def fail(states, rows, pixels, index, keys, numbers, **settings):
        runs = [int(jax.random.key_data(key)[-1]) - 10 for key in keys]
        start = np.asarray(states.step)
        states, metrics = original(states, rows, pixels, index, keys, numbers, **settings)
        bound = np.array(metrics.bound)
        for place, seed in enumerate(runs):
            if seed in steps and 0 <= steps[seed] - start[place] < bound.shape[1]:
                bound[place, steps[seed] - start[place]] = np.nan
        programs.append(runs)
        return states, metrics._replace(bound=bound)

    monkeypatch.setattr(train_loop, "train_chunk", fail)
    return programs


@pytest.fixture(scope="module")
def four(three):
    system, states, keys = three
    return system, [*states, train.init_state(system, jax.random.key(3))], [*keys, jax.random.key(13)]


def test_runs_that_fail_stay_as_they_were_and_leave_the_program(four, monkeypatch):
    healthy = {steps: fit_all(four, PIXELS, steps) for steps in (4, 20)}
    programs = failing_at(monkeypatch, {0: 5, 2: 10})
    together = fit_all(four, PIXELS, 20)
    assert programs == [[0, 1, 2, 3]] * 3 + [[1, 3]] * 2
    assert [bool(progress.failed) for progress in together] == [True, False, True, False]
    assert "at step 6:" in together[0].failed
    assert [int(progress.state.step) for progress in together] == [4, 20, 8, 20]
    jax.tree.map(np.testing.assert_array_equal, together[0].state, healthy[4][0].state)
    for seed in (1, 3):  # in another program from then on: rounding only, over 8 steps of Adam
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
            together[seed].state.theta,
            healthy[20][seed].state.theta,
        )


def test_it_ends_where_every_run_has_failed(four, monkeypatch):
    programs = failing_at(monkeypatch, {0: 1, 1: 6, 2: 2, 3: 7})
    together = fit_all(four, PIXELS, 400)
    assert programs == [[0, 1, 2, 3], [1, 3]]
    assert all(progress.failed for progress in together)


def test_a_seed_that_fails_is_marked_and_the_rest_is_reported(tmp_path, monkeypatch):
    config = swept(("encoder.hidden", ((10,),)), num_seeds=3)
    original = train_loop.train_chunk

    def poison(states, *arguments, **settings):
        states, metrics = original(states, *arguments, **settings)
        return states, metrics._replace(bound=metrics.bound.at[1].set(np.nan))

    monkeypatch.setattr(train_loop, "train_chunk", poison)
    (row,) = sweep.run_sweep(config, str(tmp_path / "sweep"), Console(quiet=True))
    assert row["num_seeds"] == 2
    assert len(row["failed"]) == 1
    assert "not finite at step 1" in row["failed"][0]
    assert math.isfinite(row["amortization_gap"]["stderr"])


def test_a_sweep_that_was_killed_goes_on_to_the_same_result(swept_runs, tmp_path, monkeypatch):
    config, _, rows = swept_runs
    workdir, original, calls = tmp_path / "sweep", train_loop.train_chunk, []

    def stop(*arguments, **settings):
        calls.append(1)
        if len(calls) == 4:  # in the middle of the second point
            raise KeyboardInterrupt
        return original(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(train_loop, "train_chunk", stop)
        with pytest.raises(KeyboardInterrupt):
            sweep.run_sweep(config, str(workdir), Console(quiet=True))
    console = Console(file=io.StringIO(), width=200)
    resumed = sweep.run_sweep(config, str(workdir), console)
    assert [r["amortization_gap"] for r in resumed] == [r["amortization_gap"] for r in rows]
    assert "program 2 of 2: hidden=20\n" in console.file.getvalue()
    assert "run 4 of 4: hidden=20, seed 1\n" in console.file.getvalue()


@pytest.mark.slow
def test_runs_killed_between_their_checkpoints_go_on_together_where_they_can(tmp_path, monkeypatch):
    config = swept(("encoder.hidden", ((10,),)), num_seeds=3)
    config.train.num_steps = 60
    (row,) = sweep.run_sweep(config, str(tmp_path / "whole"), Console(quiet=True))
    original, programs = train_loop.train_chunk, []

    def stop(states, *arguments, **settings):
        if int(states.step[0]) == 40:
            raise KeyboardInterrupt
        return original(states, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(train_loop, "train_chunk", stop)
        with pytest.raises(KeyboardInterrupt):
            sweep.run_sweep(config, str(tmp_path / "sweep"), Console(quiet=True))
    (first,) = (tmp_path / "sweep").glob("*/seed=0/checkpoints/train/40")
    shutil.rmtree(first)

    def counted(state, *arguments, **settings):
        programs.append(np.size(state.step))
        return original(state, *arguments, **settings)

    monkeypatch.setattr(train_loop, "train_chunk", counted)
    (resumed,) = sweep.run_sweep(config, str(tmp_path / "sweep"), Console(quiet=True))
    assert programs == [1, 1, 2]
    assert resumed["elbo_amortized"]["mean"] == pytest.approx(row["elbo_amortized"]["mean"], abs=1e-4)


def test_the_table_has_a_line_for_every_row(swept_runs):
    config, workdir, rows = swept_runs
    console = Console(width=200)
    with console.capture() as captured:
        sweep.run_sweep(config, str(workdir), console)
    text = captured.get()
    for row in rows:
        assert report.cell(row["amortization_gap"]) in text
    assert "smoke: these figures mean nothing" in text


@pytest.mark.slow
def test_a_sweep_goes_on_past_a_seed_that_fails_again(tmp_path, monkeypatch):
    """Killed after a seed has failed: the others are done, and it alone is where it was."""
    config = swept(("encoder.hidden", ((10,),)), num_seeds=2)
    original = train_loop.train_chunk

    def poison(states, *arguments, several, **settings):
        states, metrics = original(states, *arguments, several=several, **settings)
        bound = metrics.bound.at[1].set(np.nan) if several else metrics.bound * np.nan
        return states, metrics._replace(bound=bound)

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(train_loop, "train_chunk", poison)
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "_write_results", stop)
        with pytest.raises(KeyboardInterrupt):
            sweep.run_sweep(config, str(tmp_path / "sweep"), Console(quiet=True))
    (row,) = sweep.run_sweep(config, str(tmp_path / "sweep"), Console(quiet=True))
    assert row["num_seeds"] == 1
    assert "not finite at step" in row["failed"][0]


def test_an_order_that_is_broken_is_printed_with_the_settings_of_its_point():
    (row,) = sweep_rows.rows_of(
        Point("point", {"model.latent_dim": 3}, {}, ()), [[run_row("test", -20.0, broken=["b exceeds a"])]]
    )
    console = Console(width=150)
    with console.capture() as captured:
        sweep._show([row], console, smoke=False)
    assert "model.latent_dim=3: order broken on test: b exceeds a" in captured.get()
