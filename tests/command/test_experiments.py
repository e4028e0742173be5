"""Experiments by name and by path, and what is wrong with their files, in one line."""

import sys

import pytest

from tests.command.test_parsing import parsed, refusal
from vaelab.command import experiments
from vaelab.errors import ConfigError


def test_every_experiment_has_a_name_and_what_they_share_is_none():
    names = experiments.names()
    assert names == sorted(names)
    assert {"digits_gap", "linear_gaussian", "encoder_capacity"} <= set(names)
    assert not {"defaults", "__init__"} & set(names)
    for name in names:
        assert experiments.find(name) == experiments.FOLDER / f"{name}.py"


def test_a_path_is_taken_from_this_folder_or_from_home(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from ml_collections import ConfigDict\n\n\ndef get_config(size='3'):\n"
        "    return ConfigDict({'size': size})\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert experiments.load("mine.py").size == "3"
    assert experiments.load("~/mine.py:5:7").size == "5:7"
    with pytest.raises(ConfigError, match="there is no experiment mine; by name there is"):
        experiments.load("mine")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "def get_config():\n    return undefined\n",
            "mine.py:2: NameError: name 'undefined' is not defined",
        ),
        ("def get_config(:\n", "mine.py:1: invalid syntax"),
        ("import nothing_of_this_name\n", "mine.py:1: ModuleNotFoundError: No module named"),
        ("def get_config():\n    return {}['a']\n", "mine.py:2: KeyError: 'a'"),
        ("def get_config():\n    return {}\n", "must return an ml_collections.ConfigDict"),
        ("get = 3\n", "the experiment file must define get_config()"),
        ("def get_config():\n    open('/none')\n", "mine.py:2: FileNotFoundError"),
        ("def get_config():\n    return int('a')\n", "mine.py:2: ValueError: invalid literal"),
        (
            "from experiments import defaults\ndef get_config():\n    c = defaults.get_config()\n"
            "    c.train.num_step = 5\n    c.update({'a': 1}).b\n",
            "mine.py:5: AttributeError",
        ),
    ],
)
def test_an_experiment_file_that_does_not_work(text, says, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    assert says in refusal(f"--config={tmp_path / 'mine.py'}")


def test_a_variant_that_the_file_does_not_take(tmp_path):
    (tmp_path / "mine.py").write_text("def get_config():\n    return 0\n")
    assert "mine.py: TypeError: get_config() takes 0" in refusal(f"--config={tmp_path / 'mine.py'}:smoke")


def test_a_bare_name_is_the_experiment_of_that_name_from_any_folder(tmp_path, monkeypatch):
    by_path = parsed(f"--config={experiments.FOLDER / 'fashion_gap.py'}:smoke").config
    monkeypatch.chdir(tmp_path)
    assert parsed("--config=fashion_gap:smoke").config.to_dict() == by_path.to_dict()
    assert parsed().config.to_dict() == parsed("--config=digits_gap").config.to_dict()


@pytest.mark.parametrize("name", ["experiments/digitsgap.py", "digitsgap", "digits_gap.py"])
def test_an_experiment_that_is_not_there(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = refusal(f"--config={name}:smoke")
    assert f" {name}; by name there is: digits_gap" in line
    assert line.endswith(f"a path ends in .py and is taken from {tmp_path}")


def test_experiments_import_each_other_where_no_folder_of_theirs_is_on_the_path(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "experiments"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p and p != str(experiments.FOLDER.parent)])
    monkeypatch.chdir(tmp_path)
    assert parsed("--config=mnist_convolutional:smoke").config.model.network == "convolutional"
