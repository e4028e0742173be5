"""The command that prepares data: what it writes, and how it refuses."""

import hashlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.data.test_idx import write_archives
from vaelab import data, prepare
from vaelab.data import idx, tfds

ROOT = Path(__file__).parents[1]
ARCHIVES = ("t10k-images", "t10k-labels", "train-images", "train-labels")
# The registered checksum of MNIST's t10k-images, the first archive to be looked at.
FIRST_CHECKSUM = "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"


def run(*args: object, **env: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "vaelab.prepare", *map(str, args)]
    env = os.environ | {name: str(value) for name, value in env.items()}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def main(capsys, *args: object) -> SimpleNamespace:
    """What `run` gives, in this process, where parts can be replaced."""
    returncode = prepare.main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return SimpleNamespace(returncode=returncode, stdout=out, stderr=err)


def assert_refused(done: subprocess.CompletedProcess, *parts: object) -> None:
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    for part in parts:
        assert str(part) in done.stderr


@pytest.fixture
def junk_archives(tmp_path):
    folder = tmp_path / "archives"
    folder.mkdir()
    for name in ARCHIVES:
        kind = "idx3" if "images" in name else "idx1"
        (folder / f"{name}-{kind}-ubyte.gz").write_bytes(b"cut short")
    return folder


@pytest.fixture
def stub_tensorflow(tmp_path):
    """A folder for PYTHONPATH in which TensorFlow is found, though it cannot be imported.

    TensorFlow Probability, of which distrax is made, imports it where it can.
    """
    (tmp_path / "stub" / "tensorflow").mkdir(parents=True)
    (tmp_path / "stub" / "tensorflow" / "__init__.py").write_text("raise ImportError\n")
    return tmp_path / "stub"


def test_unknown_name_suggests_the_nearest(tmp_path):
    assert_refused(run("fashon_mnist", "--data_dir", tmp_path), "did you mean 'fashion_mnist'?")


def test_what_is_wrong_with_a_flag_begins_with_it(tmp_path, capsys):
    assert_refused(main(capsys, "file"), "--path: data.name=file needs it; give a file or a folder")
    np.save(tmp_path / "a.npy", np.eye(20))
    said = "--max_value=300: levels lie in 0..255"
    assert_refused(main(capsys, "file", "--path", tmp_path / "a.npy", "--max_value", 300), said)


def test_corrupt_archive_is_named_with_both_checksums(junk_archives, tmp_path):
    done = run("mnist", "--manual_dir", junk_archives, "--data_dir", tmp_path / "out")
    path = junk_archives / "t10k-images-idx3-ubyte.gz"
    assert_refused(done, path, FIRST_CHECKSUM, hashlib.sha256(b"cut short").hexdigest())
    assert not (tmp_path / "out").exists()


def test_missing_archive_is_named(junk_archives, tmp_path, capsys):
    path = junk_archives / "t10k-images-idx3-ubyte.gz"
    path.unlink()
    done = main(capsys, "mnist", "--manual_dir", junk_archives, "--data_dir", tmp_path / "out")
    assert_refused(done, path, FIRST_CHECKSUM, "no such file")
    assert not (tmp_path / "out").exists()


def test_data_dir_that_cannot_be_written_is_named(tmp_path):
    # Not by permissions, which do not bind root.
    blocked = tmp_path / "a_file"
    blocked.touch()
    assert_refused(run("mnist", "--data_dir", blocked), f"cannot write to {blocked}", "--data_dir")


def test_failed_download_names_the_url(stub_tensorflow, tmp_path):
    closed_port = "http://127.0.0.1:9"
    done = run("kmnist", "--data_dir", tmp_path, PYTHONPATH=stub_tensorflow, http_proxy=closed_port)
    url = "http://codh.rois.ac.jp/kmnist/dataset/kmnist/t10k-images-idx3-ubyte.gz"
    assert_refused(done, f"cannot download {url}", "--manual_dir")
    assert not (tmp_path / "kmnist").exists()


def test_absent_tensorflow_names_the_package(tmp_path, monkeypatch, capsys):
    # Not a None in sys.modules, which TFDS takes for a loaded TensorFlow.
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorflow" else find_spec(name)
    )
    assert_refused(main(capsys, "omniglot", "--data_dir", tmp_path), "pip install tensorflow-cpu")
    assert not (tmp_path / "omniglot").exists()


@pytest.mark.parametrize("name", ["mnist", "kmnist"])
def test_idx_archives_need_no_tensorflow(name, tmp_path, monkeypatch, capsys):
    """Only images of the known digest are mnist; of kmnist none is known, and checksums are all there is."""
    made = write_archives(tmp_path / "archives")
    infos = {
        path.name: SimpleNamespace(filename=path.name, checksum=hashlib.sha256(path.read_bytes()).hexdigest())
        for path in (tmp_path / "archives").iterdir()
    }
    monkeypatch.setattr(tfds, "builder", lambda *given: SimpleNamespace(name=name, url_infos=infos))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    arguments = name, "--manual_dir", tmp_path / "archives", "--data_dir", tmp_path / "data"
    if name == "mnist":
        assert_refused(main(capsys, *arguments), "does not hold the images of mnist")
        return
    assert "kmnist is prepared" in main(capsys, *arguments).stdout
    assert "kmnist was already prepared" in main(capsys, *arguments).stdout
    dataset = data.load("kmnist", data_dir=tmp_path / "data")
    assert {split: len(rows.index_N) for split, rows in dataset.splits.items()} == {
        "train": 34, "validation": 3, "test": 11
    }  # fmt: skip
    pixels_NxD = np.concatenate([dataset.splits[split].pixels_NxD for split in ("train", "validation")])
    np.testing.assert_array_equal(pixels_NxD, made["train"][0][idx.order("train", 37)])


def test_digits_need_no_preparing(tmp_path, capsys):
    done = main(capsys, "digits", "--data_dir", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing to prepare" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def builders(monkeypatch):
    """Replaces TFDS's builders by one that writes an empty data set; `calls` records their arguments."""
    calls = []

    def builder(name, version, data_dir):
        def download_and_prepare(*, download_dir, download_config):
            extract_dir = Path(download_config.extract_dir)
            assert list(extract_dir.iterdir()) == []
            (extract_dir / "train-images").touch()
            calls.append((name, download_dir, download_config.manual_dir, extract_dir))
            folder = data_dir / name / version
            folder.mkdir(parents=True)
            (folder / "dataset_info.json").write_text(json.dumps({"fileFormat": "array_record"}))

        return SimpleNamespace(name=name, url_infos={}, download_and_prepare=download_and_prepare)

    monkeypatch.setattr(tfds, "builder", builder)
    monkeypatch.setattr(tfds, "_read_rows", lambda recipe, split, data_dir: rows_of(recipe.name, split))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(data.SOURCES, "mnist", tfds.source("mnist", "3.0.1", validation_divisor=12))
    return calls


def rows_of(name: str, split: str) -> list[tuple[bytes, int]]:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (28, 28), color=len(name)).save(buffer, "png")
    return [(buffer.getvalue(), 1)] * {"train": 24, "test": 3}[split]


def test_data_sets_share_no_folder_in_which_archives_are_unpacked(builders, tmp_path, capsys):
    for name in ("mnist", "kmnist"):
        done = main(capsys, name, "--data_dir", tmp_path, "--manual_dir", tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{name} is prepared in {tmp_path}: 22 train, 2 validation, 3 test\n"
    (name, download, _, unpacked), (other, other_download, _, other_unpacked) = builders
    assert (download, other_download) == (tmp_path / "downloads" / name, tmp_path / "downloads" / other)
    assert unpacked != other_unpacked
    assert not unpacked.exists()
    assert not other_unpacked.exists()


def test_a_second_call_prepares_nothing(builders, tmp_path, capsys):
    first = main(capsys, "kmnist", "--data_dir", tmp_path, "--manual_dir", tmp_path)
    cache = tmp_path / "vaelab" / "kmnist-3.0.1.npz"
    written = cache.stat().st_mtime_ns
    second = main(capsys, "kmnist", "--data_dir", tmp_path, "--manual_dir", tmp_path)
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout == first.stdout.replace("kmnist is", "kmnist was already")
    assert len(builders) == 1
    assert cache.stat().st_mtime_ns == written


def test_a_builder_that_fails_is_one_line(builders, tmp_path, monkeypatch, capsys):
    def fail(**kwargs):
        print("progress of the builder")
        raise AttributeError("first line\nsecond line")

    builder = SimpleNamespace(name="kmnist", url_infos={}, download_and_prepare=fail)
    monkeypatch.setattr(tfds, "builder", lambda name, version, data_dir: builder)
    done = main(capsys, "kmnist", "--data_dir", tmp_path)
    assert_refused(done, "preparing kmnist failed: first line")
    assert done.stdout == ""
    assert list((tmp_path / "downloads" / "kmnist").iterdir()) == []
