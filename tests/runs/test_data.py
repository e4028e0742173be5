"""Runs on data of one's own: given from Python, larger than memory, and the same ones to the end."""

import functools
import io
import json
import shutil

import numpy as np
import pytest
from rich.console import Console

import vaelab
from experiments import defaults, digits_gap, encoder_capacity
from vaelab import data
from vaelab.config.experiment import build
from vaelab.errors import ConfigError
from vaelab.runs import sweep as sweep_module
from vaelab.runtime.later import LATER
from vaelab.training import batches

RANDOM = np.random.RandomState(0)
PIXELS = RANDOM.randint(0, 256, (150, 4, 5)).astype(np.uint8)
QUIET = Console(quiet=True)


def tiny(config=None, **changes):
    config = config or digits_gap.get_config("smoke")
    config.model.latent_dim, config.model.hidden, config.encoder.hidden = 2, (4,), (4,)
    config.inference.families, config.refit.num_steps = ("diagonal",), 0
    config.train.batch_size, config.evidence.num_samples, config.inference.max_rounds = 20, 100, 1
    config.data.update(changes)
    return config


class Pairs:
    """As a torch Dataset is: no list, and no array."""

    def __len__(self):
        return len(PIXELS)

    def __getitem__(self, i):
        if i >= len(self):
            raise IndexError(i)
        return PIXELS[i][None] / np.float32(255), i % 3  # channels first, as torchvision's ToTensor gives it


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "a.npz"
    np.savez(path, x=PIXELS, y=np.arange(len(PIXELS)) % 3)
    return path


@pytest.fixture(scope="module")
def finished_run(path, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("data") / "run"
    rows = vaelab.run(tiny(name="file", path=str(path)), workdir, QUIET)
    return workdir, rows


def same(rows, others):
    keys = ("elbo_amortized", "elbo_optimal", "log_evidence")
    assert [[row[key] for key in keys] for row in rows] == [[row[key] for key in keys] for row in others]


@pytest.mark.parametrize(
    "given", [Pairs(), PIXELS, data.from_arrays(list(PIXELS))], ids=["pairs", "array", "made"]
)
def test_data_from_python_are_those_of_the_file(given, finished_run, tmp_path):
    config = tiny()
    same(vaelab.run(config, tmp_path / "run", QUIET, data=given), finished_run[1])
    assert config.data.name == "digits"
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data"]["name"] == "given"
    assert vaelab.load(tmp_path / "run").image_shape == (4, 5)


def test_a_run_of_ones_own_data_is_loaded_without_them(finished_run, path, tmp_path):
    moved = shutil.copytree(finished_run[0], tmp_path / "moved")
    loaded = vaelab.load(moved)
    assert loaded.image_shape == (4, 5)
    assert loaded.encode(PIXELS[:5] > 99)[0].shape == (5, 2)


def test_from_the_disk_it_is_the_same_run_bit_for_bit(finished_run, path, tmp_path, monkeypatch):
    """In portions of three steps, and of two at the end of the data's order."""
    monkeypatch.setattr(batches, "PORTION_BYTES", 3 * 20 * 20)
    np.save(tmp_path / "a.npy", PIXELS)
    config = tiny(name="file", path=str(tmp_path / "a.npy"), memory_bytes=1)
    experiment = build(config)
    assert not isinstance(experiment.train_split.pixels_NxD, np.ndarray)
    same(vaelab.run(config, tmp_path / "run", QUIET), finished_run[1])


@pytest.mark.slow
def test_a_table_of_rows_is_learned_from_the_disk_too(tmp_path, monkeypatch):
    """Mean-field learning, whose rows are those of the training set, and several seeds as one program."""
    monkeypatch.setattr(batches, "PORTION_BYTES", 7 * 20 * 20 * 4 * 2)
    np.save(tmp_path / "a.npy", PIXELS)
    rows = []
    for number, memory_bytes in enumerate((1, 2**20)):
        config = tiny(encoder_capacity.get_config("smoke"), name="file", path=str(tmp_path / "a.npy"))
        config.data.update({"memory_bytes": memory_bytes, "observe": "once"})
        config.learning.regime, config.sweep.num_seeds = "mean_field", 2
        config.sweep.axes = (("train.optimizer.learning_rate", (1e-3,)),)
        rows.append(vaelab.sweep(config, tmp_path / f"sweep{number}", QUIET))
    same(*rows)


def refused(config, workdir, *says, **arguments):
    with pytest.raises(ConfigError) as caught:
        vaelab.run(config, workdir, QUIET, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    for part in says:
        assert str(part) in message


def changed_data(tmp_path, **arrays):
    np.savez(tmp_path / "a.npz", **{"x": PIXELS, "y": np.arange(len(PIXELS)) % 3, **arrays})
    return tiny(name="file", path=str(tmp_path / "a.npz"))


@pytest.fixture
def begun(finished_run, tmp_path):
    """(a copy of the run, its config, with another path: that of the changed data)."""
    workdir = shutil.copytree(finished_run[0], tmp_path / "run")
    config = json.loads((workdir / "config.json").read_text())
    config["data"]["path"] = str(tmp_path / "a.npz")
    (workdir / "config.json").write_text(json.dumps(config))
    return workdir


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": PIXELS[:-10], "y": None}, "(train had 120 examples and has 112; validation had 15 examples"),
        ({"x": np.where(PIXELS[0, 0, 0] == PIXELS, 3, PIXELS)}, "x in train changed"),
        (
            {"y": np.arange(150) % 2},
            "(the labels of train changed; the labels of validation changed; the labels",
        ),
        ({"x": PIXELS.reshape(150, 20)}, "the shape of an example was 4x5 and is 20"),
    ],
)
def test_data_that_changed_since_a_run_began_are_refused_by_name(arrays, says, finished, begun, tmp_path):
    arrays = {name: np.zeros(140, int) if array is None else array for name, array in arrays.items()}
    config = changed_data(tmp_path, **arrays)
    if not finished:
        (begun / "gap.json").unlink()
    before = (begun / "data.json").read_text()
    fix = "bring the data back, or take another --workdir"
    refused(config, begun, f"{begun} was begun with other data", says, fix)
    assert (begun / "data.json").read_text() == before


def test_finished_with_the_same_data_or_none_at_hand(begun, finished_run, tmp_path):
    config = changed_data(tmp_path)
    same(vaelab.run(config, begun, QUIET), finished_run[1])
    (tmp_path / "a.npz").unlink()
    console = Console(file=io.StringIO(), width=300)
    same(vaelab.run(config, begun, console), finished_run[1])
    assert "whether its data have changed is not known: --config.data.path=" in console.file.getvalue()


def test_other_data_from_python_are_refused_where_a_run_is_finished(tmp_path):
    vaelab.run(tiny(), tmp_path / "run", QUIET, data=PIXELS)
    refused(tiny(), tmp_path / "run", "was begun with other data", data=PIXELS[::-1])
    refused(tiny(), tmp_path / "run", "belongs to a run of another config")


def test_a_run_of_before_there_were_such_settings_goes_on(tmp_path):
    """Its config.json has none of them, and there is no data.json."""
    rows = vaelab.run(tiny(), tmp_path / "run", QUIET)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    for path in LATER:
        *sections, name = path.removeprefix("config.").split(".")
        del functools.reduce(dict.__getitem__, sections, config)[name]
    del config["model"]["prior"]  # a section of its own, of which nothing is left
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    (tmp_path / "run" / "data.json").unlink()
    same(vaelab.run(tiny(), tmp_path / "run", QUIET), rows)
    assert vaelab.load(tmp_path / "run").image_shape == (8, 8)
    (tmp_path / "run" / "gap.json").unlink()
    same(vaelab.run(tiny(), tmp_path / "run", QUIET), rows)
    given = tiny(max_value=255)
    refused(given, tmp_path / "run", "config.data.max_value is 0 there and 255 here", data=PIXELS)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "given"}, "stands for data that were given to vaelab.run"),
        ({"path": "a.npz"}, "--config.data.path='a.npz': has no effect on digits; take data.name=file"),
        ({"image_shape": (8, 8)}, "--config.data.image_shape=(8, 8): has no effect on digits"),
        ({"observation": "identity"}, "x of digits are levels in 0..16, and identity is for real numbers"),
    ],
)
def test_settings_that_do_not_go_with_a_data_set(changes, says, tmp_path):
    refused(tiny(**changes), tmp_path / "run", says)
    assert not (tmp_path / "run").exists()


def test_real_numbers_need_a_density_of_real_numbers(tmp_path):
    x = RANDOM.standard_normal((150, 5))
    refused(tiny(), tmp_path / "run", "x of given are real numbers; take identity, with", data=x)
    refused(tiny(observation="identity"), tmp_path / "run", "bernoulli': is for levels, and", data=x)
    config = tiny(observation="identity")
    config.model.likelihood.name = "gaussian"
    experiment = build(vaelab.runs.data.with_data(config, x), x)
    split = experiment.train_split
    np.testing.assert_array_equal(split.pixels_NxD, x.astype(np.float32)[split.index_N])
    test = experiment.inputs["test"]
    np.testing.assert_array_equal(test.x_NxD, x.astype(np.float32)[test.index_N])


def test_a_batch_larger_than_the_training_set_is_refused(tmp_path):
    for config, says in ((tiny(num_train=19), "of 19 examples; take 19 or less"), (tiny(), None)):
        if says is None:
            build(config)
        else:
            refused(config, tmp_path / "run", "--config.train.batch_size=20: is larger than", says)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (7, "data is a int: give an array, or a sequence"),
        ({"a": 1}, "data is a dict"),
        ([], "data holds no examples"),
        ([PIXELS[0], PIXELS[0, :2]], "data: example 1 has the shape (2, 5), example 0 (4, 5)"),
        ([(PIXELS[0], 1), PIXELS[1]], "data: example 1 has no label, and others have"),
        (["a", "b"], "data: example 0 is a str that is no array of numbers"),
        (np.arange(9), "data has the shape (9,): give [N, D]"),
        (np.array([{}]), "data holds objects of Python"),
    ],
)
def test_what_is_given_and_is_no_data(given, says, tmp_path):
    with pytest.raises(data.DataError) as caught:
        vaelab.run(tiny(), tmp_path / "run", QUIET, data=given)
    assert says in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_error_of_the_users_own_sequence_names_the_example(tmp_path):
    class Broken(Pairs):
        def __getitem__(self, i):
            return Pairs.__getitem__(self, i) if i < 5 else {}["no"]

    with pytest.raises(data.DataError, match=r"data: reading example 5 failed \(KeyError: 'no'\)"):
        vaelab.run(tiny(), tmp_path / "run", QUIET, data=Broken())
    with pytest.raises(
        data.DataError, match=r"config.data.max_value=7: has no effect.*give it to vaelab.data"
    ):
        vaelab.run(tiny(max_value=7), tmp_path / "run", QUIET, data=data.from_arrays(PIXELS))


def swept():
    config = tiny()
    config.sweep = defaults.sweep(("train.optimizer.learning_rate", (1e-3,)), num_seeds=2)
    return config


@pytest.fixture(scope="module")
def finished_sweep(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("data") / "sweep"
    return workdir, vaelab.sweep(swept(), workdir, QUIET, data=Pairs())


def test_a_sweep_of_data_from_python_has_the_runs_of_these_data(finished_sweep, finished_run):
    workdir, rows = finished_sweep
    runs = sorted(workdir.glob("learning_rate=0.001/seed=*"))
    assert [run.name for run in runs] == ["seed=0", "seed=1"]
    for run in (workdir, *runs):
        assert json.loads((run / "config.json").read_text())["data"]["name"] == "given"
        known = json.loads((run / "data.json").read_text())
        assert known["splits"] == json.loads((finished_run[0] / "data.json").read_text())["splits"]
    # A run among others is the run alone, to rounding.
    (alone,), (among,) = finished_run[1], json.loads((runs[0] / "gap.json").read_text())["rows"]
    for key in ("elbo_amortized", "elbo_optimal", "log_evidence"):
        assert among[key]["mean"] == pytest.approx(alone[key]["mean"], abs=1e-3)
    others = [json.loads((run / "gap.json").read_text())["rows"][0] for run in runs]
    wanted = np.mean([other["elbo_amortized"]["mean"] for other in others])
    assert rows[0]["elbo_amortized"]["mean"] == pytest.approx(wanted)


def test_a_finished_sweep_of_data_from_python_is_not_done_again(finished_sweep, monkeypatch):
    workdir, rows = finished_sweep
    monkeypatch.setattr(sweep_module, "complete", None)
    assert vaelab.sweep(swept(), workdir, QUIET, data=PIXELS_WITH_LABELS) == rows


PIXELS_WITH_LABELS = data.from_arrays(PIXELS, train_label=np.arange(len(PIXELS)) % 3)


def test_a_sweep_goes_on_with_the_data_that_it_began_with(finished_sweep, tmp_path):
    workdir = shutil.copytree(finished_sweep[0], tmp_path / "sweep")
    other = data.from_arrays(PIXELS ^ 1, train_label=np.arange(len(PIXELS)) % 3)
    for path in ("sweep.json", "learning_rate=0.001/seed=1/gap.json"):
        (workdir / path).unlink()
        with pytest.raises(ConfigError, match="was begun with other data") as caught:
            vaelab.sweep(swept(), workdir, QUIET, data=other)
        assert "\n" not in str(caught.value)
    config = swept()
    config.data.name = data.OF_PYTHON
    with pytest.raises(ConfigError, match="give data="):
        vaelab.sweep(config, tmp_path / "none", QUIET)
