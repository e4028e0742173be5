"""The directory of a run: whose it is, what keeps a run out of it, and how that is said."""

import json
import pickle
import pwd

import pytest
from ml_collections import ConfigDict

from vaelab.runtime.directory import DirectoryError, as_directory, open_directory

CONFIG = ConfigDict({"seed": 0})


def refusal(path):
    with pytest.raises(DirectoryError) as caught:
        open_directory(path, CONFIG)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", ["", "new/run"])
def test_a_missing_and_an_empty_directory_are_taken(name, tmp_path):
    path = tmp_path / name
    assert open_directory(path, CONFIG) == path
    assert json.loads((path / "config.json").read_text()) == {"seed": 0}
    assert (path / "stages").is_dir()


def test_what_an_early_kill_leaves_behind_is_gone_on_with(tmp_path):
    (tmp_path / "lock").write_text("")
    (tmp_path / "config.json.partial").write_text('{"se')
    (tmp_path / "stages").mkdir()
    assert open_directory(tmp_path, CONFIG) == tmp_path
    assert json.loads((tmp_path / "config.json").read_text()) == {"seed": 0}


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ((".git/HEAD", "README.md"), "is a git checkout: take another --workdir, or one in it"),
        (("thesis.tex",), r"holds files that no run has written (thesis.tex): take another --workdir"),
        (("a", "b", "c", "d"), "(a, b, c, ...): take another"),
        (("stages/mine.npz",), "holds files that no run has written (stages)"),
        (("gap.json",), "holds results but no config.json: take another --workdir"),
    ],
)
def test_the_files_of_others_keep_a_run_out_and_stay_as_they_are(files, says, tmp_path):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    assert says in str(refusal(tmp_path))
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == set(files)


def test_another_config_is_said_in_the_words_of_who_asks(tmp_path):
    (tmp_path / "config.json").write_text('{"seed": "{braces}"}\n')
    error = refusal(tmp_path)
    differs = "(config.seed is '{braces}' there and 0 here)"
    assert str(error) == f"{tmp_path} belongs to a run of another config {differs}: take another --workdir"
    assert error.line(directory="directory", other="another audit") == (
        f"{tmp_path} belongs to another audit {differs}: take another directory"
    )


def test_what_cannot_be_written_names_the_directory(tmp_path):
    (tmp_path / "file").write_text("in the way")
    error = refusal(tmp_path / "file" / "run")
    assert str(error) == f"--workdir={tmp_path}/file/run cannot be written: Not a directory"
    assert error.line(directory="directory", other="").startswith(f"directory={tmp_path}/file/run cannot")


def test_an_error_is_the_same_after_a_pickle(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    error = refusal(tmp_path)
    same = pickle.loads(pickle.dumps(error))
    assert type(same) is DirectoryError
    assert (str(same), vars(same)) == (str(error), vars(error))


@pytest.mark.parametrize("address", ["gs://bucket/run", "s3://bucket/run"])
def test_the_address_of_a_bucket_is_refused_as_it_was_given(address):
    with pytest.raises(DirectoryError, match=f"^{address} is the address of a bucket.*a local --workdir"):
        as_directory(address)


def test_a_home_that_is_not_there_is_said(monkeypatch, tmp_path):
    def nobody(_):
        raise KeyError("no such user")

    monkeypatch.setenv("HOME", str(tmp_path))
    assert as_directory("~/run") == tmp_path / "run"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(DirectoryError, match=r"~/run needs a home directory.*set HOME"):
        as_directory("~/run")
    assert as_directory(tmp_path) == tmp_path
