"""Data sets of published archives: decoded once, believed by their checksum, and never half there."""

import numpy as np
import pytest

from tests.support import colour_archives as made
from tests.support.images import assert_same
from vaelab import data, prepare
from vaelab.data import archives, colour_archives
from vaelab.data.rows import Rows


@pytest.fixture
def source(tmp_path, monkeypatch):
    made.svhn_cropped(tmp_path / "archives")
    source = made.believed("svhn_cropped", tmp_path / "archives")
    monkeypatch.setitem(data.SOURCES, "svhn_cropped", source)
    return source


def refused(call, *arguments):
    with pytest.raises(data.DataError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def command(capsys, *arguments):
    status = prepare.main([str(argument) for argument in arguments])
    return (status, *capsys.readouterr())


def test_the_command_prepares_and_says_what_there_is(source, tmp_path, capsys):
    arguments = "svhn_cropped", f"--manual_dir={tmp_path / 'archives'}", f"--data_dir={tmp_path}"
    counts = "18 train, 2 validation, 4 test\n"
    assert command(capsys, *arguments) == (0, f"svhn_cropped is prepared in {tmp_path}: {counts}", "")
    assert command(capsys, *arguments)[:2] == (
        0,
        f"svhn_cropped was already prepared in {tmp_path}: {counts}",
    )
    assert [path.name for path in (tmp_path / "vaelab").iterdir()] == ["svhn_cropped"]


def test_what_is_prepared_needs_its_archives_no_more_and_is_the_same_from_the_disk(
    source, tmp_path, monkeypatch
):
    assert source.prepare(tmp_path, tmp_path / "archives")
    for path in (tmp_path / "archives").iterdir():
        path.unlink()
    in_memory = source.load(tmp_path)
    monkeypatch.setattr(colour_archives, "MEMORY_BYTES", 1000)
    mapped = source.load(tmp_path)
    assert all(isinstance(split.pixels_NxD, Rows) for split in mapped.splits.values())
    assert_same(mapped, in_memory)


def test_an_archive_that_is_not_the_published_one_is_refused_with_both_checksums(source, tmp_path):
    path = tmp_path / "archives" / "test_32x32.mat"
    known = made.sha256(path)
    path.write_bytes(path.read_bytes() + b" ")
    line = refused(source.prepare, tmp_path, tmp_path / "archives")
    assert f"{path}: expected sha256 {known}, found {made.sha256(path)}" in line
    assert not (tmp_path / "vaelab").exists()


def test_a_missing_archive_is_named(source, tmp_path):
    (tmp_path / "archives" / "train_32x32.mat").unlink()
    line = refused(source.prepare, tmp_path, tmp_path / "archives")
    assert "train_32x32.mat" in line
    assert "no such file" in line


def test_what_fails_half_way_leaves_nothing(source, tmp_path, monkeypatch):
    (recipe,) = source.load.args

    def read(folder, new):
        new("train", 3)[:] = 1
        raise data.DataError("the rest is not there")

    broken = colour_archives.source(recipe._replace(read=read))
    assert refused(broken.prepare, tmp_path, tmp_path / "archives") == "the rest is not there"
    assert list((tmp_path / "vaelab").iterdir()) == []
    assert "is not prepared" in refused(broken.load, tmp_path)


def test_a_folder_that_cannot_be_written_is_named(source, tmp_path):
    blocked = tmp_path / "a_file"
    blocked.touch()
    line = refused(source.prepare, blocked, tmp_path / "archives")
    assert line.startswith(f"cannot write to {blocked}")
    assert "--data_dir" in line


@pytest.mark.parametrize("name", made.WRITERS)
def test_what_is_not_prepared_names_the_command(name, tmp_path):
    line = refused(data.SOURCES[name].load, tmp_path)
    assert f"run `python -m vaelab.prepare {name} --data_dir={tmp_path}" in line


def test_what_is_cut_short_is_said_to_be_damaged(source, tmp_path):
    source.prepare(tmp_path, tmp_path / "archives")
    path = tmp_path / "vaelab" / "svhn_cropped" / "test.npy"
    path.write_bytes(path.read_bytes()[:-5])
    line = refused(source.load, tmp_path)
    assert str(path.parent) in line
    assert "is damaged" in line
    assert "delete it" in line
    np.save(path, np.zeros((4, 32, 32), np.uint8))
    assert "test.npy holds uint8 (4, 32, 32)" in refused(source.load, tmp_path)


def test_without_archives_they_are_fetched_where_a_program_may(source, tmp_path, monkeypatch):
    fetched = []

    def download(url_infos, folder):
        fetched.append((list(url_infos), folder))
        made.svhn_cropped(folder)

    monkeypatch.setattr(archives, "download", download)
    assert source.prepare(tmp_path, None)
    (urls, folder) = fetched[0]
    assert urls[0] == "http://ufldl.stanford.edu/housenumbers/train_32x32.mat"
    assert folder == tmp_path / "downloads" / "svhn_cropped"
    line = refused(data.SOURCES["celeba"].prepare, tmp_path, None)
    assert "img_align_celeba.zip and list_eval_partition.txt" in line
    assert "--manual_dir" in line
